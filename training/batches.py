"""Batches of a dataset: real images and labels in the order of the sampler, and labels for generated images."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from dnnlib.util import EasyDict, UserError
from torch_utils import devices, misc


def real_batches(c: EasyDict, training_set: Any, start_nimg: int, device: torch.device) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield (images [B, C, H, W] in [-1, 1], labels [B, label_dim]) on the device for ever, B = c.batch_size."""
    sampler = misc.InfiniteSampler(training_set, seed=c.random_seed, start=start_nimg)
    config = {**c.data_loader_kwargs, 'num_workers': min(c.data_loader_kwargs['num_workers'], os.cpu_count() or 1)}
    loader = torch.utils.data.DataLoader(
        training_set, sampler=sampler, batch_size=c.batch_size, pin_memory=devices.pins_memory(device),
        worker_init_fn=set_worker_signals, generator=torch.Generator(), **config)
    atexit.register(end_workers)
    try:
        for images, labels in loader:
            images = images.to(device, non_blocking=True).to(torch.float32) / 127.5 - 1
            yield images, labels.to(device, non_blocking=True)
    except UserError as err:  # from a worker process it comes with the worker's traceback: the last line is the message
        raise UserError(str(err).strip().splitlines()[-1].partition('UserError: ')[2] or str(err)) from None


def set_worker_signals(worker_id: int) -> None:
    """Ctrl-C, and SIGTERM to a process group, reach the data loader's workers too: they leave it to the main process, which
    still needs them until it has done its step. A worker that is told to end and yet is there ten minutes later, ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(600))


def end_workers() -> None:
    """At the end of the program: multiprocessing would wait for workers that it tells to end by a signal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch takes the end of a worker for an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def random_labels(training_set: Any, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Labels [count, label_dim] of random items: the empirical distribution."""
    if training_set.label_dim == 0:
        return torch.zeros([count, 0])
    return torch.from_numpy(np.stack([training_set.get_label(i) for i in rng.integers(len(training_set), size=count)]))


def split_rounds(batch_gpu: int, **tensors: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Cut tensors of one batch into rounds of batch_gpu rows."""
    parts = zip(*(t.split(batch_gpu) for t in tensors.values()), strict=True)
    return [dict(zip(tensors, part, strict=True)) for part in parts]
