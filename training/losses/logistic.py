"""The non-saturating logistic loss (Goodfellow et al. 2014)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from training.losses.batch import PhaseBatch
from training.losses.term import Term


class GeneratorLogistic(Term):
    """softplus(-D(G(z)))."""

    net, name, pass_ = 'G', 'logistic', 'generated'

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(-batch.fake_logits).squeeze(1)


class DiscriminatorLogisticFake(Term):
    """softplus(D(G(z)))."""

    net, name, pass_ = 'D', 'logistic_fake', 'generated'

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(batch.fake_logits).squeeze(1)


class DiscriminatorLogisticReal(Term):
    """softplus(-D(x))."""

    net, name, pass_ = 'D', 'logistic_real', 'real'

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(-batch.real_logits).squeeze(1)
