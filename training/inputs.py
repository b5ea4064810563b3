"""The input of one iteration: real images, latents, labels, and random numbers.

Random numbers are keyed by (seed, images seen, rank). Nothing that happens between two batches changes them.

Samples are dealt like cards: rank r of N holds the samples r, r + N, r + 2N, ... of a batch. Microbatches divide the samples of a
rank in the same way. The first halves of all parts together are therefore the first half of the batch. Groups of minibatch stddev
are dealt in the same way. They are the same for any number of parts if each part holds whole groups.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator
from typing import Any

import numpy as np
import torch

from dnnlib import signals
from dnnlib.util import EasyDict, UserError
from torch_utils import devices, distributed, misc, torchrun
from training.data import workers

START, ITERATION, GRID = range(3)  # what random numbers are for: part of the key that seeds them


class RandomInputs:
    """Latents and labels of generated images, batch by batch.

    c: random_seed and batch_size (of all ranks) are looked at. z_dim: width of latents.
    """

    def __init__(self, c: EasyDict, training_set: Any, z_dim: int, device: torch.device):
        self._seed, self._training_set, self._z_dim, self._device = c.random_seed, training_set, z_dim, device
        self._rows = c.batch_size // distributed.world_size()
        self._cur_nimg, self._rng = 0, np.random.default_rng(0)

    def begin(self, cur_nimg: int) -> None:
        """Begin the iteration that follows cur_nimg images: seed all generators."""
        own = [distributed.rank()] if distributed.world_size() > 1 else []
        self._cur_nimg, self._rng = cur_nimg, devices.seed_everything(self._seed, ITERATION, cur_nimg, *own)

    def draw(self) -> dict[str, torch.Tensor]:
        """z [N, z_dim] and c [N, label_dim] for the N samples of this rank in the next phase of the iteration."""
        z = torch.randn(self._rows, self._z_dim, device=self._device)
        return dict(z=z, c=devices.send(random_labels(self._training_set, self._rows, self._rng), self._device))


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


# --- Real images ---


def real_batches(c: EasyDict, training_set: Any, start_nimg: int,
                 device: torch.device) -> Generator[tuple[torch.Tensor, ...], None, None]:
    """Yield (images [N, C, H, W] in [-1, 1], labels [N, label_dim]) on the device, endlessly. Each rank gets its share of each
    batch of c.batch_size images: every `world_size`-th image."""
    sampler = misc.InfiniteSampler(training_set, distributed.rank(), distributed.world_size(), seed=c.random_seed,
                                   start=start_nimg)
    cores = max((os.cpu_count() or 1) // torchrun.num_local(), 1)
    config = {**c.data_loader_kwargs, 'num_workers': min(c.data_loader_kwargs['num_workers'], cores),
              'batch_size': c.batch_size // distributed.world_size()}
    loader = torch.utils.data.DataLoader(
        workers.Portable(training_set), sampler=sampler, pin_memory=devices.pins_memory(device), worker_init_fn=workers.begin,
        generator=torch.Generator(), multiprocessing_context=workers.start_method(device) if config['num_workers'] > 0 else None,
        **config)
    atexit.register(workers.end_all)
    with signals.held_back():  # until workers.begin, in processes that start here
        batches = iter(loader)
    try:
        for images, labels in batches:
            images = images.to(device, non_blocking=True).to(torch.float32) / 127.5 - 1
            yield images, labels.to(device, non_blocking=True)
    except UserError as err:  # from a worker process it comes with the worker's traceback: the last line is the message
        raise UserError(str(err).strip().splitlines()[-1].partition('UserError: ')[2] or str(err)) from None


def split_rounds(batch_gpu: int, **tensors: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Deal the rows of the tensors of one batch to rounds of batch_gpu rows, as the head of this file explains."""
    rounds = len(next(iter(tensors.values()))) // batch_gpu
    return [{name: t[i::rounds] for name, t in tensors.items()} for i in range(rounds)]
