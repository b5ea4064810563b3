"""What the channels of an image are: 1 is grey, 2 is grey and alpha, 3 is RGB, 4 is RGB and alpha.

Alpha is opacity, the last channel: its lowest value is transparent, its highest opaque. Colours are not premultiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAMES = {1: 'greyscale', 2: 'greyscale with alpha', 3: 'RGB', 4: 'RGBA'}

SQUARES = 8       # of the checkerboard along the shorter side of an image;
LARGEST = 16      # the sides of a square are at most this long, in pixels
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
    """Images [N, C, H, W], float in [low, high], on a background of one value: [N, 1 or 3, H, W]. Those without alpha are
    unchanged.

    images: a tensor or an array. Linear in colour and in alpha each; nothing is clamped.
    """
    if not has_alpha(images.shape[1]):
        return images
    opacity = (images[:, -1:] - low) / (high - low)
    return background + (images[:, :-1] - background) * opacity


def on_checkerboard(pixels: np.ndarray) -> np.ndarray:
    """Pixels [..., H, W, C], uint8 or float in [0, 1], for people to look at: [..., H, W, 1 or 3] of the same kind, where
    squares of white and light grey show through. Those without alpha are unchanged. Each image has a board of its own."""
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
    """Opaque pixels uint8 [..., 1 or 3] as they are among images of `count` channels: with an alpha of 255, if those have
    one."""
    if not has_alpha(count):
        return pixels
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=-1)
