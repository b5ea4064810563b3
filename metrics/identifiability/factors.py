"""Known factors as numbers for measures: classes as indicators, circles as cosine and sine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Factor(NamedTuple):
    """One factor of N images. values: float64 [N]. kind: 'number'; 'class', whole numbers from 0; 'circle', in turns, where 0 and
    1 are the same. style: whether it is style, and not content."""

    name: str
    values: np.ndarray
    kind: str = 'number'
    style: bool = False

    @property
    def dims(self) -> int:
        """Number of coordinates that a code needs: 2 for a circle, which does not fit on a line without a jump; else 1."""
        return 2 if self.kind == 'circle' else 1

    def columns(self) -> np.ndarray:
        """As targets of prediction: [N, 1]; [N, 2] for a circle; [N, C] for C occurring classes."""
        if self.kind == 'circle':
            return angle_columns(self.values)
        if self.kind == 'class':
            return (self.values[:, None] == np.unique(self.values)).astype(np.float64)
        return self.values[:, None].astype(np.float64)

    def bins(self, count: int) -> np.ndarray:
        """The values as integers from 0: int64 [N]. Classes stay unchanged; others are put into `count` bins of equal size."""
        return np.unique(self.values, return_inverse=True)[1] if self.kind == 'class' else equal_bins(self.values, count)

    def rows(self, which: np.ndarray | slice) -> Factor:
        """The same factor of some of the images."""
        return self._replace(values=self.values[which])


def angle_columns(turns: np.ndarray) -> np.ndarray:
    """Cosine and sine of angles [N] in turns: [N, 2]."""
    return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=1)


def equal_bins(values: np.ndarray, count: int) -> np.ndarray:
    """Bins 0..count - 1 with equally many values of [N]; equal values share a bin. int64 [N]."""
    edges = np.quantile(values, np.arange(1, count) / count)
    return np.searchsorted(np.unique(edges), values, side='right')


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within each column of [N, F]; equal values share the mean of theirs. float64."""
    found = np.empty(values.shape)
    for i, column in enumerate(values.T):
        _, which, counts = np.unique(column, return_inverse=True, return_counts=True)
        found[:, i] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return found


def standardised(values: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Columns [N, F] less the mean, divided by the standard deviation, both of `reference`, by default of themselves. Constant
    columns become 0."""
    reference = values if reference is None else reference
    deviation = reference.std(axis=0)
    constant = deviation <= 1e-12 * np.maximum(np.abs(reference).max(axis=0), 1e-300)
    return np.where(constant, 0, (values - reference.mean(axis=0)) / np.where(constant, 1, deviation))


def halves(count: int) -> tuple[slice, slice]:
    """Rows to fit on, and rows to measure on. The rows must already be in random order."""
    return slice(0, count // 2), slice(count // 2, count)
