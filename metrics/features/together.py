"""Shared images of several metrics of one evaluation. They are generated, and pass the detector, only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from metrics.quality.names import Name, parse_name


class Captures(NamedTuple):
    """Captured statistics: mean and covariance; every feature."""

    mean_cov: bool
    every: bool


CAPTURES = {'fid': Captures(True, False), 'fd': Captures(True, False), 'kid': Captures(False, True), 'kd': Captures(False, True),
            'pr': Captures(False, True), 'dc': Captures(False, True), 'nn': Captures(False, True), 'is': Captures(False, True)}


class Together:
    """names: of all metrics of one network in its current state, or of one set of images. Do not use it for another network, or
    after a training step."""

    def __init__(self, names: Iterable[str] = ()):
        found = [name for name in map(parse_name, names) if name is not None]
        self._names = [name for name in found if name.family in CAPTURES and not name.by_domain]
        self._generated: dict[tuple, Any] = {}
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, called once for all metrics of the network."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def of_generated(self, detector: Any, num: int, captures: Captures) -> tuple[Captures, bool]:
        """What to capture of num generated images beside `captures`, and whether several metrics need it."""
        return _union(captures, [name for name in self._of(detector) if name.num == num])

    def of_reals(self, detector: Any, full: bool, count: int, total: int, captures: Captures) -> Captures:
        """What to capture of the first `count` of `total` real images. The total includes mirrored ones unless full."""
        return _union(captures, [name for name in self._of(detector) if name.family != 'is' and name.against_all == full
                                 and min(name.most_reals or total, total) == count])[0]

    def known(self, detector: Any, num: int) -> Any:
        """Statistics stored by `keep`, with everything that of_generated requested, or None."""
        return self._generated.get((detector.key, num))

    def keep(self, detector: Any, num: int, stats: Any) -> None:
        """Keep statistics of num generated images."""
        self._generated[detector.key, num] = stats

    def _of(self, detector: Any) -> list[Name]:
        return [name for name in self._names if (name.detector, name.resize) == (detector.name, detector.resize)]


def _union(captures: Captures, names: list[Name]) -> tuple[Captures, bool]:
    wishes = [captures, *(CAPTURES[name.family] for name in names)]
    return Captures(*map(any, zip(*wishes, strict=True))), len(names) > 1
