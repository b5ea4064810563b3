"""Phases that a GPU repeats from a recording.

A phase of a small network launches thousands of short kernels. Python needs ten times as long to launch them as the GPU to run
them. A CUDA graph launches all of them at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torch_utils import cuda_graphs, devices, distributed, training_stats
from training.losses.batch import draw_crossover
from training.losses.phase import Phase
from training.losses.term import Term
from training.networks import Discriminator, Generator

REHEARSALS = 3  # runs before the recording: libraries choose algorithms, kernels are loaded, Adam makes its state
CROSSOVERS = 2  # style mixing at most this often in a round


def kind_of_phase(wanted: bool, networks: dict[str, nn.Module], terms: Sequence[Term], augment: Any,
                  annealed: bool) -> tuple[Callable[..., Phase], str]:
    """What makes the phases of a run, and whether they are recorded, in words. wanted: record if possible."""
    why = obstacle(networks, terms, augment, annealed) if wanted else '--cuda-graphs=0'
    if why is not None:
        return Phase, f'no ({why})'
    return functools.partial(RecordedPhase, memory=cuda_graphs.shared_memory()), 'yes'


def obstacle(networks: dict[str, nn.Module], terms: Sequence[Term], augment: Any, annealed: bool) -> str | None:
    """Why phases cannot be recorded; None if they can."""
    device = next(networks['G'].parameters()).device
    if not cuda_graphs.works_on(device):
        return f'not on {device.type}'
    if distributed.world_size() > 1:
        return 'only with one GPU'
    if augment is not None:
        return 'only with --aug=noaug, because augmentation changes the shapes of tensors'
    if annealed:
        return 'only without --anneal, because a recording cannot change numbers'
    own = [term for term in terms if not term.recordable]
    if own:
        return f'{own[0].net}/{own[0].name} does not declare itself recordable'
    if (type(networks['G']), type(networks['D'])) != (Generator, Discriminator):
        return 'only with the networks of this project'
    return None


class RecordedPhase(Phase):
    """A phase whose `run` is executed a few times, then recorded, then repeated.

    In `rounds`, all shapes stay the same from run to run. Results are those of a Phase up to rounding, with other crossover
    points of style mixing. memory: shared with the other phases of the run, from cuda_graphs.shared_memory.
    """

    def __init__(self, *args: Any, memory: Any = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for group in self.optimizer.param_groups:
            group['capturable'] = True  # Adam counts its steps on the GPU
        self._device = next(self.networks['G'].parameters()).device
        self._memory, self._rehearsals = memory, 0
        self._recording: cuda_graphs.Recording | None = None
        self._inputs: list[dict[str, torch.Tensor]] = []
        self._grads: list[torch.Tensor | None] = []  # kept, or another recording would use their memory
        self._crossovers = torch.zeros(0, dtype=torch.int64, device=self._device)
        self._reports: list[tuple[str, int]] = []  # names and sizes of the parts of _reported
        self._reported = torch.zeros(0, device=self._device)

    def run(self, rounds: Sequence[dict[str, torch.Tensor]]) -> None:
        """As in Phase."""
        self._draw_crossovers(CROSSOVERS * len(rounds))
        if self._recording is None and self._rehearsals < REHEARSALS:
            self._rehearsals += 1
            with cuda_graphs.Recording.rehearsal():
                super().run(rounds)
            return
        if self._recording is None:
            self._record(rounds)
        assert self._recording is not None
        torch._foreach_copy_(_tensors(self._inputs), _tensors(rounds))
        self._recording.repeat()
        for parameter, grad in zip(self.networks[self.net].parameters(), self._grads, strict=True):
            parameter.grad = grad
        reported = self._reported.clone().split([size for _, size in self._reports])
        training_stats.count((name, values) for (name, _), values in zip(self._reports, reported, strict=True))

    def _record(self, rounds: Sequence[dict[str, torch.Tensor]]) -> None:
        self._inputs = [{name: t.clone() for name, t in inputs.items()} for inputs in rounds]
        self._recording = cuda_graphs.Recording(self._memory)
        with training_stats.recorded() as reports, self._recording.record():
            super().run(self._inputs)
            self._reported = torch.cat([values for _, values in reports])
        self._grads = [parameter.grad for parameter in self.networks[self.net].parameters()]
        self._reports = [(name, len(values)) for name, values in reports]

    def _draw_crossovers(self, count: int) -> None:
        """Draw the crossover points of one run. A recording reads them from the same memory each time."""
        num_ws = self.networks['G'].num_ws
        points = [draw_crossover(num_ws, self.batch_kwargs.get('style_mixing_prob', 0.0)) for _ in range(count)]
        drawn = devices.send(torch.tensor(points), self._device)
        if len(self._crossovers) == count:
            self._crossovers.copy_(drawn)
        else:
            self._crossovers = drawn
        self.batch_kwargs['crossovers'] = iter(self._crossovers.unbind())


def _tensors(rounds: Sequence[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [t for inputs in rounds for t in inputs.values()]
