"""Random numbers of an iteration: what they depend on, and so what they do not depend on.

They are keyed by (seed, images seen, worker), so that nothing between two batches disturbs them. With --seed-per-sample=1 they
are keyed by the number of the sample in the batch of all workers instead: however the batch is divided between workers and
rounds, each image gets the same latent, label, noise, augmentation and style mixing.

Samples are dealt like cards: worker r of N holds the samples r, r + N, r + 2N, ... of a batch, and so do rounds with the samples
of a worker. Then the first halves of all parts are, together, the first half of the batch; and the groups of minibatch stddev,
which are dealt in the same way, are the same whatever the number of parts, as long as each holds whole groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from dnnlib.util import EasyDict
from torch_utils import devices, distributed

START, ITERATION, GRID, ROUND = range(4)  # what random numbers are for: part of the key that seeds them


class RandomInputs:
    """Latents and labels of generated images, batch by batch.

    c: random_seed, batch_size (of all workers) and seed_per_sample are looked at. z_dim: width of latents.
    """

    def __init__(self, c: EasyDict, training_set: Any, z_dim: int, device: torch.device):
        self._seed, self._per_sample = c.random_seed, bool(c.get('seed_per_sample'))
        self._training_set, self._z_dim, self._device = training_set, z_dim, device
        self._worker, self._workers = distributed.rank(), distributed.num_workers()
        self._rows = c.batch_size // self._workers
        self._cur_nimg, self._phase = 0, 0
        self._rng = np.random.default_rng(0)

    def begin(self, cur_nimg: int) -> None:
        """Begin the iteration after so many images: seed all generators."""
        self._cur_nimg, self._phase = cur_nimg, 0
        own = [self._worker] if self._workers > 1 and not self._per_sample else []
        self._rng = devices.seed_everything(self._seed, ITERATION, cur_nimg, *own)

    def draw(self) -> dict[str, torch.Tensor]:
        """z [N, z_dim] and c [N, label_dim] for the N samples of this worker in the next phase of the iteration."""
        if not self._per_sample:
            z = torch.randn(self._rows, self._z_dim, device=self._device)
            return dict(z=z, c=random_labels(self._training_set, self._rows, self._rng).to(self._device))
        self._phase += 1
        devices.seed_everything(self._seed, ITERATION, self._cur_nimg, self._phase)
        with PerSample(self._worker, self._workers):
            z = torch.randn(self._rows, self._z_dim, device=self._device)
        items = self._rng.integers(len(self._training_set), size=self._rows * self._workers)[self._worker::self._workers]
        return dict(z=z, c=labels_of(self._training_set, items).to(self._device))

    def in_round(self, index: int, rounds: int) -> contextlib.AbstractContextManager:
        """In which round number `index` of so many draws its random numbers."""
        if not self._per_sample:
            return contextlib.nullcontext()
        devices.seed_everything(self._seed, ROUND, self._cur_nimg, self._phase)
        return PerSample(index * self._workers + self._worker, rounds * self._workers)


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


def random_labels(training_set: Any, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Labels [count, label_dim] of random items: the empirical distribution."""
    if training_set.label_dim == 0:
        return torch.zeros([count, 0])
    return labels_of(training_set, rng.integers(len(training_set), size=count))


def labels_of(training_set: Any, items: np.ndarray) -> torch.Tensor:
    """Labels [N, label_dim] of the items of these numbers."""
    if training_set.label_dim == 0:
        return torch.zeros([len(items), 0])
    return torch.from_numpy(np.stack([training_set.get_label(i) for i in items]))
