"""Generated images for metrics. Image number i depends only on (seed, i), regardless of how the work is divided."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from dnnlib.image_size import height_width
from metrics.context import Context

SAMPLES = 100                  # what random numbers are for
PIXELS_AT_ONCE = 1 << 22       # of images per batch of a generator: 64 images of 256x256


class Draws:
    """The random numbers of the samples with the given numbers.

    purpose: key for sets of samples with separate random numbers.
    """

    def __init__(self, context: Context, items: Sequence[int], purpose: int = SAMPLES):
        self._context = context
        seeds = [np.random.SeedSequence([context.seed, purpose, i]).generate_state(2, np.uint64) >> 1 for i in items]
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed, _ in seeds]
        self._noise_seeds = [int(seed) for _, seed in seeds]

    def normal(self, *shape: int) -> torch.Tensor:
        """~ N(0, 1) on the device: [N, *shape]."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self._context.device)

    def uniform(self) -> torch.Tensor:
        """~ U(0, 1) on the device: [N]."""
        return torch.stack([torch.rand([], generator=g) for g in self._generators]).to(self._context.device)

    def labels(self, dataset) -> torch.Tensor:
        """Labels of random items of a dataset, the empirical distribution, on the device: [N, c_dim]. Unconditional networks
        get [N, 0], and need no dataset."""
        if not self._context.G.c_dim:
            return torch.zeros(len(self._generators), 0, device=self._context.device)
        rows = [dataset.get_label(int(torch.randint(len(dataset), [], generator=g))) for g in self._generators]
        return torch.from_numpy(np.stack(rows)).to(self._context.device)

    def noise(self, network: nn.Module) -> dict[str, torch.Tensor]:
        """Random noise inputs that replace the constant ones of a network: name of buffer -> [N, 1, r, r]."""
        buffers = {name: b for name, b in network.named_buffers() if name.rpartition('.')[2] == 'noise_const'}
        device, sizes = self._context.device, [b.numel() for b in buffers.values()]
        generator = torch.Generator(device)
        rows = [torch.randn(sum(sizes), generator=generator.manual_seed(seed), device=device) for seed in self._noise_seeds]
        parts = torch.stack(rows).split(sizes, dim=1) if sizes else ()
        return {name: part.reshape(-1, 1, *b.shape) for (name, b), part in zip(buffers.items(), parts, strict=True)}


def with_noise(network: nn.Module, noise: dict[str, torch.Tensor], *args, **kwargs) -> torch.Tensor:
    """Call a network with these noise inputs (Draws.noise). It keeps its own, and the global generators their state."""
    return torch.func.functional_call(network, noise, args, dict(noise_mode='const', **kwargs))


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Images in [-1, 1] as bytes, the published way: scaled by 127.5 about 128, clipped, truncated."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def sub_batches(context: Context, items: Sequence[int], room: int = 1) -> list[Sequence[int]]:
    """Batches of a generator. They depend only on the size of the images, not on the device.

    room: memory of an item, in images."""
    size = max(1, PIXELS_AT_ONCE // (room * math.prod(height_width(context.G.img_resolution))))
    return [items[i:i + size] for i in range(0, len(items), size)]


@torch.no_grad()
def random_images(context: Context, items: Sequence[int], dataset=None) -> torch.Tensor:
    """Generated images of these numbers as the published metrics draw them: uint8 [N, C, H, W] on the device.

    z ~ N(0, I), labels of random items of the dataset, no truncation, random noise.
    """
    images = []
    for part in sub_batches(context, items):
        draws = Draws(context, part)
        z, c = draws.normal(context.G.z_dim), draws.labels(dataset)
        images.append(to_uint8(with_noise(context.G, draws.noise(context.G), z, c)))
    return torch.cat(images)
