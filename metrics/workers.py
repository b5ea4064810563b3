"""The processes that share an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar('T')


@dataclass(frozen=True)
class Workers:
    """This process is number `rank` of `num`; by default the only one. All of them make the same calls in the same order.

    With several, the default group of torch.distributed must be there.
    """

    rank: int = 0
    num: int = 1

    @classmethod
    def joined(cls) -> Workers:
        """Those of torch.distributed, if this process has joined a group there; else this one alone."""
        from torch import distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def gather(self, rows: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        """What each process has, in order of ranks: tensors [counts[rank], F] on the device. Nothing on other ranks than 0."""
        if self.num == 1:
            return [rows]
        from torch import distributed
        most = max(counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[:len(rows)] = rows
        parts = [padded.new_empty(padded.shape) for _ in range(self.num)] if self.rank == 0 else None
        distributed.gather(padded, parts, dst=0)
        return [part[:count] for part, count in zip(parts or [], counts, strict=False)]

    def first(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, on all ranks; elsewhere it is not called. An exception that it raises comes to all."""
        if self.num == 1:
            return make()
        from torch import distributed
        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome = [make(), None]
            except Exception as err:  # all must hear of it: they wait
                outcome = [None, err]
        distributed.broadcast_object_list(outcome, src=0)
        value, err = outcome
        if err is not None:
            raise err
        return value
