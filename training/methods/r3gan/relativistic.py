"""The relativistic pairing loss (Jolicoeur-Martineau 2018, arXiv 1807.00734; R3GAN, arXiv 2501.05441, eq. 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from torch_utils import training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import BOTH, Term


class GeneratorRelativistic(Term):
    """softplus(-(D(G(z)) - D(x))), for pairs with the same label. D(x) has no graph: this term trains neither D nor x."""

    net, name, needs, same_labels, relative = 'G', 'relativistic', BOTH, True, True
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return F.softplus(batch.real_logits - batch.fake_logits).squeeze(1)


class DiscriminatorRelativistic(Term):
    """softplus(-(D(x) - D(G(z)))), for pairs with the same label.

    D is defined only up to a constant, so ADA uses sign(D(T(x)) - mean D(T(G(z)))).
    """

    net, name, needs, same_labels, relative = 'D', 'relativistic', BOTH, True, True
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        real, fake = batch.real_logits, batch.fake_logits
        training_stats.report('Loss/signs/real', (real - fake.mean()).detach().sign())
        return F.softplus(fake - real).squeeze(1)
