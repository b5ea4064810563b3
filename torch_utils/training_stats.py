"""Statistics of a run: report values anywhere, and collect their mean and spread per tick.

A report makes one copy on the value's own device and waits for no device. When a Collector updates, all values are fetched
together and summed. Every Collector keeps its own sums, so several Collectors or tests do not disturb each other. A NaN affects
only its own tick.

With several processes (torch.distributed), an update sums over all of them in one collective call. All processes must update the
same collectors in the same order, and must have reported the same names in the same order.
"""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from torch_utils import distributed

# Sums for each name: count, values, squared values; reports, and reports with a NaN or an infinity.
MOMENTS = 5

MOST_WAITING = 1 << 16  # maximum reports, or values of one report, before a fetch

_waiting: list[tuple[str, torch.Tensor]] = []  # values reported since the last fetch, flat
_names: dict[str, None] = {}  # all names so far, in the order of their first report
_collectors: weakref.WeakSet[Collector] = weakref.WeakSet()


def report(name: str, value: Any) -> Any:
    """Count every element of `value` (tensor, array, list or number) under `name`. Returns `value`.

    An empty value registers the name without counting anything.
    """
    _names[name] = None
    if torch.is_tensor(value):
        x = value.detach().to(torch.float32, copy=True).flatten()
    else:  # float64: numbers keep their digits
        x = torch.as_tensor(value, dtype=torch.float64).flatten()
    if x.numel():
        _waiting.append((name, x))
        if max(len(_waiting), x.numel()) > MOST_WAITING:
            _fetch()
    return value


def report0(name: str, value: Any) -> Any:
    """Like `report`, but only rank 0 counts."""
    report(name, value if distributed.is_rank0() else [])
    return value


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[str, torch.Tensor]]]:
    """Inside this context, `report` appends (name, flat copy of the value) to the yielded list and counts nothing."""
    global _waiting
    before, _waiting = _waiting, []
    try:
        yield _waiting
    finally:
        _waiting = before


def count(reports: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Count recorded reports. The tensors must not change any more."""
    _waiting.extend(reports)
    if len(_waiting) > MOST_WAITING:
        _fetch()


class Collector:
    """Statistics between the last two updates, for the names that `regex` matches in full.

    keep_previous: a name without new values keeps its previous statistics instead of becoming undefined.
    """

    def __init__(self, regex: str = '.*', keep_previous: bool = True):
        self._regex = re.compile(regex)
        self._keep_previous = keep_previous
        self._sums: dict[str, np.ndarray] = {}  # this process since the last update: moments [5] in float64
        self._deltas: dict[str, np.ndarray] = {}  # all processes between the last two updates
        _fetch()
        _collectors.add(self)

    def names(self) -> list[str]:
        """All names that match so far, in the order of their first report."""
        return [name for name in _names if self._regex.fullmatch(name)]

    def update(self) -> None:
        """Fetch the values reported since the last update. A collective call with several processes."""
        _fetch()
        if not self._keep_previous:
            self._deltas.clear()
        names = self.names()
        if names:
            sums = distributed.total(np.stack([self._sums.get(name, np.zeros(MOMENTS)) for name in names]))
            self._deltas |= {name: moments for name, moments in zip(names, sums, strict=True) if moments[0]}
        self._sums = {}

    def num(self, name: str) -> int:
        """Number of values behind the statistics of `name`."""
        return int(self._delta(name)[0])

    def mean(self, name: str) -> float:
        """Mean; NaN without values."""
        n, s = self._delta(name)[:2]
        return float(s / n) if n else float('nan')

    def std(self, name: str) -> float:
        """Population standard deviation; 0 for one value, NaN without values or if they are not finite."""
        n, s, squares = self._delta(name)[:3]
        if n == 0 or not np.isfinite(s):
            return float('nan')
        return 0.0 if n == 1 else float(np.sqrt(max(squares / n - (s / n) ** 2, 0.0)))

    def reports(self, name: str) -> tuple[int, int]:
        """Return (number of reports of `name`, number of these reports with a value that is not finite)."""
        _, _, _, reports, bad = self._delta(name)
        return int(reports), int(bad)

    def as_dict(self) -> dict[str, dict[str, float]]:
        """{name: {num, mean, std}}."""
        return {name: {'num': self.num(name), 'mean': self.mean(name), 'std': self.std(name)} for name in self.names()}

    __getitem__ = mean

    def pending(self) -> dict[str, list[float]]:
        """Return this process's sums since the last update as plain numbers, for a snapshot. Changes nothing."""
        _fetch()
        return {name: [float(m) for m in moments] for name, moments in self._sums.items()}

    def restore(self, pending: dict[str, list[float]]) -> None:
        """Replace the sums since the last update with the result of `pending`."""
        _fetch()
        self._sums = {name: np.array(moments, dtype=np.float64) for name, moments in pending.items()}
        _names.update(dict.fromkeys(pending))

    def _add(self, name: str, moments: np.ndarray) -> None:
        if self._regex.fullmatch(name):
            self._sums[name] = self._sums.get(name, 0) + moments

    def _delta(self, name: str) -> np.ndarray:
        return self._deltas.get(name, np.zeros(MOMENTS))


def _fetch() -> None:
    """Sum the waiting values, with one copy from each device, and pass the sums to all collectors."""
    sums: dict[str, np.ndarray] = {}
    for device in {x.device for _, x in _waiting}:
        reports = [(name, x) for name, x in _waiting if x.device == device]
        values = torch.cat([x for _, x in reports]).cpu().numpy().astype(np.float64)
        counts = np.array([x.numel() for _, x in reports])
        starts = np.cumsum(counts) - counts
        with np.errstate(invalid='ignore', over='ignore'):
            totals, squares = (np.add.reduceat(v, starts) for v in (values, values * values))
        moments = np.stack([counts, totals, squares, np.ones(len(counts)), ~np.isfinite(totals)], axis=1)
        for (name, _), row in zip(reports, moments, strict=True):
            sums[name] = sums.get(name, 0) + row
    _waiting.clear()
    for name, row in sums.items():
        for collector in _collectors:
            collector._add(name, row)
