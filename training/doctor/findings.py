"""The results of checks, and their measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

OK, WARN, MISSING = 'ok', 'warn', 'missing'
BUDGET = 0.5  # seconds of one measurement


@dataclass
class Finding:
    """One line of the report. status: OK, WARN (works, but not as well as it could) or MISSING (does not work).

    text: what was found. remedy: what to do about it, '' for nothing. measured: numbers, with the unit in their names.
    essential: training is impossible if it is missing.
    """

    name: str
    status: str
    text: str
    remedy: str = ''
    measured: dict[str, float] = field(default_factory=dict)
    essential: bool = False


class Place(NamedTuple):
    """The input of checks. outdir: where runs would go."""

    outdir: Path


class Check(NamedTuple):
    """A function that checks one subject. essential: training is impossible if it fails completely."""

    name: str
    look: Callable[[Place], Iterable[Finding]]
    essential: bool = False


def seconds(work: Callable[[], object], budget: float = BUDGET) -> float:
    """The shortest time of `work`, repeated for about `budget` seconds after a warm-up call."""
    work()
    best, end = float('inf'), time.perf_counter() + budget
    while True:
        begun = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - begun)
        if now > end:
            return best


def seen(name: str, text: str, measured: dict[str, float], problem: str = '', remedy: str = '') -> Finding:
    """An OK finding, or a warning if there is a problem. The problem is added to the text."""
    return Finding(name, WARN if problem else OK, f'{text}; {problem}' if problem else text, remedy if problem else '', measured)
