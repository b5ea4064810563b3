"""Path length regularisation (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", eq. 4)."""

from __future__ import annotations

import math

import torch

from torch_utils import distributed, training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import Term


class PathLength(Term):
    """(ℓ - a)² with ℓ = |Jᵀy|, J = ∂g/∂w, y ~ N(0, I) / √(HW), and a the running mean of ℓ.

    decay: how fast a follows ℓ. batch_shrink: use 1/N of the samples, at least one.
    """

    net, name, float32 = 'G', 'path_length', True
    recordable = True
    pl_mean: torch.Tensor

    def __init__(self, weight: float = 2.0, interval: int | None = 4, decay: float = 0.01, batch_shrink: int = 2):
        super().__init__(weight, interval)
        self.decay, self.batch_shrink = decay, batch_shrink
        self.register_buffer('pl_mean', torch.zeros([]))

    def num_rows(self, batch_size: int) -> int:
        return max(batch_size // self.batch_shrink, 1)

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        images = batch.images[:self.num_rows(batch.round_size)]
        y = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
        gradient = torch.autograd.grad((images * y).sum(), batch.ws, create_graph=True)[0][:images.shape[0]]
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        # As published, the running mean keeps its graph within a step and is detached between steps. Ours averages over all
        # ranks, in the gradient too.
        pl_mean = self.pl_mean.lerp(distributed.mean(lengths.mean()), self.decay)
        self.pl_mean.copy_(pl_mean.detach())
        penalty = (lengths - pl_mean).square()
        training_stats.report('Loss/pl_penalty', penalty)
        return penalty
