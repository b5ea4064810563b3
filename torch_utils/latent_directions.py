"""Directions of a latent space that need no training: GANSpace (Härkönen et al. 2020) and SeFa (Shen and Zhou 2021)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def principal_directions(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """GANSpace (arXiv 2004.02546): principal components of samples [N, F], sorted by decreasing variance.

    Returns unit vectors [F, F], one per row, and their variances [F]; both float64. The largest number of each vector is
    positive.
    Raises ValueError for fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError('principal components need at least two samples')
    return _eigenvectors(torch.cov(samples.double().T).reshape(samples.shape[1], -1))


def sensitive_directions(weights: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """SeFa (arXiv 2007.06600, eq. 5): unit vectors v, sorted by decreasing ‖A v‖². A stacks all weights [out, F] vertically.

    Returns the vectors [F, F], one per row, and ‖A v‖² [F]; both float64. The largest number of each vector is positive.
    """
    return _eigenvectors(torch.as_tensor(sum(weight.double().T @ weight.double() for weight in weights)))


def affine_weights(network: nn.Module) -> list[torch.Tensor]:
    """Weights [out, F] of all dense layers called `affine` in a network. These layers turn w into the styles of a layer."""
    layers = [module.affine for module in network.modules() if hasattr(module, 'affine')]
    return [layer.weight.detach() * layer.weight_gain for layer in layers]


def _eigenvectors(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(matrix)  # ascending order, one column each
    vectors = vectors.T.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * largest.sign(), values.flip(0).clamp(min=0)
