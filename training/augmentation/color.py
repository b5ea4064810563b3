"""Colour transformations (Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B)."""

from __future__ import annotations

import math
from typing import Any

import torch

from training.augmentation.draws import Draws

TRANSFORMS = ('brightness', 'contrast', 'lumaflip', 'hue', 'saturation')


def draw_color_transform(pipe: Any, draws: Draws, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """y = matrix x + offset for each image: [N, C, C] and [N, C, 1], where C = channels, those of colour alone.

    pipe: p, the strengths of TRANSFORMS and their ranges.

    The five transforms act separately on two subspaces: the luma axis v = (1, 1, 1) / √3, and the plane of chroma orthogonal to
    it. Brightness moves along v, contrast c scales everything, lumaflip mirrors v,
    hue θ rotates and saturation s scales the plane. So their product, in this order, is
        c (± vvᵀ + s (cos θ (I - vvᵀ) + sin θ [v]ₓ)), with offset ± c b.
    A grey image is its luma. Raises ValueError for other numbers of channels than 1 and 3.
    """
    if channels not in (1, 3):
        raise ValueError(f'colour augmentation needs 1 or 3 channels of colour, not {channels}')
    p, zero = pipe.p, draws.all_equal(0)
    brightness = draws.normal(pipe.brightness_std, p * pipe.brightness) if pipe.brightness > 0 else zero
    contrast = draws.normal(pipe.contrast_std, p * pipe.contrast) if pipe.contrast > 0 else zero
    flip = draws.integer(2, p * pipe.lumaflip) if pipe.lumaflip > 0 else zero
    luma = contrast.exp2() * (1 - 2 * flip)
    offset = (brightness * luma)[:, None, None].expand(-1, channels, 1)
    if channels == 1:
        return luma[:, None, None], offset
    hue = draws.uniform(math.pi * pipe.hue_max, p * pipe.hue) if pipe.hue > 0 else zero
    saturation = draws.normal(pipe.saturation_std, p * pipe.saturation) if pipe.saturation > 0 else zero
    chroma = (contrast + saturation).exp2()
    eye = torch.eye(3, **draws.kind)
    along = torch.full_like(eye, 1 / 3)  # vvᵀ
    cross = (eye.roll(1, dims=0) - eye.roll(-1, dims=0)) / math.sqrt(3)  # [v]ₓ: red turns towards green
    matrix: Any = sum(weight[:, None, None] * part for weight, part in
                 ((luma, along), (chroma * hue.cos(), eye - along), (chroma * hue.sin(), cross)))
    return matrix, offset


def recolor(images: torch.Tensor, matrix: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Apply matrix [N, C, C] and offset [N, C, 1] to every pixel of images [N, C, H, W], or [N, C + 1, H, W] with alpha, which is
    unchanged."""
    count = matrix.shape[1]
    colors = images[:, :count]
    colors = (matrix @ colors.flatten(2) + offset).reshape(colors.shape)
    return colors if count == images.shape[1] else torch.cat([colors, images[:, count:]], dim=1)
