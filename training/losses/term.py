"""The interface of a loss term."""

from __future__ import annotations

import torch
from torch import nn

from training.losses.batch import PhaseBatch

GENERATED, REAL = frozenset({'generated'}), frozenset({'real'})
BOTH = GENERATED | REAL


class Term(nn.Module):
    """One summand of a network's loss, as an unweighted value per sample.

    A subclass says what it needs by class attributes (or sets them in its constructor) and computes `forward`. Buffers hold its
    state between calls: they move with the device and are saved. Its value is reported as `Loss/<net>/<name>`.

    net          'G' or 'D', the network that it trains
    name         together with net, its key in the configuration: 'G/logistic'
    needs        the images that it uses: {'generated'}, {'real'}, both, or an empty set if it uses weights only. Terms with
                 the same needs share their forward passes and one graph. Generated and real images are separate passes, one
                 graph in memory at a time, unless a term of the phase needs both
    needs_grad   the images with respect to which it differentiates: a subset of `needs`
    needs_unmixed   it uses rows without style mixing: the first `batch.num_unmixed`
    float32      its value is a gradient through the shared images or logits, for which bfloat16 is too coarse. A term that
                 subtracts images of its own, or differentiates them twice, renders them with `batch.float32_kwargs`
    same_labels  it compares generated image i with real image i: both get the label of the real one
    recordable   `forward` does the same on the GPU each time: it makes no decision from numbers or random numbers, and keeps its
                 state in buffers that it changes in place. A phase is recorded as a CUDA graph only if all its terms say so
    relative     it defines D only up to a constant, so it reports ADA's signal, 'Loss/signs/real', itself
    """

    net: str
    name: str
    needs: frozenset[str] = GENERATED
    needs_grad: frozenset[str] = frozenset()
    needs_unmixed = False
    float32 = False
    same_labels = False
    recordable = False
    relative = False

    def __init__(self, weight: float = 1.0, interval: int | None = None):
        """weight: factor in the loss. interval: compute it only every N iterations, in a phase of its own, with the gradient
        scaled up by N in return (lazy regularisation, Karras et al. 2020, sec. 3.1); None: in every iteration."""
        super().__init__()
        self.weight, self.interval = float(weight), interval

    def num_rows(self, batch_size: int) -> int:
        """The number of rows that it uses of a microbatch of `batch_size`."""
        return batch_size

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        """The unweighted loss, [N] or a scalar."""
        raise NotImplementedError
