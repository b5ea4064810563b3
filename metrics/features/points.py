"""Features as points in space: distances between sets, computed in blocks of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from metrics.context import batches
from torch_utils.devices import has_float64

BLOCK = 4096
SAME = 1e-4  # of the spread: nearer features belong to the same image, with different rounding


class Points:
    """Points [N, F], to which distances of other points are computed.

    The mean is subtracted from the points, which keeps rounding errors small.
    dtype: with float32, a distance of 0 can become up to 1e-3 of the distance from the mean; with float64 up to 1e-7. float64
    runs on the CPU if the device lacks it.
    device: where to compute. block: rows and columns of the distance matrix per block. progress: wraps iterators over blocks of
    rows.
    """

    def __init__(self, points: np.ndarray, device: torch.device | None = None, block: int = BLOCK,
                 progress: Callable[[Iterable], Iterable] = iter, dtype: type = np.float64):
        self.points, self.block, self.progress, self._dtype = points, block, progress, dtype
        self._device = device if device and (dtype is np.float32 or has_float64(device)) else torch.device('cpu')
        self._center: np.ndarray = np.mean(points, axis=0, dtype=np.float64).astype(dtype)

    def rows(self, points: np.ndarray, part: slice) -> torch.Tensor:
        """A part of points [M, F], less the mean, on the device."""
        return torch.from_numpy(points[part] - self._center).to(self._device)

    def distances(self, rows: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """For each block of points: where it is, and distances [rows, block]. rows: of `rows`."""
        for part in batches(len(self.points), self.block):
            yield part, torch.cdist(rows, self.rows(self.points, part), compute_mode='use_mm_for_euclid_dist')

    def spread(self) -> float:
        """Root mean square distance of the points from their mean."""
        total = sum(float(self.rows(self.points, part).square().sum()) for part in batches(len(self.points), self.block))
        return (total / len(self.points)) ** 0.5

    def nearest(self, queries: np.ndarray, k: int, groups: np.ndarray | None = None, own_groups: np.ndarray | None = None,
                hidden: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest points of each query [M, F]: numbers int64 and distances, both [M, k], nearest first.

        groups, own_groups: int [N] of the points, and [M] of the queries: a query has no neighbour in its own group.
        hidden: bool [N], points that are never neighbours. If fewer than k remain, distances are inf.
        """
        found = [self._nearest(queries, part, k, groups, own_groups, hidden)
                 for part in self.progress(batches(len(queries), self.block))]
        numbers, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return numbers, distances

    def _nearest(self, queries, part, k, groups, own_groups, hidden) -> tuple[np.ndarray, np.ndarray]:
        kept = numbers = None
        for columns, distances in self.distances(self.rows(queries, part)):
            if groups is not None:
                same = own_groups[part, None] == groups[None, columns]
                distances.masked_fill_(torch.from_numpy(same).to(self._device), torch.inf)
            if hidden is not None:
                distances[:, torch.from_numpy(hidden[columns]).to(self._device)] = torch.inf
            here = torch.arange(columns.start, columns.stop, device=self._device).expand_as(distances)
            kept = distances if kept is None else torch.cat([kept, distances], dim=1)
            numbers = here if numbers is None else torch.cat([numbers, here], dim=1)
            kept, order = kept.topk(min(k, kept.shape[1]), largest=False)
            numbers = numbers.gather(1, order)
        return numbers.cpu().numpy(), kept.cpu().numpy()
