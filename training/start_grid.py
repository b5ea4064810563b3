"""Which sizes of images the networks can make: a start grid of H0 x W0 pixels, doubled k times.

The longer side of the start grid has 4 to 7 pixels, so each size has at most one grid. A square whose side is a power of two has
4x4. The sizes on the way are *levels*. They are called 4, 8, 16, ... as in the square that begins with 4x4: level 4 · 2^i is the
start grid doubled i times. Blocks are named after levels (b4, b8, ...), and have the same number of feature maps as in that
square.
"""

from __future__ import annotations

import math

from dnnlib.image_size import ImageSize, height_width, shortest, text_of

SMALLEST, LARGEST = 4, 7  # pixels of the longer side of the start grid


def top_level(size: ImageSize) -> int:
    """The level of the images themselves: the largest power of two that is not above their longer side."""
    return 1 << (max(height_width(size)).bit_length() - 1)


def levels(size: ImageSize) -> list[int]:
    """4, 8, ..., top_level. Raises ValueError if there is no start grid for images of this size."""
    start_grid(size)
    return [2 ** i for i in range(2, top_level(size).bit_length())]


def start_grid(size: ImageSize) -> tuple[int, int]:
    """H0 and W0. Raises ValueError, with the nearest sizes that have one, if there is none."""
    height, width = height_width(size)
    factor = top_level(size) // SMALLEST
    if factor == 0 or height % factor or width % factor:
        near = ' or '.join(text_of(other) for other in nearest(size))
        raise ValueError(f'images of {text_of(size)} cannot be made by doubling a grid of at most {LARGEST}x{LARGEST} pixels; '
                         f'the nearest sizes that can: {near}')
    return height // factor, width // factor


def size_at(size: ImageSize, level: int) -> int | tuple[int, int]:
    """Size of the feature maps at a level, for images of `size`: one number if they are square, else (height, width)."""
    height, width = height_width(size)
    return shortest((height * level // top_level(size), width * level // top_level(size)))


def nearest(size: ImageSize, count: int = 2) -> list[tuple[int, int]]:
    """The `count` sizes (height, width) nearest to `size` that have a start grid and at least 8 pixels on the longer side.

    A change of shape loses a part of the image or stretches it. It therefore counts more than a change of scale.
    """
    height, width = height_width(size)
    found = set()
    for factor in {max(top_level(size) // divisor, 2) for divisor in (8, 4, 2)}:
        for longer in range(SMALLEST, LARGEST + 1):
            for shorter in range(1, longer + 1):
                found.update({(longer * factor, shorter * factor), (shorter * factor, longer * factor)})

    def distance(other: tuple[int, int]) -> float:
        by_height, by_width = math.log(other[0] / height), math.log(other[1] / width)
        return 4 * abs(by_width - by_height) + abs(by_width + by_height) / 2

    return sorted(found, key=lambda other: (round(distance(other), 9), other))[:count]
