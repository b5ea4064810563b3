"""What can happen to a run, drawn by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

WEIGHTS = {'kill': 5, 'terminate': 2, 'pause': 2, 'full disk': 2, 'read-only': 2, 'clock': 2, 'second run': 1, 'two at once': 1,
           'corrupt': 2}
LONGEST = 2.0  # seconds of a pause, a full disk or a read-only moment
HOURS = 5.0    # at most, that the clock is off


@dataclass(frozen=True)
class Fault:
    """kind: one of WEIGHTS. early: it comes while the run starts up. moment: 0..1, when in the start, or how many
    ticks later. target: 'launcher', 'one' process or 'all'. chance: 0..1, for what else is left to chance."""

    kind: str
    early: bool
    moment: float
    target: str
    chance: float
    seconds: float
    hours: float


def draw(rng: random.Random, count: int) -> list[Fault]:
    deck = [kind for kind, number in WEIGHTS.items() for _ in range(number)]
    kinds = [kind for _ in range(0, count, len(deck)) for kind in rng.sample(deck, len(deck))][:count]
    return [Fault(kind, early=rng.random() < 0.25, moment=rng.random(), target=rng.choice(['launcher', 'one', 'all']),
                  chance=rng.random(), seconds=0.2 + LONGEST * rng.random(), hours=rng.uniform(-HOURS, HOURS)) for kind in kinds]
