"""Kernel distances of features: KID (Bińkowski et al. 2018, arXiv 1801.01401), and the same by other detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from metrics.context import Context, Result
from metrics.features import extraction
from metrics.quality.names import MOST_REALS
from torch_utils import distributed
from torch_utils.devices import has_float64

SUBSETS = 200          # what random numbers are for


def kernel_distance(real: np.ndarray, fake: np.ndarray, generator: torch.Generator, num_subsets: int = 100,
                    max_subset_size: int = 1000, device: torch.device | None = None,
                    progress: Callable[[Iterable], Iterable] = iter) -> float:
    """Squared maximum mean discrepancy with the kernel k(x, y) = (xᵀy / F + 1)³, unbiased: mean over random subsets of

        [Σ_{i≠j} k(x_i, x_j) + Σ_{i≠j} k(y_i, y_j)] / (m (m - 1)) - 2 Σ_{ij} k(x_i, y_j) / m²

    with m = min(max_subset_size, number of real, number of generated) rows of each side, drawn without replacement.

    real, fake: features [N, F]; only the rows of one subset are in memory at a time. generator: draws the subsets, first of the
    generated, then of the real rows. device: where to compute, in float64 if it supports that. progress: wraps the iterator over
    subsets.
    """
    device = device or torch.device('cpu')
    dtype = torch.float64 if has_float64(device) else torch.float32
    m = min(max_subset_size, len(real), len(fake))
    if m == len(real) == len(fake):
        num_subsets = 1  # all subsets are the same

    def subset(rows: np.ndarray) -> torch.Tensor:
        chosen = torch.randperm(len(rows), generator=generator)[:m].sort().values  # in the order of the file
        return torch.from_numpy(rows[chosen.numpy()]).to(device, dtype)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    total = 0.0
    for _ in progress(range(num_subsets)):
        y, x = subset(fake), subset(real)
        within = sum(float(k.sum() - k.trace()) for k in (kernel(x, x), kernel(y, y)))
        total += within / (m * (m - 1)) - 2 * float(kernel(x, y).mean())
    return total / num_subsets


def kid(context: Context, key: str, num_gen: int, detector: str = 'inception', resize: str = 'published',
        full: bool = True) -> Result:
    """Kernel distance between features of real images and of num_gen generated ones; not multiplied by 1000.

    full: all real images up to a million, without mirrored ones; else the first num_gen, mirrored ones as in training.
    key: name of the value. Raises UserError if the dataset does not fit the network, or has fewer than 2 images.
    """
    real, fake = extraction.real_and_generated(context, detector, resize, num_gen, full, least=2, most=MOST_REALS['kid'])
    value = distributed.broadcast_from_rank0(lambda: kernel_distance(
        real.features(), fake.features(), context.generator(SUBSETS), device=context.device,
        progress=lambda subsets: context.progress(subsets, 'kernel distances')))
    return Result({key: value})
