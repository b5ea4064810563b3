"""Precision and recall of generated images, from the nearest neighbours of their features (Kynkäänniemi et al. 2019,
arXiv 1904.06991)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.features import extraction
from metrics.features.points import BLOCK, Points
from metrics.quality.names import MOST_REALS
from torch_utils import distributed


class Manifold(Points):
    """The union of balls around points [N, F]. Each radius is the distance to the k-th nearest other point.

    Distances are computed in float32 by default. The published code uses float16 for distances and radii, which changes the
    result for points near a surface. device, block, progress, dtype: as of Points.
    """

    def __init__(self, points: np.ndarray, k: int = 3, device: torch.device | None = None, block: int = BLOCK,
                 progress: Callable[[Iterable], Iterable] = iter, dtype: type = np.float32):
        super().__init__(points, device, block, progress, dtype)
        self.k = k
        self.radii = torch.cat([self._radii(rows, k) for rows in progress(batches(len(points), block))])

    def _radii(self, part: slice, k: int) -> torch.Tensor:
        nearest = None
        for columns, distances in self.distances(self.rows(self.points, part)):
            if columns == part:
                distances.fill_diagonal_(torch.inf)  # a point is not its own neighbour
            found = distances if nearest is None else torch.cat([nearest, distances], dim=1)
            nearest = found.topk(min(k, found.shape[1]), largest=False).values
        return nearest[:, -1]

    def share_inside(self, queries: np.ndarray) -> float:
        """Share of queries [M, F] in any of the balls, including their surfaces."""
        inside = 0
        for part in self.progress(batches(len(queries), self.block)):
            rows = self.rows(queries, part)
            found = torch.zeros(len(rows), dtype=torch.bool, device=self._device)
            for columns, distances in self.distances(rows):
                found |= (distances <= self.radii[columns]).any(dim=1)
            inside += int(found.sum())
        return inside / len(queries)


def precision_recall(context: Context, key: str, num_gen: int, detector: str = 'vgg16', resize: str = 'published',
                     full: bool = True, k: int = 3) -> Result:
    """Precision: share of num_gen generated images within the manifold of the real ones. Recall: the reverse.

    full: all real images up to 200 000, without mirrored ones; else the first num_gen, with mirrored ones as in training.
    Values <key>_precision, <key>_recall. Raises UserError if the dataset does not fit the network, or has fewer than k + 1
    images.
    """
    real, fake = extraction.real_and_generated(context, detector, resize, num_gen, full, least=k + 1, most=MOST_REALS['pr'])

    def shares() -> tuple[float, float]:
        x, y = real.features(), fake.features()
        manifolds = [Manifold(points, k, context.device, progress=lambda blocks: context.progress(blocks, 'neighbours'))
                     for points in (x, y)]
        return manifolds[0].share_inside(y), manifolds[1].share_inside(x)

    precision, recall = distributed.broadcast_from_rank0(shares)
    return Result({f'{key}_precision': precision, f'{key}_recall': recall})
