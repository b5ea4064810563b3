"""Calls of a function in several processes, with the results in order."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from dnnlib import UserError

FEW = 256  # number of images that is too small to start processes
BATCH_ITEMS, BATCH_BYTES = 64, 4 << 20  # that go to a process at a time


def workers_for(images: int) -> int:
    """The number of processes: one per available core, or for few images only this one."""
    if images <= FEW:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def map_in_order(function: Callable[..., Any], tasks: Iterable[tuple[Any, Any]], workers: int,
                 batch_items: int | None = None) -> Generator[tuple[Any, Any], None, None]:
    """Yield (key, function(*arguments)) for each task (key, arguments), in order. If the second part of a task is not a plain
    tuple, it is the result. Exceptions of the function are raised here.

    workers: number of processes; 1 for this process only. They read a bounded number of tasks ahead, and end when this process
    ends for any reason. The function and arguments are pickled. The keys are not.
    batch_items: number of tasks per message to a process; BATCH_ITEMS by default.
    """
    if workers <= 1:
        for key, task in tasks:
            yield key, function(*task) if type(task) is tuple else task
        return
    # Spawned, because this process may have threads. Children do not handle its signals.
    with _pool(workers) as pool:
        waiting: deque[tuple[list[Any], concurrent.futures.Future]] = deque()
        try:
            for keys, batch in _batches(tasks, batch_items or BATCH_ITEMS):
                waiting.append((keys, pool.submit(_run, function, batch)))
                while len(waiting) > 2 * workers:
                    yield from _results(*waiting.popleft())
            while waiting:
                yield from _results(*waiting.popleft())
        except BrokenProcessPool as err:
            raise UserError('a worker process was ended, perhaps for want of memory; use fewer --workers') from err


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    pool = concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """In a new process: leave Ctrl-C to the parent, and end when it does, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=end_with_parent, daemon=True).start()


def _batches(tasks: Iterable[tuple[Any, Any]], most: int) -> Iterator[tuple[list[Any], list[Any]]]:
    keys, batch, size = [], [], 0
    for key, task in tasks:
        keys.append(key)
        batch.append(task)
        size += sum(map(_size, task)) if type(task) is tuple else 0
        if len(batch) >= most or size >= BATCH_BYTES:
            yield keys, batch
            keys, batch, size = [], [], 0
    if batch:
        yield keys, batch


def _size(value: Any) -> int:
    return len(value) if isinstance(value, bytes) else getattr(value, 'nbytes', 0)


def _run(function: Callable[..., Any], batch: list[Any]) -> list[Any]:
    return [function(*task) if type(task) is tuple else task for task in batch]


def _results(keys: list[Any], future: concurrent.futures.Future) -> Iterator[tuple[Any, Any]]:
    return zip(keys, future.result(), strict=True)
