"""Statistics of a run: report values anywhere, collect their mean and spread per tick.

Values are summed where they are (no device is waited for) and fetched when a Collector updates. Sums only ever grow;
a Collector remembers where it stood, so several of them, or several tests, don't disturb each other.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

_pending: dict[str, dict[torch.device, torch.Tensor]] = {}  # name -> device -> [count, sum, sum of squares]
_totals: dict[str, np.ndarray] = {}  # name -> the same in float64, since the start of the process


def report(name: str, value: Any) -> Any:
    """Count every element of `value` (tensor, array, list or number) under `name`; returns `value`.

    An empty value makes the name known without counting anything.
    """
    _totals.setdefault(name, np.zeros(3))
    x = torch.as_tensor(value).detach().to(torch.float32).flatten()
    if x.numel():
        moments = torch.stack([torch.ones_like(x).sum(), x.sum(), x.square().sum()])
        # A float32 counter is only as long-lived as one tick, where float64 does not exist.
        moments = moments if moments.device.type == 'mps' else moments.to(torch.float64)
        sums = _pending.setdefault(name, {})
        sums[x.device] = sums[x.device] + moments if x.device in sums else moments
    return value


def report0(name: str, value: Any) -> Any:
    """As `report`, but only on the first of several processes."""
    rank = torch.distributed.get_rank() if torch.distributed.is_available() and torch.distributed.is_initialized() else 0
    report(name, value if rank == 0 else [])
    return value


class Collector:
    """What was reported between its last two updates, for the names that `regex` matches in full.

    keep_previous: a name without new values keeps its previous statistics instead of becoming undefined.
    """

    def __init__(self, regex: str = '.*', keep_previous: bool = True):
        self._regex = re.compile(regex)
        self._keep_previous = keep_previous
        self._seen: dict[str, np.ndarray] = {}
        self._deltas: dict[str, np.ndarray] = {}
        self.update()
        self._deltas.clear()

    def names(self) -> list[str]:
        """All names that match so far, in the order of their first report."""
        return [name for name in _totals if self._regex.fullmatch(name)]

    def update(self) -> None:
        """Fetch what was reported since the last update."""
        _fetch()
        for name in self.names():
            delta = _totals[name] - self._seen.get(name, 0)
            self._seen[name] = _totals[name].copy()
            if delta[0] > 0 or not self._keep_previous:
                self._deltas[name] = delta

    def num(self, name: str) -> int:
        """Number of values behind the statistics of `name`."""
        return int(self._delta(name)[0])

    def mean(self, name: str) -> float:
        """Mean; NaN without values."""
        n, s, _ = self._delta(name)
        return float(s / n) if n else float('nan')

    def std(self, name: str) -> float:
        """Population standard deviation; 0 for one value, NaN without values or if they are not finite."""
        n, s, squares = self._delta(name)
        if n == 0 or not np.isfinite(s):
            return float('nan')
        return 0.0 if n == 1 else float(np.sqrt(max(squares / n - (s / n) ** 2, 0.0)))

    def as_dict(self) -> dict[str, dict[str, float]]:
        """{name: {num, mean, std}}."""
        return {name: {'num': self.num(name), 'mean': self.mean(name), 'std': self.std(name)} for name in self.names()}

    __getitem__ = mean

    def _delta(self, name: str) -> np.ndarray:
        return self._deltas.get(name, np.zeros(3))


def _fetch() -> None:
    for name, sums in _pending.items():
        for moments in sums.values():
            _totals[name] += moments.cpu().to(torch.float64).numpy()
    _pending.clear()
