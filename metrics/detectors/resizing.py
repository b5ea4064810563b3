"""Resizing images for a network, in the variants that matter for comparing numbers between papers."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def bilinear_tf1(images: torch.Tensor, size: int) -> torch.Tensor:
    """Resize float [N, C, H, W] to [N, C, size, size] as the graph of the published Inception does.

    The bilinear interpolation of TensorFlow 1: output pixel i is read at i * H / size (neither corners nor centres of
    pixels are aligned), between its two neighbours; pixels in between are skipped, so that shrinking aliases.
    """
    for dim in (3, 2):
        images = _interpolate(images, dim, size)
    return images


def _interpolate(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    old = x.shape[dim]
    if old == size:
        return x
    position = torch.arange(size, dtype=torch.float32, device=x.device) * (old / size)
    before = position.long()
    after = (before + 1).clamp(max=old - 1)
    fraction = (position - before).to(x.dtype).reshape(-1, *[1] * (3 - dim))
    start = x.index_select(dim, before)
    return start + (x.index_select(dim, after) - start) * fraction


def bicubic_antialiased(images: torch.Tensor, size: int) -> torch.Tensor:
    """Resize float [N, C, H, W] in [0, 255] to [N, C, size, size] in [0, 255] by Pillow's bicubic filter (a = -0.5), widened
    by the factor of shrinking, without rounding to whole numbers.

    Source: Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022.
    """
    if images.shape[2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode='bicubic', antialias=True).clamp(0, 255)
