"""The interface of a loss term."""

from __future__ import annotations

import torch
from torch import nn

from training.losses.batch import PhaseBatch


class Term(nn.Module):
    """One summand of a network's loss, as an unweighted value per sample.

    A subclass sets the class attributes and computes `forward`. What it must remember between calls is a buffer, so
    that it moves with the device and is saved. Its value is reported as `Loss/<net>/<name>`.

    net: 'G' or 'D', the network that it trains. name: the key in the registry. pass_: 'generated' or 'real', the
    images that it looks at; terms of one pass share one graph, and the passes of a phase run one after the other, so
    that only one graph is in memory. needs_real_grad: it differentiates with respect to batch.real_images.
    second_order: its value is a gradient through the shared images or logits, which bfloat16 is too coarse for.
    """

    net: str
    name: str
    pass_: str
    needs_real_grad = False
    needs_unmixed = False
    second_order = False

    def __init__(self, weight: float = 1.0, interval: int | None = None):
        """weight: factor in the loss. interval: compute it only every so many iterations, in a phase of its own, with
        the gradient scaled up in return (lazy regularisation, Karras et al. 2020, sec. 3.1); None for every one."""
        super().__init__()
        self.weight, self.interval = float(weight), interval

    def num_rows(self, batch_size: int) -> int:
        """How many rows of a round of `batch_size` it looks at."""
        return batch_size

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        """The unweighted loss, [N] or a scalar."""
        raise NotImplementedError
