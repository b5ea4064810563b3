"""Starting several workers on this machine, and seeing them through."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing import util
from multiprocessing.connection import wait
from typing import Any

import torch
from torch import distributed as dist

from dnnlib.util import OptionError, UserError
from torch_utils import distributed, torchrun
from torch_utils.failures import Failure, explain, reported
from torch_utils.meeting import Members, group_store
from torch_utils.torchrun import LAUNCHED, STARTED

PATIENCE = 5.0  # seconds in which workers end by themselves after one has failed, or they were told twice to stop


class WorkerError(RuntimeError):
    """A worker failed; the message has its traceback."""


def launch(function: Callable[..., Any], args: Sequence[Any], world_size: int, device_type: str) -> None:
    """Call function(*args) in `world_size` processes that have joined a group (distributed.joined), and wait for them.

    With one worker, that is this process, and there is no group. With several, function and args must be picklable; CPU threads
    are divided between them. Ctrl-C and SIGTERM are passed on to the workers, which may finish what they do; where that
    kills them, it ends this process too. Under torchrun, this process is a worker already: it joins its group.
    Raises the UserError that a worker raised, or WorkerError with the traceback of the first one that failed.
    """
    if torchrun.under_torchrun():
        with distributed.joined(device_type):
            function(*args)
        return
    if world_size == 1:
        function(*args)
        return
    if device_type == 'cuda' and torch.cuda.device_count() < world_size:
        raise OptionError(f'--gpus={world_size}: this machine has {torch.cuda.device_count()}')
    name = uuid.uuid4().hex
    store = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    environment = {**os.environ, 'WORLD_SIZE': str(world_size), 'LOCAL_WORLD_SIZE': str(world_size), 'MASTER_ADDR': '127.0.0.1',
                   'MASTER_PORT': str(store.port), 'TORCHELASTIC_USE_AGENT_STORE': 'True', LAUNCHED: name,
                   STARTED: str(torchrun.started_at())}
    context = _context()
    processes = [context.Process(target=_work, args=(rank, environment, device_type, function, args), name=f'worker {rank}')
                 for rank in range(world_size)]
    with _PassOnSignals(processes) as signals:
        for process in processes:
            process.start()
        failure = _see_through(processes, group_store(store, name), signals)
    if failure is None:
        return
    if signals.insisted_at is not None or (signals.last is not None and not failure.text):
        signal.raise_signal(signals.last)
    if failure.is_user_error:
        raise (OptionError if failure.exit_status == OptionError.exit_status else UserError)(failure.text)
    raise WorkerError(explain(failure, Members(name, 0, ('',) * world_size, 0)))


def _context() -> multiprocessing.context.BaseContext:
    """Where that is possible, workers are forked from a process that has imported torch, once for all, and done nothing else."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context('spawn')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch_utils.distributed'])
    return context


def _work(rank: int, environment: dict[str, str], device_type: str, function: Callable[..., Any], args: Sequence[Any]) -> None:
    """The main function of a worker."""
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the process that it was forked from ignores
    if sys.platform == 'linux':
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    torch.set_num_threads(max(torch.get_num_threads() // int(environment['WORLD_SIZE']), 1))
    try:
        with distributed.joined(device_type):
            function(*args)
    except KeyboardInterrupt:
        status = 130
    except UserError as err:  # before it could join
        print(f'Error: {err}', file=sys.stderr)
        status = err.exit_status
    else:
        status = 0
    sys.stdout.flush()
    sys.stderr.flush()
    util._run_finalizers(0)  # gives semaphores back, or else there is a warning at the end
    os._exit(status)  # multiprocessing would wait for what is left of the data loader's workers


def _see_through(processes: Sequence[multiprocessing.Process], store: dist.Store, signals: _PassOnSignals) -> Failure | None:
    """Wait until all have ended. Returns why, if one of them failed; without words if it said none."""
    failure, failed_at = None, None
    running = dict(enumerate(processes))
    while running:
        wait([process.sentinel for process in running.values()], timeout=1)
        for rank, process in list(running.items()):
            if process.exitcode is None:
                continue
            del running[rank]
            if process.exitcode != 0 and failure is None:
                failure = reported(store) or Failure(rank, _last_words(process.exitcode)).report(store)
                failed_at = time.monotonic()
        # Who waits for a worker in a collective call does not hear signals.
        if any(since is not None and time.monotonic() - since > PATIENCE for since in (failed_at, signals.insisted_at)):
            for process in running.values():
                process.kill()
    return failure


def _last_words(exitcode: int) -> str:
    if exitcode in (-signal.SIGINT, -signal.SIGTERM, 130):  # by Ctrl-C
        return ''
    if exitcode < 0:
        return f'It was ended by {signal.Signals(-exitcode).name}.'
    return f'It ended with status {exitcode}; what it printed says why.'


class _PassOnSignals:
    """While active, Ctrl-C and SIGTERM go on to the processes. last: the number of the last such signal. insisted_at: when there
    was one more, a second after the first or later."""

    def __init__(self, processes: Sequence[multiprocessing.Process]):
        self._processes, self.last = processes, None
        self._first_at = self.insisted_at = None

    def __enter__(self) -> _PassOnSignals:
        self._previous = {s: signal.signal(s, self._pass_on) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for s, handler in self._previous.items():
            signal.signal(s, handler)

    def _pass_on(self, signum: int, frame) -> None:
        now = time.monotonic()
        self.last, self._first_at = signum, now if self._first_at is None else self._first_at
        if now - self._first_at >= 1 and self.insisted_at is None:
            self.insisted_at = now
        for process in self._processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signum)
