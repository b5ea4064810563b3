"""Recordings of a GPU's work, as CUDA graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


def works_on(device: torch.device) -> bool:
    """Whether `Recording` works on `device`."""
    return device.type == 'cuda'


class Recording:
    """Work of a GPU, recorded once as a CUDA graph and repeated without Python's help.

    Tensors that the work reads are those of the recording, at the same addresses. Recordings may share `memory`, a result of
    `shared_memory`, if they run one after the other.
    """

    def __init__(self, memory: Any):
        self._memory, self._graph = memory, torch.cuda.CUDAGraph()

    @contextlib.contextmanager
    def record(self) -> Iterator[None]:
        """Record the work inside this context, without doing it. It must have run before, inside `rehearsal`."""
        # Other threads of the process may allocate memory at the same time: the one that pins the next batch does.
        with torch.cuda.graph(self._graph, pool=self._memory, capture_error_mode='thread_local'):
            yield

    def repeat(self) -> None:
        """Do the work once more."""
        self._graph.replay()

    @staticmethod
    @contextlib.contextmanager
    def rehearsal() -> Iterator[None]:
        """Do the work inside this context, in a stream of its own: what is made on first use must not be recorded."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream().wait_stream(stream)


def shared_memory() -> Any:
    """Memory that several recordings can share."""
    return torch.cuda.graph_pool_handle()
