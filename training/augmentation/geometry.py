"""Pixel blitting and geometric transformations: where each pixel of the result comes from, and the resampling.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils import devices
from torch_utils.ops.grid_sample import grid_sample
from torch_utils.ops.upfirdn2d import downsample2d, upsample2d
from training.augmentation.draws import Draws

TRANSFORMS = ('xflip', 'rotate90', 'xint', 'scale', 'rotate', 'aniso', 'xfrac')

# The wavelet sym6 as a low-pass filter for resampling: decomposition, first tap first; the sum is √2.
SYM6 = (0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
        0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
        0.0017677118642428036, -0.007800708325034148)


# Images up to this size are resampled by matrix products, one per axis. They need more arithmetic than filtering, but run faster:
# on a CPU, resampling is 2 to 14 times as fast, and the whole augmentation 2 to 6 times.
MATRIX_SIZE = 128
STEPS = 8  # see in_steps


@dataclass
class Affine:
    """x -> linear x + offset for each image: [N, 2, 2] and [N, 2]; vectors are (x, y).

    Here it is G⁻¹, from the pixels of the result to those of the original. A method appends a transform of the
    result: it multiplies G⁻¹ by a matrix from the right. Arguments are [N].
    """

    linear: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def identity(cls, count: int, like: torch.Tensor) -> Affine:
        kind: dict[str, Any] = dict(dtype=like.dtype, device=like.device)
        return cls(torch.eye(2, **kind).repeat(count, 1, 1), torch.zeros([count, 2], **kind))

    def scale(self, x: torch.Tensor, y: torch.Tensor) -> Affine:
        return Affine(self.linear * torch.stack([x, y], dim=1)[:, None, :], self.offset)

    def rotate(self, angle: torch.Tensor) -> Affine:
        """In radians; y points down, so positive angles turn G⁻¹ clockwise on the screen."""
        cos, sin = angle.cos(), angle.sin()
        return Affine(self.linear @ torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2), self.offset)

    def translate(self, x: torch.Tensor, y: torch.Tensor) -> Affine:
        return Affine(self.linear, self.offset + (self.linear @ torch.stack([x, y], dim=1)[:, :, None])[:, :, 0])


def draw_inverse_transform(pipe: Any, draws: Draws, height: int, width: int) -> Affine:
    """G⁻¹ for each image, about its centre, in pixels. pipe: p, the strengths of TRANSFORMS and their ranges."""
    p = pipe.p
    G = Affine.identity(draws.count, p)
    if pipe.xflip > 0:
        flip = draws.integer(2, p * pipe.xflip)
        G = G.scale(1 - 2 * flip, torch.ones_like(flip))
    if pipe.rotate90 > 0:
        G = G.rotate(draws.integer(4, p * pipe.rotate90) * (math.pi / 2))
    if pipe.xint > 0:
        t = draws.uniform(pipe.xint_max, p * pipe.xint, pair=True)
        G = G.translate(-(t[:, 0] * width).round(), -(t[:, 1] * height).round())
    if pipe.scale > 0:
        s = draws.normal(pipe.scale_std, p * pipe.scale).exp2()
        G = G.scale(1 / s, 1 / s)
    # Two rotations, before and after the anisotropic scaling: P(at least one) = rotate * p.
    rotate_chance = 1 - (1 - p * pipe.rotate).clamp(0, 1).sqrt()
    if pipe.rotate > 0:
        G = G.rotate(draws.uniform(math.pi * pipe.rotate_max, rotate_chance))
    if pipe.aniso > 0:
        s = draws.normal(pipe.aniso_std, p * pipe.aniso).exp2()
        G = G.scale(1 / s, s)
    if pipe.rotate > 0 and draws.percentile is None:
        G = G.rotate(draws.uniform(math.pi * pipe.rotate_max, rotate_chance))
    if pipe.xfrac > 0:
        t = draws.normal(pipe.xfrac_std, p * pipe.xfrac, pair=True)
        G = G.translate(-t[:, 0] * width, -t[:, 1] * height)
    return G


def warp(images: torch.Tensor, G: Affine, f: torch.Tensor) -> torch.Tensor:
    """Resample images [N, C, H, W] by G⁻¹, in main memory, at twice their resolution. f: separable low-pass filter [taps].

    Beyond the edges, the image is continued by its reflection, then by zeros.
    """
    H, W = images.shape[2:]
    excess = f.shape[0] // 4  # what the filter needs beyond the result, in pixels of the original
    left, top, right, bottom = margins(G, H, W, 2 * excess)
    if max(H, W) > MATRIX_SIZE and devices.wants_few_shapes(images.device):
        (left, right), (top, bottom) = in_steps(left, right, W), in_steps(top, bottom, H)
    images = enlarge(images, f, left, top, right, bottom)
    # G⁻¹ from centre to centre: of the padded image, then in pixels of half the size; the filter has an even number
    # of taps, so that centres shift by half of such a pixel on both sides.
    x, y = G.offset.unbind(dim=1)
    middle = G.linear.sum(dim=2) / 2
    x = 2 * x + (left - right) + middle[:, 0] - 0.5
    y = 2 * y + (top - bottom) + middle[:, 1] - 0.5
    H_in, W_in = images.shape[2:]
    H_out, W_out = 2 * (H + 2 * excess), 2 * (W + 2 * excess)
    # In units of half an image, those of affine_grid: row 0 is x, column 0 is x.
    (xx, xy), (yx, yy) = (row.unbind(dim=1) for row in G.linear.unbind(dim=1))
    theta = torch.stack([xx * (W_out / W_in), xy * (H_out / W_in), x * (2 / W_in),
                         yx * (W_out / H_in), yy * (H_out / H_in), y * (2 / H_in)], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(devices.send(theta, images.device), [images.shape[0], 1, H_out, W_out], align_corners=False)
    return shrink(grid_sample(images, grid), f, excess)  # [N, C, H, W]


def margins(G: Affine, height: int, width: int, extra: int) -> list[int]:
    """[left, top, right, bottom]: pixels, plus `extra`, that any image of the batch needs beyond its edges; less than
    the image has."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    reach = G.linear[:, :, 0].abs() * cx + G.linear[:, :, 1].abs() * cy  # of the furthest corner, [N, 2]
    needed = torch.cat([(reach - G.offset).amax(dim=0), (reach + G.offset).amax(dim=0)]).tolist()
    centre, limit = [cx, cy] * 2, [width - 1, height - 1] * 2
    return [math.ceil(min(max(n + extra - c, 0), end)) for n, c, end in zip(needed, centre, limit, strict=True)]


