"""Pictures of one shape each, rendered from known factors: arrays of numbers in, arrays of pixels out.

Shapes are signed distance functions, joined by minimum (union) and maximum (intersection). None looks the same after a rotation
of less than 360°, so the rotation can be read from the picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

OVERSAMPLING = 2   # sub-pixels along each side of a pixel; each is anti-aliased by the distance to the edge, too
WIDEST_BAND = 0.3  # around the shape with a stroke of 1, as a share of its radius
SATURATION, VALUE, BAND_GREY = 0.85, 0.7, 0.7  # colour of a shape, and of the band around it
DARKEST, BRIGHTEST = 0.05, 0.55  # grey of a background of 0 and of 1
LIGHT = 0.4        # how much brighter one border is than the middle, with a light of 0 or 1; VALUE * (1 + LIGHT) is below 1


def _box(x: np.ndarray, y: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.maximum(np.abs(x - (left + right) / 2) - (right - left) / 2, np.abs(y - (top + bottom) / 2) - (bottom - top) / 2)


def _disc(x: np.ndarray, y: np.ndarray, across: float, down: float, radius: float) -> np.ndarray:
    return np.hypot(x - across, y - down) - radius


def _cone(x: np.ndarray, y: np.ndarray, sine: float) -> np.ndarray:
    """Between two lines that open downwards from (0, -1). sine: of half the angle between them."""
    return np.sqrt(1 - sine ** 2) * np.abs(x) - sine * (y + 1)


def _wedge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_cone(x, y, 0.32), y - 0.8)


def _half(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_disc(x, y, 0, -0.4, 0.9), -0.4 - y)


def _moon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_disc(x, y, 0, 0, 0.95), -_disc(x, y, 0.45, 0, 0.75))


def _ell(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, -0.6, -0.8, -0.1, 0.8), _box(x, y, -0.6, 0.3, 0.6, 0.8))


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(_cone(x, y, 0.62), y), _box(x, y, -0.28, -0.2, 0.28, 0.95))


def _drop(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sine = 0.6 / 1.4  # the lines touch the disc, whose centre is 1.4 below the tip
    return np.minimum(_disc(x, y, 0, 0.4, 0.6), np.maximum(_cone(x, y, sine), y - (0.4 - 0.6 * sine)))


# Name -> function (x to the right, y down) -> distance to the edge, negative inside. All lie in the unit disc.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'wedge': _wedge, 'half': _half, 'moon': _moon, 'ell': _ell, 'arrow': _arrow, 'drop': _drop}


def render(factors: np.ndarray, size: int) -> np.ndarray:
    """Pictures of factors [N, 9]: uint8 [N, size, size, 3]. Each depends only on its own row.

    Columns: number of the shape; centre, to the right and down from the middle, and radius, as shares of the image; rotation,
    clockwise, in turns; hue of the shape, in turns; background, from dark (0) to light (1); stroke, the width of the grey band
    around the shape, 0..1; light, from the left (0) to the right (1).
    """
    shape, x, y, radius, rotation, hue, background, stroke, light = factors.astype(np.float64).T
    framed, filled = _coverage(shape.astype(np.int64), x, y, radius, rotation, stroke, size)
    grey = DARKEST + (BRIGHTEST - DARKEST) * background
    pictures = np.empty([len(factors), size, size, 3], dtype=np.float32)
    pictures[:] = grey[:, None, None, None]
    pictures += framed[..., None] * (BAND_GREY - pictures)
    pictures += filled[..., None] * (colours(hue)[:, None, None, :] - BAND_GREY).astype(np.float32)
    across = (np.arange(size) + 0.5) / size * 2 - 1
    pictures *= (1 + LIGHT * (2 * light[:, None] - 1) * across).astype(np.float32)[:, None, :, None]
    return np.round(pictures * 255).astype(np.uint8)


def colours(hue: np.ndarray) -> np.ndarray:
    """Colours of hues [N] in turns, at SATURATION and VALUE of the HSV model: red, green and blue in [0, 1], [N, 3]."""
    sector = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    return VALUE * (1 - SATURATION * np.clip(np.minimum(sector, 4 - sector), 0, 1))


def _coverage(shape: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray, rotation: np.ndarray, stroke: np.ndarray,
              size: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of each pixel that the shape covers with its band, and without: float32 [N, size, size] each."""
    fine = size * OVERSAMPLING
    centres = (np.arange(fine) + 0.5) / fine - 0.5
    cosine, sine = np.cos(2 * np.pi * rotation), np.sin(2 * np.pi * rotation)
    right = ((centres - x[:, None]) / radius[:, None]).astype(np.float32)  # [N, fine], in radii
    down = ((centres - y[:, None]) / radius[:, None]).astype(np.float32)
    cosine, sine = (part.astype(np.float32)[:, None, None] for part in (cosine, sine))
    u = cosine * right[:, None, :] + sine * down[:, :, None]  # turned back: [N, fine, fine]
    v = cosine * down[:, :, None] - sine * right[:, None, :]
    distance = np.empty_like(u)
    for number, function in enumerate(SHAPES.values()):
        rows = np.flatnonzero(shape == number)
        distance[rows] = function(u[rows], v[rows])
    per_radius = (radius * fine).astype(np.float32)[:, None, None]  # sub-pixels

    def share(distance: np.ndarray) -> np.ndarray:
        covered = np.clip(0.5 - distance * per_radius, 0, 1)
        return covered.reshape(len(shape), size, OVERSAMPLING, size, OVERSAMPLING).mean(axis=(2, 4))

    band = (WIDEST_BAND * stroke).astype(np.float32)[:, None, None]
    framed = np.maximum(distance - band, np.hypot(u, v) - 1 - band)  # the disc cuts off the points that tips would grow
    return share(framed), share(distance)
