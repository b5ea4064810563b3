"""Minimal change across domains: few style coordinates that matter (i-StyleGAN, Xie et al., ICLR 2023)."""

from __future__ import annotations

import torch

from training.losses.batch import PhaseBatch
from training.losses.term import Term


class FlowSparsity(Term):
    """Mean |α| over the style coordinates. α is their importance in the mapping network."""

    net, name, needs = 'G', 'sparse', frozenset()
    recordable = True

    def num_rows(self, batch_size: int) -> int:
        return 0  # the term depends on weights only

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return batch.G.mapping.sparsity()
