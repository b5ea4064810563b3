"""The meaning of an image's channels: 1 is grey, 2 is grey and alpha, 3 is RGB, 4 is RGB and alpha.

Alpha is opacity and the last channel: its lowest value is transparent, its highest opaque. Colours are not premultiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = {1: 'greyscale', 2: 'greyscale with alpha', 3: 'RGB', 4: 'RGBA'}

SQUARES = 8       # squares of the checkerboard along the shorter side of an image
LARGEST = 16      # maximum side of a square, in pixels
LIGHT, DARK = 1.0, 0.8


def name(count: int) -> str:
    """The name of images with this number of channels, such as 'RGBA'."""
    return NAMES.get(count, f'{count} channels')


def has_alpha(count: int) -> bool:
    """Whether images with this number of channels have an alpha channel."""
    return count in (2, 4)


def num_colors(count: int) -> int:
    """The number of colour channels, 1 or 3, among this number of channels."""
    return count - has_alpha(count)


def over(images: Any, background: float, low: float = 0, high: float = 255) -> Any:
    """Composite images [N, C, H, W] onto a uniform background. Returns [N, 1 or 3, H, W]. Images without alpha are returned
    unchanged.

    images: a tensor or an array, float in [low, high]. background: one value for all pixels and colours. The result is linear in
    colour and linear in alpha. Nothing is clamped.
    """
    if not has_alpha(images.shape[1]):
        return images
    opacity = (images[:, -1:] - low) / (high - low)
    return background + (images[:, :-1] - background) * opacity


def on_checkerboard(pixels: np.ndarray) -> np.ndarray:
    """Composite pixels [..., H, W, C] onto a checkerboard of white and light grey, for viewing. Returns [..., H, W, 1 or 3].

    pixels: uint8, or float in [0, 1]; the dtype is kept. Pixels without alpha are returned unchanged. The checkerboard starts at
    the corner of each image.
    """
    height, width, count = pixels.shape[-3:]
    if not has_alpha(count):
        return pixels
    white = 255 if pixels.dtype == np.uint8 else 1
    side = min(max(min(height, width) // SQUARES, 2), LARGEST)
    odd = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2
    board = np.where(odd, DARK, LIGHT).astype(np.float32)[..., None] * white
    shown = board + (pixels[..., :-1] - board) * (pixels[..., -1:] / np.float32(white))
    return np.rint(shown).astype(np.uint8) if white == 255 else shown


def with_alpha(pixels: np.ndarray, count: int) -> np.ndarray:
    """Convert opaque pixels, uint8 [..., 1 or 3], to `count` channels: append an alpha of 255 if `count` includes alpha."""
    if not has_alpha(count):
        return pixels
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)
