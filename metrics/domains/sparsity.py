"""Measures of the sparsity of a vector that do not depend on scale (Hurley & Rickard 2009,
"Comparing Measures of Sparsity", IEEE Trans. Inf. Theory 55(10))."""

from __future__ import annotations

import math

import torch


def hoyer(x: torch.Tensor) -> torch.Tensor:
    """(√n - ‖x‖₁ / ‖x‖₂) / (√n - 1) of each row: x [..., n] -> [...], float, 0 (all entries alike) to 1 (one entry).

    Hoyer 2004, "Non-negative Matrix Factorization with Sparseness Constraints", JMLR 5. NaN for rows of zeros and n < 2.
    """
    root = math.sqrt(x.shape[-1])
    ratio = x.abs().sum(dim=-1) / x.square().sum(dim=-1).sqrt()
    return ((root - ratio) / (root - 1)).clamp(0, 1)


def gini(x: torch.Tensor) -> torch.Tensor:
    """The Gini index of the absolute values of each row: x [..., n] -> [...], float, 0 (all alike) to 1 - 1/n (one entry).

    With |x| in ascending order x₁..xₙ: 1 - 2 Σ_k x_k / ‖x‖₁ · (n - k + ½) / n. NaN for rows of zeros and n = 0.
    """
    n = x.shape[-1]
    ordered = x.abs().sort(dim=-1).values
    weights = (n - torch.arange(1, n + 1, dtype=x.dtype, device=x.device) + 0.5) / max(n, 1)
    return (1 - 2 * (ordered * weights).sum(dim=-1) / ordered.sum(dim=-1)).clamp(min=0)
