"""Collective calls: communication between ranks.

They use torch.distributed's default group (torch_utils.process_group joins it), and also work in a process without a group.
Every function except rank, world_size and is_rank0 is a collective call: all ranks must make the same calls in the same order.
"""

from __future__ import annotations

import concurrent.futures
import copy
import hashlib
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed as dist

T = TypeVar('T')
SIGN_OF_LIFE = 2.0  # seconds between heartbeats of a rank that others wait for


# --- Ranks ---


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """Number of processes in the group; 1 without a group."""
    return dist.get_world_size() if _grouped() else 1


def is_rank0() -> bool:
    """Whether this rank prints and writes files."""
    return rank() == 0


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


# --- Collective calls ---


def barrier() -> None:
    """Wait until all ranks have arrived."""
    any_rank(False)


def any_rank(*flags: bool) -> list[bool]:
    """For each flag, whether it is true on any rank."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes]


def agree(error: BaseException | None = None, busy: bool = False) -> bool:
    """Raise `error`, or another rank's error, on all ranks. Otherwise return whether any rank is busy.

    Code that can fail on one rank alone calls this before the next collective call, so that no rank waits forever. An error that
    all ranks have already raised is raised again without communication.
    """
    if error is not None and (world_size() == 1 or hasattr(error, 'agreed')):
        raise error
    failed, busy = any_rank(error is not None, busy)
    if not failed:
        return busy
    errors = gather_objects(_portable(error))
    source = next(r for r, err in enumerate(errors) if err is not None)
    raised: Any = error
    if error is None:
        raised = errors[source]
        raised.from_rank = source
    raised.agreed = True
    raise raised


def _portable(error: BaseException | None) -> BaseException | None:
    """Return the error, or an equivalent RuntimeError if it cannot be sent to another process."""
    try:
        pickle.dumps(error)
        copy.deepcopy(error)  # rebuilds the error from its parts, as the other process will
    except Exception:  # pickling runs arbitrary code of the exception
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error


def broadcast_from_rank0(make: Callable[[], T]) -> T:
    """Call `make` on rank 0 only, and return its result on all ranks. An exception in `make` is raised on all ranks.

    The result and the exception must be picklable. `make` may take any time: a thread sends heartbeats to the other ranks, so
    they time out only if rank 0 stops. `make` must not make collective calls.
    """
    if world_size() == 1:
        return make()
    value: Any = None
    error = None
    if is_rank0():
        done = threading.Event()
        lost: list[Exception] = []
        thread = threading.Thread(target=_give_signs_of_life, args=[done, lost], daemon=True)
        thread.start()
        try:
            value = make()
        except Exception as err:
            error = err
        finally:
            done.set()
            thread.join()
        if lost:
            raise lost[0]
        agree(error)
    else:
        while agree():
            pass
    return broadcast_object(value)


def _give_signs_of_life(done: threading.Event, lost: list[Exception]) -> None:
    while not done.wait(SIGN_OF_LIFE):
        try:
            agree(busy=True)
        except Exception as err:  # another rank's error, or that rank is gone
            lost.append(err)
            return


def patiently(make: Callable[[], T]) -> T:
    """Call `make` on each rank, and return its result once all ranks are ready. It may take any time on any rank, such as for a
    download.

    An exception on one rank is raised on all ranks. `make` runs in a thread and must not make collective calls.
    """
    if world_size() == 1:
        return make()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        made = pool.submit(make)
        while True:
            concurrent.futures.wait([made], timeout=SIGN_OF_LIFE)
            done = made.done()
            if not agree(made.exception() if done else None, busy=not done):
                return made.result()


def broadcast_object(value: T) -> T:
    """Return rank 0's value on all ranks. Any picklable object."""
    if world_size() == 1:
        return value
    box: list[Any] = [value if is_rank0() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device('cpu'))
    return box[0]


def gather_objects(value: T) -> list[T]:
    """Return the values of all ranks, in the order of ranks, on every rank. Any picklable objects."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
    """Gather tensors [counts[rank], F] on rank 0, in the order of ranks. Tensors are on the device. Ranks without a count
    contribute none. Other ranks receive an empty list."""
    if world_size() == 1:
        return [rows]
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[:len(rows)] = rows
    parts = [padded.new_empty(padded.shape) for _ in range(world_size())] if is_rank0() else None
    agree()
    dist.gather(padded, parts, dst=0)
    return [part[:count] for part, count in zip(parts or [], counts, strict=False)]


def broadcast_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors with rank 0's tensors of the same shapes and dtypes."""
    if world_size() == 1:
        return
    for tensor in tensors:
        with torch.no_grad():
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            if whole is not tensor:
                tensor.copy_(whole)


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors with their means over the ranks, in one message. All tensors share one dtype and device.

    The result is bit-identical on all ranks.
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
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        average([y])
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
        return _Mean.forward(ctx, dy)


def mean(x: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor over the ranks. A collective call averages its gradient in the same way. The average of the ranks'
    gradients is then the gradient of their average loss."""
    return x if world_size() == 1 else _Mean.apply(x)


def first_difference(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Find the first tensor whose bits differ from rank 0's. Returns its name and the rank, or None if all are equal."""
    if world_size() == 1:
        return None
    digests = [hashlib.sha256(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()
               for t in tensors.values()]
    if len(set(gather_objects(hashlib.sha256(''.join(digests).encode()).hexdigest()))) == 1:
        return None
    everywhere = gather_objects(digests)
    return next(f'{name}, on rank {r}' for r, theirs in enumerate(everywhere)
                for name, mine, first in zip(tensors, theirs, everywhere[0], strict=True) if mine != first)


def total(array: np.ndarray) -> np.ndarray:
    """Sum of an array over the ranks."""
    if world_size() == 1:
        return array
    tensor = torch.from_numpy(np.array(array))
    dist.all_reduce(tensor)
    return tensor.numpy()
