"""Working together with other processes: joining them, and what they tell each other.

A program that calls `launch` (torch_utils.launching), or that torchrun started, becomes one of several workers in
`joined()`; torch.distributed's default group is there within it. All functions also work in a process that is alone.
Every function but rank, world_size and is_rank0 is a collective call: all workers make the same ones in the same order.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed as dist

from dnnlib.util import OptionError, UserError
from torch_utils import failures, meeting, torchrun

T = TypeVar('T')
TIMEOUT = 'STYLEGAN_TIMEOUT'  # environment variable: seconds for which workers wait for each other
DEFAULT_TIMEOUT = 600


# --- Who is who ---


def rank() -> int:
    """The number of this worker, from 0."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """How many there are."""
    return dist.get_world_size() if _grouped() else 1


def is_rank0() -> bool:
    """Whether this is the worker that prints and writes files."""
    return rank() == 0


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


# --- Joining ---


@contextlib.contextmanager
def joined(device_type: str) -> Iterator[None]:
    """Be a worker of the group that the environment describes: that of torchrun, or of torch_utils.launching.

    device_type: 'cuda' (each worker takes the GPU of its number on its machine; NCCL) or 'cpu' (Gloo). What the workers but
    the first print to stdout is dropped.

    If a worker fails, all end at once, wherever they are, and its error is told on all machines. A worker that is not heard of
    for a tenth of STYLEGAN_TIMEOUT seconds (default 600; 5 at least) has failed, and so has one that waits longer than
    STYLEGAN_TIMEOUT in a collective call.
    Raises OptionError for a device that can't be had, UserError if the others can't be reached.
    """
    if device_type == 'cuda':
        _take_gpu()
    elif device_type != 'cpu':
        raise OptionError(f'--device={device_type} has no way to work with several processes; use --device=cuda or cpu')
    seconds = timeout_seconds()
    members = meeting.meet(seconds)
    watch = failures.Watch(members, lost_after=max(seconds / 10, 5))
    with contextlib.ExitStack() as stack:
        if members.rank > 0:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, 'w', encoding='utf-8'))))
        stack.enter_context(watch)
        dist.init_process_group('cpu:gloo,cuda:nccl' if device_type == 'cuda' else 'gloo', store=members.new_store(),
                                rank=members.rank, world_size=members.count, timeout=timedelta(seconds=seconds))
        barrier()
        yield
        barrier()
        watch.stop()
        barrier()  # none may go, and take a store with it, while another one is still being watched
    dist.destroy_process_group()


def timeout_seconds() -> float:
    """Of STYLEGAN_TIMEOUT. Raises OptionError if it is not a positive number."""
    text = os.environ.get(TIMEOUT, DEFAULT_TIMEOUT)
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1e9:
            return float(text)
    raise OptionError(f'{TIMEOUT}={text} is not a number of seconds; leave it out, or set it to {DEFAULT_TIMEOUT}')


def waiting_room() -> Callable[[], None]:
    """A barrier, to be called, at which workers wait for as long as it takes; if one of them fails, they end all the same."""
    if world_size() == 1:
        return lambda: None
    group = dist.new_group(backend='gloo', timeout=timedelta(days=100))
    return lambda: dist.all_reduce(torch.zeros([]), group=group)


def _take_gpu() -> None:
    local, there = int(os.environ.get('LOCAL_RANK', 0)), torch.cuda.device_count()
    if local >= there:
        raise OptionError(f'{torchrun.num_local()} workers on a machine with {there} GPUs: each needs its own; start as many as '
                          'there are, or use --device=cpu')
    torch.cuda.set_device(local)


# --- Collective calls ---


def barrier() -> None:
    """Wait until all workers are here."""
    any_rank(False)


def any_rank(*flags: bool) -> list[bool]:
    """For each of the flags, whether it is true in any worker."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes]


def broadcast_object(value: T) -> T:
    """What the first worker has; any object that can be pickled."""
    if world_size() == 1:
        return value
    box = [value if is_rank0() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device('cpu'))
    return box[0]


def broadcast_from_rank0(make: Callable[[], T], patiently: bool = False) -> T:
    """What `make` returns, called by the first worker alone. A UserError that it raises is raised in all workers.

    patiently: it may take longer than workers usually wait for each other.
    """
    if world_size() == 1:
        return make()
    wait = waiting_room() if patiently else lambda: None
    value, error = None, None
    if is_rank0():
        try:
            value = make()
        except UserError as err:
            error = err
    wait()
    value, error = broadcast_object((value, error))
    if error is not None:
        raise error
    return value


def gather_objects(value: T) -> list[T]:
    """What each worker has, in the order of their numbers, in all of them; any objects that can be pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors with those of the first worker, of the same shapes and dtypes."""
    if world_size() == 1:
        return
    for tensor in tensors:
        with torch.no_grad():
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            if whole is not tensor:
                tensor.copy_(whole)


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors, of one dtype and device, with their means over the workers, by one message.

    The result is the same in all workers, bit by bit.
    """
    if world_size() == 1 or not tensors:
        return
    with torch.no_grad():
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= world_size()
        parts = flat.split([t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        average([y])
        return y

    @staticmethod
    def backward(ctx, dy: torch.Tensor) -> torch.Tensor:
        return _Mean.forward(ctx, dy)


def mean(x: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over the workers. Its gradient is averaged in the same way, by a collective call: which is what it
    takes for the average of the workers' gradients to be the gradient of the average of their losses."""
    return x if world_size() == 1 else _Mean.apply(x)


def first_difference(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor, and the worker, where it has other bits than in the first worker; None if all are equal."""
    if world_size() == 1:
        return None
    digests = [hashlib.sha256(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()).hexdigest()
               for t in tensors.values()]
    if len(set(gather_objects(hashlib.sha256(''.join(digests).encode()).hexdigest()))) == 1:
        return None
    everywhere = gather_objects(digests)
    return next(f'{name}, in worker {worker}' for worker, theirs in enumerate(everywhere)
                for name, mine, first in zip(tensors, theirs, everywhere[0], strict=True) if mine != first)


def total(array: np.ndarray) -> np.ndarray:
    """The sum of an array over the workers."""
    if world_size() == 1:
        return array
    tensor = torch.from_numpy(np.array(array))
    dist.all_reduce(tensor)
    return tensor.numpy()
