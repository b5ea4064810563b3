"""Random numbers that belong to samples, so that a batch is the same however ranks and rounds divide it.

Training keys them by rank: a run on two ranks sees other latents than a run on one. Here they are the same, so that a test can
compare the gradients of both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import training.training_loop as loop
from torch_utils import devices, distributed
from training.inputs import ITERATION, RandomInputs, labels_of
from training.losses import Phase

ROUND = 3  # beside ITERATION, part of the key that seeds random numbers


class PerSample(TorchFunctionMode):
    """Within it, random tensors are the rows part, part + parts, ... of tensors with `parts` times as many rows.

    With generators in the same state, all parts together have drawn what one of them would draw alone for all samples. Rows are
    samples; tensors without dimensions are the same for all parts.
    """

    def __init__(self, part: int, parts: int):
        super().__init__()
        self._part, self._parts = part, parts

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.randn_like, torch.rand_like):
            x, *args = args
            kwargs = {'dtype': x.dtype, 'device': x.device, **kwargs}
            func, args = (torch.randn if func is torch.randn_like else torch.rand), [x.shape, *args]
        if func in (torch.randn, torch.rand):
            bounds, size = [], args[0] if len(args) == 1 and not isinstance(args[0], int) else args
        elif func is torch.randint:
            *bounds, size = args
        else:
            return func(*args, **kwargs)
        if len(size) == 0:
            return func(*bounds, [], **kwargs)
        return func(*bounds, [size[0] * self._parts, *size[1:]], **kwargs)[self._part::self._parts]


class InputsPerSample(RandomInputs):
    """RandomInputs whose latents and labels belong to samples; in_round() does the same for all else that a round draws."""

    def draw(self) -> dict[str, torch.Tensor]:
        rank, world_size = distributed.rank(), distributed.world_size()
        self._phase = getattr(self, '_phase', 0) + 1
        rng = devices.seed_everything(self._seed, ITERATION, self._cur_nimg, self._phase)
        with PerSample(rank, world_size):
            z = torch.randn(self._rows, self._z_dim, device=self._device)
        items = rng.integers(len(self._training_set), size=self._rows * world_size)[rank::world_size]
        return dict(z=z, c=labels_of(self._training_set, items).to(self._device))

    def in_round(self, index: int, rounds: int) -> PerSample:
        devices.seed_everything(self._seed, ROUND, self._cur_nimg, self._phase)
        return PerSample(index * distributed.world_size() + distributed.rank(), rounds * distributed.world_size())


@contextlib.contextmanager
def training_per_sample() -> Iterator[None]:
    """Within it, the training loop of this process draws per sample."""
    made, done = [], []
    run, accumulate = Phase.run, Phase._accumulate

    def make(*args: Any) -> InputsPerSample:
        made.append(InputsPerSample(*args))
        return made[-1]

    def run_per_sample(phase: Phase, rounds: list) -> None:
        done[:] = [0, len(rounds)]
        run(phase, rounds)

    def accumulate_per_sample(phase: Phase, *args: Any, **kwargs: Any) -> None:
        with made[-1].in_round(*done):
            accumulate(phase, *args, **kwargs)
        done[0] += 1

    loop.RandomInputs, Phase.run, Phase._accumulate = make, run_per_sample, accumulate_per_sample
    try:
        yield
    finally:
        loop.RandomInputs, Phase.run, Phase._accumulate = RandomInputs, run, accumulate
