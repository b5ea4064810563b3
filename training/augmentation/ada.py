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
    """Keeps r_t = E[sign(D(real))], a measure of overfitting, at `target` by changing p of the pipe.

    Every `interval` iterations of `batch_size` images (over all processes), p moves up by a step if r_t is above the target, and
    down if it is below. p stays in [0, 1]. kimg: thousands of images in which p can go from 0 to 1.

    With several ranks, each has a controller. r_t covers the reports of all ranks, so p is the same on all. Raises ValueError if
    interval, batch_size or kimg is not positive.
    """

    def __init__(self, pipe: nn.Module, target: float, interval: int, batch_size: int, kimg: float):
        if min(interval, batch_size, kimg) <= 0:
            raise ValueError(f'interval, batch_size and kimg are positive, not {interval}, {batch_size}, {kimg}')
        self.pipe, self.target = pipe, target
        self.step = batch_size * interval / (kimg * 1000)
        self._signs = Collector(SIGNS, keep_previous=False)

    def update(self) -> None:
        """Adjust pipe.p by the reports since the last call. Call this every `interval` iterations.

        p stays unchanged without reports, or if one of them was not finite.
        """
        self._signs.update()
        r_t = self._signs.mean(SIGNS)
        if math.isfinite(r_t):
            self.pipe.p.add_(float(np.sign(r_t - self.target)) * self.step).clamp_(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """What all ranks collected since the last update, as plain values. p itself is in the pipe. All ranks must call this."""
        pending = self._signs.pending()
        sums = distributed.total(np.array(list(pending.values()), dtype=np.float64))
        return {'pending': {name: [float(m) for m in moments] for name, moments in zip(pending, sums, strict=True)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the state of `state_dict`. Later reports are dropped. The number of ranks may differ."""
        first = distributed.is_rank0()
        self._signs.restore({name: moments if first else [0.0] * len(moments) for name, moments in state['pending'].items()})
