"""Figures without a screen. matplotlib is imported only when a figure is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnnlib.channels import on_checkerboard


def new_figure(rows: int, columns: int, width: float, height: float, **kwargs) -> tuple[Figure, Any]:
    """A figure of width x height inches and its axes (as plt.subplots), without a screen or global state."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **kwargs)
    for each in np.atleast_1d(axes).flat:
        each.spines[['top', 'right']].set_visible(False)
    return figure, axes


def show_image(axes: Any, image: np.ndarray, extent: tuple[float, float, float, float] | None = None) -> None:
    """Show an image [C, H, W] in [-1, 1], C = 1 to 4, without ticks and frame; alpha on a checkerboard. extent: left, right,
    bottom, top, of several images that share axes."""
    pixels = on_checkerboard(np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1))
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap='gray', vmin=0, vmax=1, interpolation='nearest',
                extent=extent)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def show_cells(axes: Any, images: Sequence[Sequence[np.ndarray]], texts: Sequence[Sequence[str]],
               colours: Sequence[Sequence[str]] | None = None) -> None:
    """Show rows of images, uint8 [C, H, W] of any sizes, each in a cell of one size with a text below it."""
    for r, (row, captions) in enumerate(zip(images, texts, strict=True)):
        for k, (image, text) in enumerate(zip(row, captions, strict=True)):
            height, width = (0.45 * size / max(image.shape[1:]) for size in image.shape[1:])
            x, y = k, -1.25 * r
            show_image(axes, image.astype(np.float32) / 127.5 - 1, extent=(x - width, x + width, y - height, y + height))
            axes.text(x, y - 0.5, text, ha='center', va='top', fontsize='x-small', color=colours[r][k] if colours else 'black')
    axes.set(xlim=(-0.5, max(map(len, images)) - 0.5), ylim=(0.25 - 1.25 * len(images), 0.5), aspect='equal')
