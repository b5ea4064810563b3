"""The non-saturating logistic loss (Goodfellow et al. 2014)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from training.losses.batch import PhaseBatch
from training.losses.term import REAL, Term


class GeneratorLogistic(Term):
    """softplus(-D(G(z)))."""

    net, name = 'G', 'logistic'
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(-batch.fake_logits).squeeze(1)


class DiscriminatorLogisticFake(Term):
    """softplus(D(G(z)))."""

    net, name = 'D', 'logistic_fake'
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(batch.fake_logits).squeeze(1)


class DiscriminatorLogisticReal(Term):
    """softplus(-D(x))."""

    net, name, needs = 'D', 'logistic_real', REAL
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(-batch.real_logits).squeeze(1)
