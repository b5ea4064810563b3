"""A phase: the terms that update one network together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

import torch
from torch import nn

from dnnlib.plugins import load_object
from torch_utils import distributed, multi_tensor, optimizers, training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import Term


class Phase:
    """Accumulate the gradients of some terms over the rounds of an iteration, average them over the ranks, then step.

    name: `Gmain`, `Greg`, `Dmain`, `Dreg`. net: 'G' or 'D'.
    interval: the phase runs every N iterations, and its gradient is scaled up by N.
    networks: {'G': ..., 'D': ...}; only networks[net] is trained.
    exact_second_order: compute shared images and logits in float32 if a term differentiates them twice. This is for bfloat16,
    which is too coarse there, and slow on CPUs. With float16 they stay in float16, as published. Images that a term renders to
    subtract or differentiate them twice are always in float32.
    signs: report the signs of D's logits of real images. batch_kwargs: augment, style_mixing_prob.
    """

    def __init__(self, name: str, net: str, interval: int, terms: Sequence[Term], networks: dict[str, Any],
                 optimizer: torch.optim.Optimizer, exact_second_order: bool = False, signs: bool = True,
                 **batch_kwargs: Any):
        self.name, self.net, self.interval, self.terms = name, net, interval, list(terms)
        float32_kwargs = dict(force_fp32=True)
        shared_kwargs = float32_kwargs if exact_second_order and any(term.float32 for term in terms) else {}
        self.groups = groups_of(self.terms)
        self.networks, self.optimizer = networks, optimizer
        # Buffers that are linear in the mean of a batch are averaged over the ranks, like gradients.
        self._running_means = [b for net in networks.values() for name, b in net.named_buffers() if name.endswith('w_avg')]
        # In G's phases, D's logits of real images are only compared with, so they are not reported.
        self.batch_kwargs = dict(batch_kwargs, float32_kwargs=float32_kwargs, shared_kwargs=shared_kwargs, reports=net == 'D',
                                 signs=signs, keep_unmixed=any(term.needs_unmixed for term in terms),
                                 generated_grad=net == 'D' and any('generated' in term.needs_grad for term in terms))

    def run(self, rounds: Sequence[dict[str, torch.Tensor]]) -> None:
        """rounds: for each, z, c, real_images, real_c as in PhaseBatch. All rounds of all ranks have the same number of
        samples."""
        network = self.networks[self.net]
        self.optimizer.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        for inputs in rounds:
            self._accumulate(inputs)
        network.requires_grad_(False)
        # As published: parameters without a gradient get zeros, so Adam's moments decay in each step.
        missing = [p for p in network.parameters() if p.grad is None]
        for p, zeros in zip(missing, multi_tensor.zeros_like(missing), strict=True):
            p.grad = zeros
        grads = [p.grad for p in network.parameters()]
        # The mean over rounds and ranks equals one large batch. It is taken of the gradients, which are float32. Dividing the
        # loss instead would make small float16 gradients underflow.
        if len(rounds) > 1:
            torch._foreach_div_(grads, len(rounds))
        distributed.average([*grads, *self._running_means])
        self._clean(grads)
        self.optimizer.step()

    def _accumulate(self, inputs: dict[str, Any]) -> None:
        size = inputs['z'].shape[0]
        rows = max(term.num_rows(size) for term in self.terms)
        inputs = {k: v[:rows] for k, v in inputs.items()}
        inputs['real_images'] = inputs['real_images'].detach().requires_grad_(any('real' in t.needs_grad for t in self.terms))
        if any(term.same_labels for term in self.terms):
            inputs['c'] = inputs['real_c']
        batch = PhaseBatch(**self.networks, **inputs, round_size=size, **self.batch_kwargs)

        totals = []
        for terms in self.groups:  # the first graph is freed before the second is built
            values = [training_stats.report(f'Loss/{term.net}/{term.name}', term(batch)) for term in terms]
            total = _weighted_sum([term.weight for term in terms], values)
            (total.mean() * self.interval).backward()
            totals.append(total.detach())
        lazy = self.terms[0].interval is not None
        training_stats.report(f'Loss/{self.net}/{"reg" if lazy else "loss"}', _weighted_sum([1.0] * len(totals), totals))

    def _clean(self, grads: Sequence[torch.Tensor]) -> None:
        """Replace NaN by 0 and infinities by ±1e5, and report the number of tensors that had any."""
        training_stats.report(f'Loss/{self.net}/nonfinite_grads', multi_tensor.replace_nonfinite(grads, 1e5))


def groups_of(terms: Sequence[Term]) -> list[list[Term]]:
    """Terms that share a backward pass: first those of generated images and of weights, then those of real images. If a term
    needs both kinds of images in one graph, all terms share one pass."""
    if any(len(term.needs) > 1 for term in terms):
        return [list(terms)]
    groups = [[term for term in terms if 'real' not in term.needs], [term for term in terms if 'real' in term.needs]]
    return [group for group in groups if group]


def _weighted_sum(weights: Sequence[float], values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Σ w·v: per sample if all values have the same number of samples, otherwise of their means."""
    if len({v.shape for v in values if v.ndim}) > 1:
        values = [v.mean() for v in values]
    return cast(torch.Tensor, sum(w * v for w, v in zip(weights, values, strict=True)))


def make_phases(terms: Sequence[Term], networks: dict[str, nn.Module], optimizer_kwargs: dict[str, dict],
                lazy_intervals: dict[str, int | None], make: Callable[..., Phase] = Phase, **phase_kwargs: Any) -> list[Phase]:
    """Sort terms into phases, in the order in which they run: for each of G and D, first main, then lazy ones.

    networks, optimizer_kwargs (class_name, lr, betas, ...), lazy_intervals (None: no lazy regularisation): by 'G'
    and 'D'. One optimiser per network serves all its phases. It is corrected for each lazy interval of its terms, or for that of
    lazy_intervals if no term is lazy, as published. make: Phase or a subclass. phase_kwargs: to each phase.
    """
    phases = []
    signs = not any(term.relative for term in terms)
    for net in ('G', 'D'):
        own = [term for term in terms if term.net == net]
        lazy = sorted({term.interval for term in own if term.interval is not None})
        configured = [] if lazy_intervals[net] is None else [lazy_intervals[net]]
        optimizer = _lazy_optimizer(networks[net], lazy or configured, **optimizer_kwargs[net])
        for interval in (None, *lazy):
            group = [term for term in own if term.interval == interval]
            name = f'{net}main' if interval is None else f'{net}reg' if len(lazy) == 1 else f'{net}reg{interval}'
            if lazy_intervals[net] is None:
                name = f'{net}both'
            if group:
                phases.append(make(name, net, interval or 1, group, networks, optimizer, signs=signs, **phase_kwargs))
    return phases


def _lazy_optimizer(network: nn.Module, intervals: Sequence[int], class_name: str, lr: float, betas: Sequence[float],
                    **kwargs: Any) -> torch.optim.Optimizer:
    """Scale learning rate and decay for the extra steps of lazy regularisation (Karras et al. 2020, appendix B): a phase every
    N iterations adds 1/N steps to each iteration."""
    ratio = float(1 / (1 + sum(Fraction(1, interval) for interval in intervals)))
    optimizer_class = optimizers.without_compiler(load_object(class_name))
    return optimizer_class(network.parameters(), lr=lr * ratio, betas=tuple(b ** ratio for b in betas), **kwargs)
