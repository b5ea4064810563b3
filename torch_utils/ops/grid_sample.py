"""Bilinear sampling of images at given positions, differentiable any number of times with respect to the images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

BILINEAR, ZEROS, ALIGN_CORNERS = 0, 0, False  # mode numbers of the underlying operators


def grid_sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample images [N, C, H, W] at grid [N, H', W', 2]. Returns [N, C, H', W'] of the same dtype: float32 or float64.

    A position is (x, y). (-1, -1) is the outer corner of the first pixel, and (1, 1) that of the last one. Everything beyond is
    zero. The grid is a constant: it receives no gradient. Raises ValueError for shapes that don't fit.
    """
    if images.ndim != 4 or grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != images.shape[0]:
        raise ValueError(f'images [N, C, H, W] go with a grid [N, H, W, 2], not {list(images.shape)} with {list(grid.shape)}')
    return _Gather.apply(images, grid.detach())


class _Gather(torch.autograd.Function):
    """y = A x. For a fixed grid, sampling is a linear map A, so its gradients need only A and its adjoint Aᵀ.

    Older versions of PyTorch, and some devices, cannot differentiate its own sampling twice.
    """

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return F.grid_sample(images, grid, mode='bilinear', padding_mode='zeros', align_corners=ALIGN_CORNERS)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(dy, grid, ctx.size), None


class _Scatter(torch.autograd.Function):
    """x = Aᵀ y: every sample is distributed to the four pixels that it was read from."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, grid: torch.Tensor, size: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(grid)
        # Only the size of the images is needed. A single expanded number stands for them, so they are not kept in memory.
        images = y.new_zeros([1]).expand(size)
        return torch.ops.aten.grid_sampler_2d_backward(y, images, grid, BILINEAR, ZEROS, ALIGN_CORNERS, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, dx: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Gather.apply(dx, grid), None, None