def in_steps(before: int, after: int, size: int) -> tuple[int, int]:
    """Enlarge the margins on both sides of an axis of `size` pixels, so that their sum is one of STEPS + 1 values. The samples do
    not depend on the margins. There are then at most 81 shapes of enlarged images, instead of a new one in nearly every batch.
    This costs 1.13 to 1.17 times the area at a strength of 0.3 and more (256x256, 4 to 16 images; 1.29 times with 4 images at
    0.05)."""
    limit = size - 1
    total = math.ceil(2 * limit * math.ceil((before + after) * STEPS / (2 * limit)) / STEPS)
    after = min(total - before, limit)
    return total - after, after


def enlarge(images: torch.Tensor, f: torch.Tensor, left: int, top: int, right: int, bottom: int) -> torch.Tensor:
    """Continue images [N, C, H, W] by reflection, then double them: [N, C, 2 (H + top + bottom), 2 (W + left + right)]."""
    H, W = images.shape[2:]
    if max(H, W) > MATRIX_SIZE:
        return upsample2d(F.pad(images, [left, right, top, bottom], mode='reflect'), f)

    def along(size: int, before: int, after: int) -> torch.Tensor:
        """The image of each unit vector: [size, 2 (size + before + after)]."""
        return upsample2d(F.pad(units(size, images), [before, after, 0, 0], mode='reflect'), f[None], up=[2, 1])[0, 0]

    return along(H, top, bottom).T @ (images @ along(W, left, right))


def shrink(images: torch.Tensor, f: torch.Tensor, excess: int) -> torch.Tensor:
    """Halve images, then take `excess` pixels off all sides: [N, C, 2 (H + 2 excess), 2 (W + 2 excess)] -> [N, C, H, W]."""
    H, W = images.shape[2:]
    if max(H, W) > 2 * (MATRIX_SIZE + 2 * excess):
        return downsample2d(images, f, padding=-2 * excess, flip_filter=True)

    def along(size: int) -> torch.Tensor:
        """[size, size / 2 - 2 excess]."""
        return downsample2d(units(size, images), f[None], down=[2, 1], padding=[-2 * excess, 0], flip_filter=True)[0, 0]

    return along(H).T @ (images @ along(W))


def units(size: int, like: torch.Tensor) -> torch.Tensor:
    """The unit vectors as rows of an image [1, 1, size, size]."""
    return torch.eye(size, dtype=like.dtype, device=like.device)[None, None]
