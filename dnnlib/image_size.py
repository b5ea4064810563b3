"""Image sizes: one number for a square, (height, width) for a rectangle."""

from __future__ import annotations

from collections.abc import Sequence

ImageSize = int | Sequence[int]  # pixels


def height_width(size: ImageSize) -> tuple[int, int]:
    """Return height and width. Raises ValueError unless both are positive whole numbers."""
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(type(n) is int and n > 0 for n in pair):
        raise ValueError(f'a size in pixels is a positive number, or height and width, not {str(size)[:100]}')
    return pair[0], pair[1]


def shortest(size: ImageSize) -> int | tuple[int, int]:
    """Return the size as one number for a square, or else as (height, width)."""
    height, width = height_width(size)
    return height if height == width else (height, width)


def text_of(size: ImageSize) -> str:
    """Format a size as `512x384`: width x height, as in --resolution and messages."""
    height, width = height_width(size)
    return f'{width}x{height}'
