"""The processes that share an evaluation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar('T')
SIGN_OF_LIFE = 20.0  # seconds after which a process that others wait for says that it still works, for they don't wait for ever


@dataclass(frozen=True)
class Workers:
    """This process is number `rank` of `num`; by default the only one. All of them make the same calls in the same order.

    With several, the default group of torch.distributed must be there, and take tensors of the CPU.

    Before each message they `agree` that nothing has gone wrong, so that none waits for what will not come: a process in
    which something failed calls `agree` with that, and the next call of the others raises it there, too.
    """

    rank: int = 0
    num: int = 1

    @classmethod
    def joined(cls) -> Workers:
        """Those of torch.distributed, if this process has joined a group there; else this one alone."""
        from torch_utils import distributed
        return cls(distributed.rank(), distributed.world_size())

    def agree(self, error: Exception | None = None, busy: bool = False) -> bool:
        """Raise `error`, or that of another process. Otherwise, whether one of them is busy, and asks for another round.

        What `agree` has raised in all of them, it raises again at once.
        """
        if error is not None and (self.num == 1 or getattr(error, 'agreed', False)):
            raise error
        if self.num == 1:
            return busy
        import torch
        from torch import distributed
        votes = torch.tensor([error is not None, busy], dtype=torch.uint8)
        distributed.all_reduce(votes, distributed.ReduceOp.MAX)
        if not votes[0]:
            return bool(votes[1])
        errors: list[Any] = [None] * self.num
        distributed.all_gather_object(errors, _portable(error))
        error = error or next(err for err in errors if err is not None)
        error.agreed = True
        raise error

    def gather(self, rows: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        """What each process has, in order of ranks: tensors [counts[rank], F] on the device. Nothing on other ranks than 0."""
        if self.num == 1:
            return [rows]
        from torch import distributed
        most = max(counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[:len(rows)] = rows
        parts = [padded.new_empty(padded.shape) for _ in range(self.num)] if self.rank == 0 else None
        self.agree()
        distributed.gather(padded, parts, dst=0)
        return [part[:count] for part, count in zip(parts or [], counts, strict=False)]

    def first(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, on all ranks; elsewhere it is not called. An exception that it raises comes to all.

        It may take long: it runs in a thread, while this one tells the others that they don't wait in vain.
        """
        if self.num == 1:
            return make()
        from torch import distributed
        outcome: list[Any] = [None]
        if self.rank == 0:
            with ThreadPoolExecutor(1) as pool:
                future = pool.submit(_with_modes(make))
                while not wait([future], timeout=SIGN_OF_LIFE).done:
                    self.agree(busy=True)
            self.agree(_error_of(future))
            outcome = [future.result()]
        else:
            while self.agree():
                pass
        distributed.broadcast_object_list(outcome, src=0)
        return outcome[0]


def _with_modes(make: Callable[[], T]) -> Callable[[], T]:
    """`make`, with gradients on or off as they are here: a thread has its own idea of that."""
    import torch
    enabled = torch.is_grad_enabled()

    def call() -> T:
        with torch.set_grad_enabled(enabled):
            return make()

    return call


def _error_of(future: Future) -> Exception | None:
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


def _portable(error: Exception | None) -> Exception | None:
    """The same error, or one that says the same if it can't be sent to another process."""
    try:
        pickle.dumps(error)
        copy.deepcopy(error)  # makes it again from its parts, as the other process will
    except Exception:  # exceptions are pickled by all sorts of code
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error
