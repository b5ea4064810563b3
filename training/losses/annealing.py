"""Cosine schedules for what is usually constant (as in R3GAN, Huang et al. 2024, arXiv 2501.05441, appendix)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from training.losses.phase import Phase

PENALTIES = ('r1', 'r2', 'r1_noise', 'r2_noise')  # names of terms that γ weights


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` over the first `kimg` thousand images: v₁ + (v₀ - v₁)(1 + cos πt/T) / 2; constant from then on."""

    start: float
    end: float
    kimg: float

    def at(self, cur_nimg: int) -> float:
        share = min(cur_nimg / (self.kimg * 1000), 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * share)) / 2


class Annealing:
    """Applies schedules to a run. They depend only on the images seen, so a resumed run continues them exactly.

    schedules: by name, keyword arguments of Cosine each. 'glr', 'dlr': learning rates, before the correction for lazy phases.
    'beta2': of Adam, likewise. 'gamma': weight of the gradient penalties. 'p': strength of augmentation. 'ema': half-life of the
    moving average in kimg. Values without a schedule stay unchanged.
    """

    def __init__(self, schedules: Mapping[str, Mapping[str, float]], phases: Sequence[Phase], pipe: nn.Module | None):
        self._cosines = {name: Cosine(**kwargs) for name, kwargs in schedules.items()}
        self._pipe = pipe
        self._groups = [(phase.net, group, group['lr'], group['betas']) for phase in _first_of_each(phases)
                        for group in phase.optimizer.param_groups]
        self._penalties = [(term, term.weight) for phase in phases for term in phase.terms if term.name in PENALTIES]

    def apply(self, cur_nimg: int) -> None:
        """Set everything that has a schedule to its value after `cur_nimg` images."""
        values = {name: cosine.at(cur_nimg) for name, cosine in self._cosines.items()}
        for net, group, lr, betas in self._groups:
            if (name := f'{net.lower()}lr') in values:
                group['lr'] = lr * values[name] / self._cosines[name].start
            if 'beta2' in values:  # the correction is a power of beta2
                power = math.log(betas[1]) / math.log(self._cosines['beta2'].start)
                group['betas'] = (betas[0], values['beta2'] ** power)
        for term, weight in self._penalties if 'gamma' in values else ():
            term.weight = weight * values['gamma'] / self._cosines['gamma'].start
        if 'p' in values:
            with torch.no_grad():
                self._pipe.p.fill_(values['p'])

    def ema_kimg(self, cur_nimg: int, default: float) -> float:
        """The half-life of the moving average."""
        return self._cosines['ema'].at(cur_nimg) if 'ema' in self._cosines else default


def _first_of_each(phases: Sequence[Phase]) -> list[Phase]:
    """One phase per network: they share its optimiser."""
    return list({phase.net: phase for phase in phases}.values())
