"""Density and coverage of generated images, from the nearest neighbours of their features (Naeem et al. 2020,
arXiv 2002.09797)."""

from __future__ import annotations

import numpy as np

from metrics.context import Context, Result, batches
from metrics.features import extraction
from metrics.features.points import SAME
from metrics.quality.names import MOST_REALS
from metrics.quality.precision_recall import Manifold
from torch_utils import distributed

TIE = 1e-9  # relative: distances that differ by less count as equal


def density_and_coverage(real: Manifold, fake: np.ndarray) -> tuple[float, float]:
    """Density and coverage of generated points Y_j [M, F]. Real points X_i, i = 1..N, have balls with radius r_i, the distance to
    the k-th nearest real neighbour:

        density  = 1 / (k M) Σ_j Σ_i 1[|Y_j - X_i| < r_i]      may exceed 1
        coverage = 1 / N Σ_i 1[min_j |Y_j - X_i| < r_i]

    The inequalities are strict, as in the authors' code. Both values are then exactly 1 for identical sets. A real image with
    more than k copies has a ball of radius 0 and cannot be covered.
    """
    radii = real.radii * (1 - TIE)
    radii[radii < SAME * real.spread()] = 0
    inside, covered = 0, np.zeros(len(real.points), bool)
    for part in real.progress(batches(len(fake), real.block)):
        rows = real.rows(fake, part)
        for columns, distances in real.distances(rows):
            within = distances < radii[columns]
            inside += int(within.sum())
            covered[columns] |= within.any(dim=0).cpu().numpy()
    return inside / (real.k * len(fake)), float(covered.mean())


def density_coverage(context: Context, key: str, num_gen: int, detector: str = 'vgg16', resize: str = 'published',
                     full: bool = True, k: int = 5) -> Result:
    """Density and coverage of num_gen generated images.

    full: all real images up to 200 000, without mirrored ones; else the first num_gen, with mirrored ones as in training. Values
    <key>_density, <key>_coverage. Raises UserError if the dataset does not fit the network, or has fewer than k + 1 images.
    """
    real, fake = extraction.real_and_generated(context, detector, resize, num_gen, full, least=k + 1, most=MOST_REALS['dc'])

    def compute() -> tuple[float, float]:
        manifold = Manifold(real.features(), k, context.device, dtype=np.float64,
                            progress=lambda blocks: context.progress(blocks, 'neighbours'))
        return density_and_coverage(manifold, fake.features())

    density, coverage = distributed.broadcast_from_rank0(compute)
    return Result({f'{key}_density': density, f'{key}_coverage': coverage})
