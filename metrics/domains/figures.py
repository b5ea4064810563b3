"""Common parts of figures of domains: sheets of images with titles of rows, and bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dnnlib.channels import on_checkerboard

GAP = 1  # pixels between images


def show_sheet(axes: Any, images: np.ndarray, rows: Sequence[str], title: str = '', columns: Sequence[str] = ()) -> None:
    """Show images [R, K, C, H, W] in [-1, 1], R rows of K, as one picture, with titles of the rows, and of the columns; alpha on
    a checkerboard."""
    pixels = on_checkerboard(np.clip((images.transpose(0, 1, 3, 4, 2) + 1) / 2, 0, 1))
    count_r, count_k, height, width, channels = pixels.shape
    sheet = np.full([count_r * (height + GAP) - GAP, count_k * (width + GAP) - GAP, channels], 1.0)
    for r in range(count_r):
        for k in range(count_k):
            top, left = r * (height + GAP), k * (width + GAP)
            sheet[top:top + height, left:left + width] = pixels[r, k]
    axes.imshow(sheet if channels == 3 else sheet[:, :, 0], cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    axes.set_yticks([r * (height + GAP) + height / 2 for r in range(count_r)], rows)
    axes.set_xticks([k * (width + GAP) + width / 2 for k in range(count_k)] if columns else [], columns)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize='medium')


def show_bars(axes: Any, names: Sequence[str], values: Sequence[float], label: str) -> None:
    """A horizontal bar for each value, with its number, the first on top, and a line at the mean."""
    places = np.arange(len(values))
    axes.barh(places, values, color='tab:blue', height=0.6)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f' {value:.4g}', (value, place), va='center',
                      bbox=dict(facecolor='white', edgecolor='none', pad=1), zorder=3)
    if len(values) > 1:
        average = float(np.mean(values))
        axes.axvline(average, color='tab:red', linewidth=1)
        axes.set_title(f'mean {average:.4g}', color='tab:red', fontsize='medium')
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel(label)
    axes.set_xlim(left=min(0.0, *map(float, values)))


def as_floats(pixels: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [-1, 1]."""
    return pixels.astype(np.float32) / 127.5 - 1
