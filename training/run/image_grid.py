"""The pictures of a run: one PNG with a grid of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from dnnlib.files import atomic_open

WIDTH, HEIGHT = 7680, 4320  # the published limits of the picture, in pixels
SMALL = 16                  # columns and rows of a picture that is not to take long
HIGHEST = 16384             # and ours of one by domain: what can still be opened


def grid_size(resolution: int, num_domains: int = 0, small: bool = False) -> tuple[int, int]:
    """(columns, rows) of the snapshot grid. num_domains: of a grid by domain, which is smaller; 0 for the usual one.

    small: at most 16 columns and 16 rows, of a grid by domain at least a row for each. On a CPU the published 1024 images of
    32x32 take five times as long as a step of training.
    """
    most = SMALL if small else HIGHEST
    if not num_domains:
        return min(int(np.clip(WIDTH // resolution, 7, 32)), most), min(int(np.clip(HEIGHT // resolution, 4, 32)), most)
    columns = int(np.clip(768 // resolution, 7, 32)) * (2 if resolution < 256 else 1)
    blocks = int(np.clip(432 // resolution, 4, 32))
    highest = min(HIGHEST // resolution, most)  # in rows
    return min(columns, most), min(blocks, max(highest // num_domains, 1)) * num_domains


def choose_grid(training_set: Any, by_domain: bool = False, small: bool = False) -> tuple[tuple[int, int], list[int]]:
    """Choose the cells of the snapshot grid: (columns, rows), and the dataset item that each cell shows, row by row.

    Without labels, random items. With labels, each row shows one label; labels follow one another in ascending order
    (of the label's entries read backwards), and a label that comes round again goes on where it stopped.
    by_domain: the size is that of the published multi-domain grids, whose rows come in blocks of one row per label.
    small: as in grid_size.
    """
    columns, rows = grid_size(training_set.resolution, training_set.label_dim if by_domain else 0, small)
    rng = np.random.RandomState(0)
    if not training_set.has_labels:
        items = rng.permutation(len(training_set))
        return (columns, rows), [int(items[i % len(items)]) for i in range(columns * rows)]

    groups: dict[tuple, list[int]] = {}
    for i in range(len(training_set)):
        raw_label = np.atleast_1d(training_set.get_details(i).raw_label)
        groups.setdefault(tuple(raw_label[::-1].tolist()), []).append(i)
    labels = sorted(groups)
    for label in labels:
        rng.shuffle(groups[label])
    cells = []
    for row in range(rows):
        group = groups[labels[row % len(labels)]]
        first = row // len(labels) * columns
        cells += [group[(first + column) % len(group)] for column in range(columns)]
    return (columns, rows), cells


def save_image_grid(images: np.ndarray, path: str | Path, value_range: tuple[float, float], grid: tuple[int, int]) -> None:
    """Write images [N, C, H, W] (C = 1 or 3) as one PNG of grid = (columns, rows) cells without gaps, atomically.

    value_range: the values that become black and white. Raises ValueError if the cells don't match the images.
    """
    columns, rows = grid
    n, channels, height, width = images.shape
    if n != columns * rows or channels not in (1, 3):
        raise ValueError(f'{n} images with {channels} channels do not fill {columns}x{rows} cells of L or RGB')
    low, high = value_range
    pixels = np.rint((np.asarray(images, dtype=np.float32) - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    pixels = pixels.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    pixels = pixels.reshape(rows * height, columns * width, channels)
    with atomic_open(path) as f:
        PIL.Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(f, format='PNG')
