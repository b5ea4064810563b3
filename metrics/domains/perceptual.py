"""Perceptual distances of images: LPIPS, and a similar distance with a network that needs no download.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. LPIPS weights the channels by
human judgements of similarity. Such weights exist for few networks. Without them, it is called perceptual distance here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from metrics.context import Context
from metrics.detectors import ALEXNET
from metrics.detectors.lpips import of_maps

Embed = Callable[[torch.Tensor], torch.Tensor]


def embedder(context: Context, detector: str) -> Embed:
    """A function: images in [-1, 1], [N, C, H, W] -> float32 [N, K], whose squared distances are the perceptual ones.

    detector: ALEXNET for LPIPS, without resizing; else a detector with `feature_maps`, with images resized for it. Raises
    UserError if there are no weights.
    """
    net = context.detector(detector)

    def compute(images: torch.Tensor) -> torch.Tensor:
        pixels = (images.clamp(-1, 1) + 1) * 127.5
        with torch.no_grad():
            return net.lpips(pixels) if detector == ALEXNET else of_maps(net.feature_maps(pixels))

    return compute


def mean_pairwise(embedded: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of the S (S - 1) / 2 pairs of rows of [S, K], S >= 2: a scalar.

    Σ_{i<j} |x_i - x_j|² = S Σ_i |x_i - μ|², so no table of pairs is needed.
    """
    return 2 * (embedded - embedded.mean(dim=0)).square().sum() / (len(embedded) - 1)


def diversity_of(images: torch.Tensor, embed: Embed) -> torch.Tensor:
    """Mean perceptual distance of the pairs of each group of images: [N, S, C, H, W] in [-1, 1], S >= 2 -> [N]."""
    return torch.stack([mean_pairwise(embed(group)) for group in images])
