"""Adaptive discriminator augmentation: how strong it is (Karras et al. 2020, "Training Generative Adversarial Networks
with Limited Data", section 3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from torch_utils import distributed
from torch_utils.training_stats import Collector

SIGNS = 'Loss/signs/real'  # what D's loss reports: sign(D(x)) of the real images


class AdaController:
    """Keeps r_t = E[sign(D(real))], a measure of overfitting, at `target`, by way of the pipe's p.

    Every `interval` iterations of `batch_size` images (over all processes), p moves by a step up where r_t is above the
    target and down where it is below; within [0, 1]. kimg: thousands of images in which p could go from 0 to 1.

    Where several processes train, each has a controller: r_t is over what all of them reported, p is the same
    everywhere. Raises ValueError if interval, batch_size or kimg is not positive.
    """

    def __init__(self, pipe: nn.Module, target: float, interval: int, batch_size: int, kimg: float):
        if min(interval, batch_size, kimg) <= 0:
            raise ValueError(f'interval, batch_size and kimg are positive, not {interval}, {batch_size}, {kimg}')
        self.pipe, self.target = pipe, target
        self.step = batch_size * interval / (kimg * 1000)
        self._signs = Collector(SIGNS, keep_previous=False)

    def update(self) -> None:
        """Adjust pipe.p by what was reported since the last call. To be called every `interval` iterations.

        Without reports, or if one of them was not finite, p stays as it is.
        """
        self._signs.update()
        r_t = self._signs.mean(SIGNS)
        if math.isfinite(r_t):
            self.pipe.p.add_(float(np.sign(r_t - self.target)) * self.step).clamp_(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """What all processes collected since the last update: plain values. p itself is in the pipe. All must call it."""
        pending = self._signs.pending()
        sums = distributed.total(np.array(list(pending.values()), dtype=np.float64))
        return {'pending': {name: [float(m) for m in moments] for name, moments in zip(pending, sums, strict=True)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken; what was collected since then is forgotten. Any number of processes can."""
        first = distributed.is_rank0()
        self._signs.restore({name: moments if first else [0.0] * len(moments) for name, moments in state['pending'].items()})
