"""Precision and recall of generated images, from the nearest neighbours of their features (Kynkäänniemi et al. 2019,
arXiv 1904.06991)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.features import extraction
from metrics.quality.names import MOST_REALS
from torch_utils import distributed

BLOCK = 4096


class Manifold:
    """The union of balls around points [N, F], each reaching as far as the k-th nearest of the other points.

    Distances are computed in float32, from points less their mean, which makes little of rounding errors. The published code
    computes them in float16 and rounds the radii to it, which moves points that are just about inside. block: rows and columns
    of the matrix of distances that are held at a time. progress: wraps iterators over blocks of rows.
    """

    def __init__(self, points: np.ndarray, k: int = 3, device: torch.device | None = None, block: int = BLOCK,
                 progress: Callable[[Iterable], Iterable] = iter):
        self.points, self._device, self._block, self._progress = points, device or torch.device('cpu'), block, progress
        self._center = np.mean(points, axis=0, dtype=np.float64).astype(np.float32)
        self.radii = torch.cat([self._radii(rows, k) for rows in progress(batches(len(points), block))])

    def _rows(self, points: np.ndarray, part: slice) -> torch.Tensor:
        return torch.from_numpy(points[part] - self._center).to(self._device)

    def _distances(self, rows: torch.Tensor):
        """For each block of points: where it is, and distances [rows, block]."""
        for part in batches(len(self.points), self._block):
            yield part, torch.cdist(rows, self._rows(self.points, part), compute_mode='use_mm_for_euclid_dist')

    def _radii(self, part: slice, k: int) -> torch.Tensor:
        nearest = None
        for columns, distances in self._distances(self._rows(self.points, part)):
            if columns == part:
                distances.fill_diagonal_(torch.inf)  # a point is not a neighbour of its own
            found = distances if nearest is None else torch.cat([nearest, distances], dim=1)
            nearest = found.topk(min(k, found.shape[1]), largest=False).values
        return nearest[:, -1]

    def share_inside(self, queries: np.ndarray) -> float:
        """Share of queries [M, F] that are within any of the balls, their surfaces included."""
        inside = 0
        for part in self._progress(batches(len(queries), self._block)):
            rows = self._rows(queries, part)
            found = torch.zeros(len(rows), dtype=torch.bool, device=self._device)
            for columns, distances in self._distances(rows):
                found |= (distances <= self.radii[columns]).any(dim=1)
            inside += int(found.sum())
        return inside / len(queries)


def precision_recall(context: Context, key: str, num_gen: int, detector: str = 'vgg16', resize: str = 'published',
                     full: bool = True, k: int = 3) -> Result:
    """Precision: share of num_gen generated images within the manifold of the real ones. Recall: the reverse.

    full: all real images up to 200 000, without mirrored ones; else the first num_gen, mirrored ones as in training.
    Values <key>_precision, <key>_recall. Raises UserError if the dataset does not fit the network, or has no k + 1 images.
    """
    extraction.check(context)
    data = extraction.real_images(context, full, least=k + 1, most=MOST_REALS['pr'] if full else num_gen)
    net = context.detector(detector, resize)
    real = extraction.of_reals(context, net, data, every=True)
    fake = extraction.of_generator(context, net, num_gen, every=True)

    def shares() -> tuple[float, float]:
        x, y = real.features(), fake.features()
        manifolds = [Manifold(points, k, context.device, progress=lambda blocks: context.progress(blocks, 'neighbours'))
                     for points in (x, y)]
        return manifolds[0].share_inside(y), manifolds[1].share_inside(x)

    precision, recall = distributed.broadcast_from_rank0(shares)
    return Result({f'{key}_precision': precision, f'{key}_recall': recall})
