"""Perceptual path length: the perceptual change of the image for a small step of the latent (Karras et al. 2019,
arXiv 1812.04948)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dnnlib.image_size import height_width
from metrics.context import Context, Result
from metrics.features import extraction
from metrics.features.generation import Draws, sub_batches, with_noise
from metrics.features.statistics import FeatureStats
from torch_utils import distributed

PAIRS = 300          # what random numbers are for
IMAGES_PER_PAIR = 4  # of room: two images, computed in float32


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Points on the great circle through the directions of a and b [N, F], t [N] of the way from a to b: [N, F], of length 1."""
    a, b = (torch.nn.functional.normalize(x, dim=1) for x in (a, b))
    cosine = (a * b).sum(dim=1, keepdim=True)
    angle = t[:, None] * cosine.clamp(-1, 1).acos()
    across = torch.nn.functional.normalize(b - cosine * a, dim=1)
    return torch.nn.functional.normalize(a * angle.cos() + across * angle.sin(), dim=1)


def mean_length(lengths: np.ndarray) -> float:
    """Mean of the values [N] from the 1st to the 99th percentile; both are occurring values. NaN if any value is not finite."""
    if not np.isfinite(lengths).all():
        return float('nan')
    low, high = np.percentile(lengths, 1, method='lower'), np.percentile(lengths, 99, method='higher')
    return float(np.mean(lengths[(lengths >= low) & (lengths <= high)], dtype=np.float64))


def face(images: torch.Tensor) -> torch.Tensor:
    """The face in aligned portraits [N, C, R, R]: rows 3/8..7/8, columns 1/4..3/4."""
    u = images.shape[2] // 8
    return images[:, :, 3 * u:7 * u, 2 * u:6 * u]


def ppl(context: Context, key: str, num_gen: int, space: str = 'w', sampling: str = 'end', crop: bool = False,
        epsilon: float = 1e-4) -> Result:
    """Mean squared LPIPS distance, over epsilon², of images at t and t + epsilon on num_gen random paths.

    space: 'w', straight lines between mapped latents; 'z', arcs between latents. sampling: t = 0 ('end'), or random ('full').
    crop: only the face. Both images of a path share a random label and random noise inputs.
    """
    extraction.check_labels(context)
    G, lpips = context.G, context.detector('vgg16').lpips

    def lengths(items: Sequence[int]) -> torch.Tensor:
        draws = Draws(context, items, PAIRS)
        t = draws.uniform() if sampling == 'full' else torch.zeros(len(items), device=context.device)
        z0, z1, c = draws.normal(G.z_dim), draws.normal(G.z_dim), draws.labels(context.labels_of)
        if space == 'w':
            w0, w1 = G.mapping(z0, c), G.mapping(z1, c)
            ws = torch.cat([w0.lerp(w1, s[:, None, None]) for s in (t, t + epsilon)])
        else:
            ws = G.mapping(torch.cat([slerp(z0, z1, s) for s in (t, t + epsilon)]), c.repeat(2, 1))
        noise = {name: x.repeat(2, 1, 1, 1) for name, x in draws.noise(G.synthesis).items()}
        images = with_noise(G.synthesis, noise, ws, force_fp32=True)
        images = face(images) if crop else images
        if (factor := max(height_width(G.img_resolution)) // 256) > 1:
            images = torch.nn.functional.avg_pool2d(images, factor)
        first, second = lpips((images + 1) * 127.5).chunk(2)
        return (first - second).square().sum(dim=1, keepdim=True) / epsilon ** 2

    def read(parts: list[slice]) -> Iterator[torch.Tensor]:
        for part in parts:
            items = range(part.start, part.stop)
            yield torch.cat([lengths(some) for some in sub_batches(context, items, IMAGES_PER_PAIR)])

    stats = FeatureStats(capture_all=True, max_items=num_gen)
    extraction.of_batches(context, num_gen, read, lambda x: x, stats, 'ppl sampling')
    return Result({key: distributed.broadcast_from_rank0(lambda: mean_length(stats.features()[:, 0]))})
