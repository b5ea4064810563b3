"""Statistics of features in batches: mean and covariance, or all features."""

from __future__ import annotations

import tempfile
from typing import IO, Any

import numpy as np
import torch

from torch_utils.devices import has_float64

BLOCK_ROWS = 1024               # rows that one update of the covariance takes: fewer are slow, more need memory
IN_MEMORY = 1 << 30             # bytes of captured features beyond which they are kept in a temporary file


class FeatureStats:
    """Rows are appended in order. The size of batches does not change the result, except for rounding in float64.

    capture_all: keep all features. capture_mean_cov: keep the sums for mean and covariance. max_items: later rows are dropped;
    None for no limit, not with capture_all.

    The sums are float64 on the device of the features. Captured features are float32 in memory; from 1 GiB, in a temporary file
    that is deleted with the object or the process.
    """

    def __init__(self, capture_all: bool = False, capture_mean_cov: bool = False, max_items: int | None = None):
        if capture_all and max_items is None:
            raise ValueError('capture_all needs max_items')
        self.capture_all, self.capture_mean_cov, self.max_items = capture_all, capture_mean_cov, max_items
        self.num_items = 0
        self.num_features: int | None = None
        self._rows: np.ndarray | None = None                       # [max_items, F]
        self._pending: list[torch.Tensor] = []                     # rows that are not in the sums yet
        self._sum: torch.Tensor | None = None                      # [F]
        self._sum_outer: torch.Tensor | None = None                # [F, F]

    def append(self, features: torch.Tensor | np.ndarray) -> None:
        """Add rows [N, F]. Raises ValueError if they have another width than earlier ones."""
        features = torch.as_tensor(features)
        if features.ndim != 2 or self.num_features not in (None, features.shape[1]):
            raise ValueError(f'features must be [N, {self.num_features or "F"}], not {list(features.shape)}')
        self.num_features = features.shape[1]
        if self.max_items is not None:
            features = features[:self.max_items - self.num_items]
        if not len(features):
            return
        if self.capture_all:
            if self._rows is None:
                self._rows = _allocate(self.max_items, self.num_features)
            self._rows[self.num_items:self.num_items + len(features)] = features.cpu().numpy()
        if self.capture_mean_cov:
            self._pending.append(features)
            if sum(map(len, self._pending)) >= BLOCK_ROWS:
                self._add_pending()
        self.num_items += len(features)

    def _add_pending(self) -> None:
        if not self._pending:
            return
        x = torch.cat(self._pending)
        x = (x if has_float64(x.device) else x.cpu()).double()
        if self._sum is None:
            self._sum, self._sum_outer = x.new_zeros(self.num_features), x.new_zeros(self.num_features, self.num_features)
        self._sum += x.sum(dim=0)
        self._sum_outer.addmm_(x.T, x)
        self._pending = []

    def features(self) -> np.ndarray:
        """All features in order: float32 [num_items, F]. They may be mapped from a file: do not write to them."""
        if not self.capture_all:
            raise ValueError('features were not captured')
        return np.zeros([0, 0], np.float32) if self._rows is None else self._rows[:self.num_items]

    def mean_cov(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean [F] and covariance [F, F], float64; the covariance is that of the population, 1/N Σ (x - μ)(x - μ)ᵀ."""
        if not self.capture_mean_cov or not self.num_items:
            raise ValueError('mean and covariance were not captured')
        self._add_pending()
        mean = self._sum / self.num_items
        cov = self._sum_outer / self.num_items - torch.outer(mean, mean)
        return mean.cpu().numpy(), ((cov + cov.T) / 2).cpu().numpy()  # matrix products round the two halves differently

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays from which `from_arrays` restores the statistics."""
        arrays: dict[str, Any] = dict(num_items=np.int64(self.num_items), max_items=np.int64(-1 if self.max_items is None else
                                                                                            self.max_items))
        if self.capture_mean_cov and self.num_items:
            self._add_pending()
            arrays |= dict(sum=self._sum.cpu().numpy(), sum_outer=self._sum_outer.cpu().numpy())
        if self.capture_all:
            arrays['features'] = self.features()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> FeatureStats:
        """The inverse of `arrays`. Raises ValueError if they do not fit together."""
        num_items, max_items = int(arrays['num_items']), int(arrays['max_items'])
        stats = cls('features' in arrays, 'sum' in arrays, None if max_items < 0 else max_items)
        stats.num_items = num_items
        if stats.capture_mean_cov:
            stats._sum, stats._sum_outer = (torch.from_numpy(np.array(arrays[key], np.float64)) for key in ('sum', 'sum_outer'))
            stats.num_features = len(stats._sum)
            if stats._sum_outer.shape != (stats.num_features, stats.num_features):
                raise ValueError('sums of different widths')
        if stats.capture_all:
            stats._rows = arrays['features']
            stats.num_features = stats._rows.shape[1]
            if len(stats._rows) != num_items or stats._rows.dtype != np.float32:
                raise ValueError('not as many features as items')
        return stats


def _allocate(num: int, width: int) -> np.ndarray:
    """Float32 [num, width], in a temporary file if it is large. Only written parts take space."""
    if num * width * 4 <= IN_MEMORY:
        return np.empty([num, width], np.float32)
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the mapping needs it, and lets it go)
    return np.memmap(file, np.float32, 'w+', shape=(num, width))
