"""Collective calls: what ranks tell each other.

They use torch.distributed's default group (torch_utils.process_group joins it), and also work in a process without one.
Every function but rank, world_size and is_rank0 is a collective call: all ranks make the same ones in the same order.
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
SIGN_OF_LIFE = 2.0  # seconds between messages of a rank that others wait for


# --- Who is who ---


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """The number of processes in the group; 1 without a group."""
    return dist.get_world_size() if _grouped() else 1


def is_rank0() -> bool:
    """Whether this is the rank that prints and writes files."""
    return rank() == 0


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


# --- Collective calls ---


def barrier() -> None:
    """Wait until all ranks are here."""
    any_rank(False)


def any_rank(*flags: bool) -> list[bool]:
    """For each of the flags, whether it is true on any rank."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes]


def agree(error: BaseException | None = None, busy: bool = False) -> bool:
    """Raise `error`, or that of another rank, on all ranks. Otherwise, return whether one of them is busy.

    Code that can fail on one rank alone calls this before the next collective call, so that no rank waits for what will not
    come. An error that it has raised on all ranks, it raises again without asking them.
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
    """The same error, or one that says the same if it can't be sent to another process."""
    try:
        pickle.dumps(error)
        copy.deepcopy(error)  # makes it again from its parts, as the other process will
    except Exception:  # exceptions are pickled by all sorts of code
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error


def broadcast_from_rank0(make: Callable[[], T]) -> T:
    """What `make` returns on rank 0, on all ranks; elsewhere it is not called. An exception that it raises is raised on all
    ranks. The result and the exception must be picklable.

    `make` may take as long as it needs: a thread tells the other ranks that rank 0 still works, so that their time-out only
    ends them if it does not. `make` must not make collective calls.
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
        except Exception as err:  # of another rank, or it is gone
            lost.append(err)
            return


def patiently(make: Callable[[], T]) -> T:
    """What `make` returns, on each rank, once all are ready. It may take as long as it needs on any of them: a download, say.

    An exception on one rank is raised on all. `make` runs in a thread and must not make collective calls.
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
    """What rank 0 has; any object that can be pickled."""
    if world_size() == 1:
        return value
    box: list[Any] = [value if is_rank0() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device('cpu'))
    return box[0]


def gather_objects(value: T) -> list[T]:
    """What each rank has, in the order of ranks, on all of them; any objects that can be pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
    """What each rank has, in the order of ranks: tensors [counts[rank], F] on the device; ranks without a count have none.
    Nothing on ranks other than 0."""
    if world_size() == 1:
        return [rows]
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[:len(rows)] = rows
    parts = [padded.new_empty(padded.shape) for _ in range(world_size())] if is_rank0() else None
    agree()
    dist.gather(padded, parts, dst=0)
    return [part[:count] for part, count in zip(parts or [], counts, strict=False)]


def broadcast_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors with those of rank 0, of the same shapes and dtypes."""
    if world_size() == 1:
        return
    for tensor in tensors:
        with torch.no_grad():
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            if whole is not tensor:
                tensor.copy_(whole)


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Overwrite tensors, of one dtype and device, with their means over the ranks, by one message.

    The result is the same on all ranks, bit by bit.
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
    """The mean of a tensor over the ranks. Its gradient is averaged in the same way, by a collective call: which is what it
    takes for the average of the ranks' gradients to be the gradient of the average of their losses."""
    return x if world_size() == 1 else _Mean.apply(x)


def first_difference(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """The name of the first tensor, and the rank, where it has other bits than on rank 0; None if all are equal."""
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
    """The sum of an array over the ranks."""
    if world_size() == 1:
        return array
    tensor = torch.from_numpy(np.array(array))
    dist.all_reduce(tensor)
    return tensor.numpy()
