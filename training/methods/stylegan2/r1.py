"""R1: zero-centred gradient penalty on real images (Mescheder et al. 2018, eq. 9)."""

from __future__ import annotations

import torch

from torch_utils import training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import REAL, Term


class R1(Term):
    """|∂D(T(x)) / ∂x|² per real image x, before augmentation T. With weight γ/2 this is the paper's penalty."""

    net, name, needs, needs_grad, float32 = 'D', 'r1', REAL, REAL, True
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        gradient = torch.autograd.grad(batch.real_logits.sum(), batch.real_images, create_graph=True)[0]
        penalty = gradient.square().sum(dim=(1, 2, 3))
        training_stats.report('Loss/r1_penalty', penalty)
        return penalty
