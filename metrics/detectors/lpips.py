"""LPIPS, a perceptual distance: an embedding of images, made from the feature maps of a classifier.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, in version 0.1 of
the authors' weights (lpips_heads.safetensors; their licence is beside it).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.detector import exact


def heads(network: str) -> list[torch.Tensor]:
    """Non-negative weights of the channels of each of the five feature maps: float32 [C]. network: 'vgg' or 'alex'."""
    with safe_open(Path(__file__).with_name('lpips_heads.safetensors'), framework='pt') as f:
        return [f.get_tensor(f'{network}.{i}') for i in range(5)]


def embedding(maps: Iterable[torch.Tensor], weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """Feature maps [N, C, H, W] of several layers, with weights [C] -> [N, sum of C * H * W].

    The LPIPS distance of two images (the weighted squared difference of features of unit length, averaged over pixels,
    summed over layers) is the squared Euclidean distance of their embeddings.
    """
    parts = []
    for x, weight in zip(maps, weights, strict=True):
        unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
        parts.append((unit * (weight / x.shape[2:].numel()).sqrt().reshape(-1, 1, 1)).flatten(1))
    return torch.cat(parts, dim=1)


def of_maps(maps: list[torch.Tensor]) -> torch.Tensor:
    """Maps [N, C, h, w] of several layers -> [N, K]. Squared distances of the results are the squared differences of features
    of unit length, averaged over pixels and summed over layers: LPIPS without weights of channels. Differentiable."""
    parts = [torch.nn.functional.normalize(x, dim=1, eps=1e-10) / x[0, 0].numel() ** 0.5 for x in maps]
    return torch.cat([part.flatten(start_dim=1) for part in parts], dim=1)


def check_size(images: torch.Tensor, smallest: int) -> None:
    """Raise UserError for images [N, C, H, W] that are so small that the last feature maps would have no pixel."""
    if min(images.shape[2:]) < smallest:
        height, width = images.shape[2:]
        raise UserError(f'images of {width} x {height} pixels are too small for LPIPS, which needs {smallest} x {smallest}')


class LPIPS(nn.Module):
    """LPIPS distances. Made by `metrics.detectors.load_lpips`. net: has a method lpips(images), see `Detector`."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distances of images in [-1, 1], [N, 1 or 3, H, W] each, not resized: float32 [N]. Differentiable."""
        with exact():
            both = self.net.lpips((torch.cat([a, b]) + 1) * 127.5)
        first, second = both.chunk(2)
        return (first - second).square().sum(dim=1)
