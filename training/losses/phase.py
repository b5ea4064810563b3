"""A phase: the terms that update one network together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from dnnlib.util import construct_class_by_name
from torch_utils import distributed, training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import Term


class Phase:
    """Accumulate the gradients of some terms over the rounds of an iteration, average them over the workers, then step.

    name: `Gmain`, `Greg`, `Dmain`, `Dreg`. net: 'G' or 'D'. interval: it is due every so many iterations, and its
    gradient counts as many times. networks: {'G': ..., 'D': ...}; only networks[net] is trained.
    exact_second_order: compute what is differentiated twice in float32 (for bfloat16, in which it is also slow on CPUs).
    batch_kwargs: augment, style_mixing_prob.
    """

    def __init__(self, name: str, net: str, interval: int, terms: Sequence[Term], networks: dict[str, nn.Module],
                 optimizer: torch.optim.Optimizer, exact_second_order: bool = False, **batch_kwargs: Any):
        self.name, self.net, self.interval, self.terms = name, net, interval, list(terms)
        exactly = dict(force_fp32=True) if exact_second_order else {}
        usually = exactly if any(term.second_order for term in terms) else {}
        self.networks, self.optimizer = networks, optimizer
        # What follows the mean of a batch, linearly, is averaged as gradients are.
        self._running_means = [b for net in networks.values() for name, b in net.named_buffers() if name.endswith('w_avg')]
        self.batch_kwargs = dict(batch_kwargs, exactly=exactly, usually=usually)

    def run(self, rounds: Sequence[dict[str, torch.Tensor]],
            in_round: Callable[[int, int], AbstractContextManager] = lambda index, rounds: nullcontext()) -> None:
        """rounds: for each, z, c, real_images, real_c as in PhaseBatch. All rounds have equally many samples, in all workers.
        in_round: (index, number of rounds) -> a context for that round."""
        network = self.networks[self.net]
        self.optimizer.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        for i, inputs in enumerate(rounds):
            # The mean over rounds, and over workers, makes them compute what one large batch computes.
            with in_round(i, len(rounds)):
                self._accumulate(inputs, gain=self.interval / len(rounds))
        network.requires_grad_(False)
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        distributed.average([*grads, *self._running_means])
        self._clean(grads)
        self.optimizer.step()

    def _accumulate(self, inputs: dict[str, torch.Tensor], gain: float) -> None:
        size = inputs['z'].shape[0]
        rows = max(term.num_rows(size) for term in self.terms)
        inputs = {k: v[:rows] for k, v in inputs.items()}
        inputs['real_images'] = inputs['real_images'].detach().requires_grad_(any(t.needs_real_grad for t in self.terms))
        batch = PhaseBatch(**self.networks, **inputs, round_size=size, keep_unmixed=any(t.needs_unmixed for t in self.terms),
                           **self.batch_kwargs)

        totals = []
        for pass_ in ('generated', 'real'):  # the graph of the first is gone before the second is built
            terms = [term for term in self.terms if term.pass_ == pass_]
            if not terms:
                continue
            values = [training_stats.report(f'Loss/{term.net}/{term.name}', term(batch)) for term in terms]
            total = _weighted_sum([term.weight for term in terms], values)
            (total.mean() * gain).backward()
            totals.append(total.detach())
        lazy = self.terms[0].interval is not None
        training_stats.report(f'Loss/{self.net}/{"reg" if lazy else "loss"}', _weighted_sum([1.0] * len(totals), totals))

    def _clean(self, grads: Sequence[torch.Tensor]) -> None:
        """Replace NaN by 0 and infinities by ±1e5, and count the tensors where that was needed."""
        finite = torch.stack([g.sum() for g in grads]).isfinite()
        training_stats.report(f'Loss/{self.net}/nonfinite_grads', (~finite).sum())
        for g in grads:
            torch.nan_to_num(g, nan=0.0, posinf=1e5, neginf=-1e5, out=g)


def _weighted_sum(weights: Sequence[float], values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ w·v, per sample while all values have equally many samples, otherwise of their means."""
    if len({v.shape for v in values if v.ndim}) > 1:
        values = [v.mean() for v in values]
    return sum(w * v for w, v in zip(weights, values, strict=True))


def make_phases(terms: Sequence[Term], networks: dict[str, nn.Module], optimizer_kwargs: dict[str, dict],
                lazy_intervals: dict[str, int | None], **phase_kwargs: Any) -> list[Phase]:
    """Sort terms into phases, in the order in which they run: for each of G and D, first main, then lazy ones.

    networks, optimizer_kwargs (class_name, lr, betas, ...), lazy_intervals (None: no lazy regularisation): by 'G'
    and 'D'. One optimiser per network serves all its phases. phase_kwargs: to each Phase.
    """
    phases = []
    for net in ('G', 'D'):
        own = [term for term in terms if term.net == net]
        lazy = sorted({term.interval for term in own if term.interval is not None})
        optimizer = _lazy_optimizer(networks[net], lazy_intervals[net], **optimizer_kwargs[net])
        for interval in (None, *lazy):
            group = [term for term in own if term.interval == interval]
            name = f'{net}main' if interval is None else f'{net}reg' if len(lazy) == 1 else f'{net}reg{interval}'
            if lazy_intervals[net] is None:
                name = f'{net}both'
            if group:
                phases.append(Phase(name, net, interval or 1, group, networks, optimizer, **phase_kwargs))
    return phases


def _lazy_optimizer(network: nn.Module, interval: int | None, lr: float, betas: Sequence[float],
                    **kwargs: Any) -> torch.optim.Optimizer:
    """Scale learning rate and decay for the extra steps of lazy regularisation (Karras et al. 2020, appendix B)."""
    ratio = 1.0 if interval is None else interval / (interval + 1)
    return construct_class_by_name(network.parameters(), lr=lr * ratio, betas=tuple(b ** ratio for b in betas), **kwargs)
