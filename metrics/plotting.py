"""Figures without a screen. matplotlib is imported here, when there is something to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnnlib.channels import on_checkerboard


def new_figure(rows: int, columns: int, width: float, height: float, **kwargs) -> tuple[Figure, Any]:
    """A figure of width x height inches that needs no screen and no global state, and its axes (as plt.subplots)."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, **kwargs)
    for each in np.atleast_1d(axes).flat:
        each.spines[['top', 'right']].set_visible(False)
    return figure, axes


def show_image(axes: Any, image: np.ndarray) -> None:
    """Show an image [C, H, W] in [-1, 1], C = 1 to 4, without ticks and frame; alpha on a checkerboard."""
    pixels = on_checkerboard(np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1))
    axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap='gray', vmin=0, vmax=1, interpolation='nearest')
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
