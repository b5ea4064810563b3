"""The hinge loss (Lim & Ye 2017, arXiv 1705.02894)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from training.losses.batch import PhaseBatch
from training.losses.term import REAL, Term


class GeneratorHinge(Term):
    """-D(G(z))."""

    net, name = 'G', 'hinge'
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return -batch.fake_logits.squeeze(1)


class DiscriminatorHingeFake(Term):
    """max(0, 1 + D(G(z)))."""

    net, name = 'D', 'hinge_fake'
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.relu(1 + batch.fake_logits).squeeze(1)


class DiscriminatorHingeReal(Term):
    """max(0, 1 - D(x))."""

    net, name, needs = 'D', 'hinge_real', REAL
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.relu(1 - batch.real_logits).squeeze(1)
