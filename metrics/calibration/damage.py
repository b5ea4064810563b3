"""Damage in graded steps: typical errors of generators, applied to real images on purpose.

Some kinds change images (blur, noise, colours, averaging). Others only choose among the images (fewer classes, few different
images, images of other classes), so their features need not be recomputed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from dnnlib.channels import num_colors

SIZE = 32  # pixels of the longer side of images for which the widths of `blur` are meant


class Damage(NamedTuple):
    """levels: strengths, from light to total. labels: of each level, for tables. change: (images uint8 [N, C, H, W], their
    classes int64 [N], level, random numbers) -> damaged images; or choose: (classes, level, random numbers) -> numbers of the
    images to use instead, int64 [N]. within: whether distances are taken within each class and then averaged."""

    levels: tuple[float, ...]
    labels: tuple[str, ...]
    change: Callable[[torch.Tensor, np.ndarray, float, np.random.Generator], torch.Tensor] | None = None
    choose: Callable[[np.ndarray, float, np.random.Generator], np.ndarray] | None = None
    within: bool = False


def blur(images: torch.Tensor, classes: np.ndarray, level: float, rng: np.random.Generator) -> torch.Tensor:
    """Gaussian blur with a deviation of `level` pixels of an image of 32 pixels; borders are repeated."""
    sigma = level * max(images.shape[2:]) / SIZE
    radius = max(round(3 * sigma), 1)
    weights = torch.exp(-torch.arange(-radius, radius + 1).double().square() / (2 * sigma ** 2))
    weights = (weights / weights.sum()).to(images.device, torch.float32)
    flat = images.float().flatten(end_dim=1)[:, None]
    flat = F.conv2d(F.pad(flat, [radius] * 4, mode='replicate'), weights[None, None, None, :])
    return to_bytes(F.conv2d(flat, weights[None, None, :, None]).reshape(images.shape))


def noise(images: torch.Tensor, classes: np.ndarray, level: float, rng: np.random.Generator) -> torch.Tensor:
    """Gaussian noise with a deviation of `level` of 255 grey values, in the colour channels."""
    colors = images[:, :num_colors(images.shape[1])].float()
    added = torch.from_numpy(rng.standard_normal(colors.shape, np.float32)).to(images.device)
    return with_colors(images, to_bytes(colors + level * added))


def colours(images: torch.Tensor, classes: np.ndarray, level: float, rng: np.random.Generator) -> torch.Tensor:
    """In a share `level` of the images, red becomes green, green blue, and blue red. Grey images stay unchanged."""
    changed = torch.from_numpy(rng.permutation(len(images))[:round(level * len(images))]).to(images.device)
    images = images.clone()
    images[changed] = with_colors(images[changed], images[changed][:, :num_colors(images.shape[1])].roll(1, dims=1))
    return images


def average(images: torch.Tensor, classes: np.ndarray, level: float, rng: np.random.Generator) -> torch.Tensor:
    """Each image is mixed with the mean image of its class with weight `level`: 1 leaves one blurred shape per class."""
    images = images.float()
    for k in np.unique(classes):
        mine = torch.from_numpy(np.flatnonzero(classes == k)).to(images.device)
        images[mine] = torch.lerp(images[mine], images[mine].mean(dim=0), level)
    return to_bytes(images)


def fewer_classes(classes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Only images of a share 1 - level of the classes, at least one class. The number of images stays the same."""
    present = rng.permutation(np.unique(classes))
    kept = np.flatnonzero(np.isin(classes, present[:max(round((1 - level) * len(present)), 1)]))
    return np.resize(rng.permutation(kept), len(classes))


def few_images(classes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Only `level` different images of each class, repeated as often as the class has images."""
    numbers = np.empty(len(classes), np.int64)
    for k in np.unique(classes):
        mine = np.flatnonzero(classes == k)
        numbers[mine] = np.resize(rng.permutation(mine)[:int(level)], len(mine))
    return numbers


def wrong_classes(classes: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A share `level` of the images of each class is replaced by images of other classes."""
    numbers = np.arange(len(classes))
    for k in np.unique(classes):
        mine, others = rng.permutation(np.flatnonzero(classes == k)), np.flatnonzero(classes != k)
        count = math.ceil(level * len(mine))
        numbers[mine[:count]] = np.resize(rng.permutation(others), count)
    return numbers


def with_colors(images: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Images with these colour channels and their original alpha."""
    return torch.cat([colors, images[:, colors.shape[1]:]], dim=1)


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """Float in [0, 255] -> uint8, rounded."""
    return images.round().clamp(0, 255).to(torch.uint8)


DAMAGES = {
    'blur': Damage((0.5, 1, 2), ('0.5 px', '1 px', '2 px'), blur),
    'noise': Damage((8, 24, 64), ('8', '24', '64'), noise),
    'colours': Damage((0.1, 0.3, 1), ('10%', '30%', 'all'), colours),
    'average': Damage((0.25, 0.5, 1), ('25%', '50%', 'mean'), average),
    'classes': Damage((0.5, 0.75, 1), ('1/2', '1/4', 'one'), choose=fewer_classes),
    'few': Damage((8, 2, 1), ('8', '2', '1 each'), choose=few_images),
    'swapped': Damage((0.1, 0.3, 1), ('10%', '30%', 'all'), choose=wrong_classes, within=True),
}
LIGHT, TOTAL = ('blur', 'noise'), ('average', 'few')  # the first level of these is lighter than the last one of those
