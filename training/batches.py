"""Batches of real images and their labels, in the order of the sampler."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import torch

from dnnlib.util import EasyDict, UserError
from torch_utils import devices, distributed, misc, torchrun


def real_batches(c: EasyDict, training_set: Any, start_nimg: int, device: torch.device) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield (images [N, C, H, W] in [-1, 1], labels [N, label_dim]) on the device for ever: of each batch of c.batch_size images,
    this worker's share, which is every so manieth one."""
    sampler = misc.InfiniteSampler(training_set, distributed.rank(), distributed.num_workers(), seed=c.random_seed,
                                   start=start_nimg)
    cores = max((os.cpu_count() or 1) // torchrun.num_local(), 1)
    config = {**c.data_loader_kwargs, 'num_workers': min(c.data_loader_kwargs['num_workers'], cores),
              'batch_size': c.batch_size // distributed.num_workers()}
    loader = torch.utils.data.DataLoader(
        training_set, sampler=sampler, pin_memory=devices.pins_memory(device), worker_init_fn=set_worker_signals,
        generator=torch.Generator(), multiprocessing_context=start_method() if config['num_workers'] > 0 else None, **config)
    atexit.register(end_workers)
    try:
        for images, labels in loader:
            images = images.to(device, non_blocking=True).to(torch.float32) / 127.5 - 1
            yield images, labels.to(device, non_blocking=True)
    except UserError as err:  # from a worker process it comes with the worker's traceback: the last line is the message
        raise UserError(str(err).strip().splitlines()[-1].partition('UserError: ')[2] or str(err)) from None


def start_method() -> str | None:
    """How the data loader's workers start; None for the default. Forked ones notice when their parent is killed; those of a
    fork server, the default within a process that came from one, would stay for ever."""
    return 'fork' if sys.platform == 'linux' else None


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


def split_rounds(batch_gpu: int, **tensors: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Deal the rows of tensors of one batch to rounds of batch_gpu rows; training.random_inputs says why not in one piece."""
    rounds = len(next(iter(tensors.values()))) // batch_gpu
    return [{name: t[i::rounds] for name, t in tensors.items()} for i in range(rounds)]
