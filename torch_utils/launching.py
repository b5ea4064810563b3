"""Start several ranks on this machine with torch's elastic agent, which torchrun uses, too."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing import util
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil
import torch

from dnnlib.scratch import scratch_folder
from dnnlib.signals import endings, let_through
from dnnlib.util import OptionError, UserError
from torch_utils import devices, fork_server, process_group, torchrun

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

PRELOADED = ['torch_utils.process_group', 'torch.distributed.elastic.multiprocessing.api']  # what ranks import
PATIENCE = 5.0  # seconds that ranks have to end after a second request to stop
STOPPED = (-signal.SIGINT, *(-s for s in endings()), 130)  # exit codes of ranks that Ctrl-C or a similar signal ended


class RankError(RuntimeError):
    """A rank raised an error. The message contains its traceback."""


def launch(function: Callable[..., Any], args: Sequence[Any], world_size: int, device_type: str) -> None:
    """Call function(*args) in `world_size` processes that have joined a group (process_group.joined), and wait for them.

    With one rank, the call runs in this process without a group. With several ranks, function and args must be picklable, and
    CPU threads are divided between the ranks. Ctrl-C, SIGTERM and SIGHUP are passed on to the ranks, which may finish their
    work. If the signal kills them, it also ends this process. Under torchrun, this process is already a rank and joins its
    group.
    Raises the first failed rank's error: its UserError, a UserError that names the rank if a signal killed it, or else RankError
    with its traceback. The other ranks then have 30 seconds to end.
    """
    if torchrun.under_torchrun():
        with process_group.joined(device_type):
            function(*args)
        return
    if world_size == 1:
        function(*args)
        return
    if devices.most_ranks(device_type) < world_size:
        raise OptionError(f'--gpus={world_size}: this machine has {devices.most_ranks(device_type)}')
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    for name in ('torch.distributed.elastic', 'torch.multiprocessing'):  # they log failures that the exception already contains
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if _start_method() == 'forkserver':
        fork_server.start(PRELOADED)
    with scratch_folder('stylegan-ranks') as folder:
        # One agent needs no heartbeats to other agents. A machine that was suspended would miss them and fail.
        config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=world_size, run_id=uuid.uuid4().hex, max_restarts=0,
                              monitor_interval=0.1, rdzv_backend='c10d', rdzv_endpoint='localhost:0', local_addr='localhost',
                              rdzv_configs={'keep_alive_interval': 10**8}, start_method=_start_method(),
                              logs_specs=DefaultLogsSpecs(str(folder)))
        agent = elastic_launch(config, _run_rank)
        # On the main thread, the agent would kill ranks 30 s after a signal, even if they are still saving, and report failure
        # if they ended well. On another thread it leaves signals to this process.
        with _PassOnSignals() as signals, ThreadPoolExecutor(1) as thread:
            environment = {**os.environ, torchrun.STARTED: str(torchrun.started_at())}
            future = thread.submit(agent, environment, device_type, function, *args)
            while not wait([future], timeout=0.5).done:
                # A rank that waits for another rank in a collective call does not react to signals.
                if signals.insisted_at is not None and time.monotonic() - signals.insisted_at > PATIENCE:
                    signals.send(signal.SIGKILL)
    error = future.exception()
    if error is None:
        return
    if not isinstance(error, ChildFailedError):  # an error of the agent itself
        raise error
    rank, failure = error.get_first_failure()
    if signals.last is not None and (signals.insisted_at is not None or failure.exitcode in STOPPED):
        signal.raise_signal(signals.last)
    raise _explain(rank, failure)


def _start_method() -> str:
    """Choose how ranks start. Where possible, they are forked from a server process that has imported torch and done nothing
    else."""
    return 'forkserver' if 'forkserver' in multiprocessing.get_all_start_methods() else 'spawn'


def _run_rank(environment: dict[str, str], device_type: str, function: Callable[..., Any], *args: Any) -> None:
    """Main function of a rank. Records an exception of the function in a file, as torch's @record does."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler
    for name, value in environment.items():  # the fork server may be older; variables set by the agent stay
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a fork server ignores SIGINT; ranks must not
    let_through()
    _honor_atexit()
    finished = threading.Event()
    threading.Thread(target=_stop_without_parent, args=[finished], daemon=True).start()
    if sys.platform == 'linux':
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    torch.set_num_threads(max(torch.get_num_threads() // int(os.environ['WORLD_SIZE']), 1))
    try:
        with process_group.joined(device_type):
            function(*args)
        return
    except KeyboardInterrupt:  # torch would report success, and the agent would wait for a result
        status = 130
    except SystemExit as err:
        if not err.code:
            return
        status = err.code if isinstance(err.code, int) else 1
    except UserError as err:
        status = err.exit_status
        get_error_handler().record_exception(UserError(json.dumps([status, ' '.join(str(err).split())])))
    except Exception as err:
        status = 1
        get_error_handler().record_exception(err)
    finally:
        finished.set()
    sys.stdout.flush()
    sys.stderr.flush()
    util._run_finalizers(0)  # type: ignore[attr-defined]  # gives semaphores back, or else there is a warning at the end
    os._exit(status)  # multiprocessing would wait for data loader workers that ignore its signal


def _honor_atexit() -> None:
    """Call exit functions at the end of this process. Without this call, multiprocessing skips them (CPython issue 83856), and
    temporary folders of libraries stay, for example those of wandb."""
    atexit.unregister(util._exit_function)  # type: ignore[attr-defined]  # multiprocessing calls it, and the finalizer below
    util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)


def _stop_without_parent(finished: threading.Event) -> None:
    """Stop this rank if the launching process was killed. The rank saves first.

    torch watches only the fork server, which survives, so the rank would wait for the agent forever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # a rank is never the main process
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    finished.wait()
    os._exit(1)


def _explain(rank: int, failure: ProcessFailure) -> Exception:
    """Return the error of a rank, from torch's record in a file or from the signal that killed the rank."""
    if failure.exitcode < 0:
        return UserError(f'rank {rank} was killed by {failure.signal_name()}, and all ranks stopped. SIGKILL may mean out of '
                         'memory: see the system log. --resume continues from the last snapshot')
    if not isinstance(failure.message, dict):
        return RankError(f'Rank {rank} ended with status {failure.exitcode}, and all ranks stopped.')
    name, _, text = failure.message['message'].partition(': ')
    if name == 'UserError':
        exit_status, text = json.loads(text)
        return (OptionError if exit_status == OptionError.exit_status else UserError)(text)
    return RankError(f'Rank {rank} failed, and all ranks stopped:\n{failure.message["extraInfo"]["py_callstack"].rstrip()}')


class _PassOnSignals:
    """While active, pass Ctrl-C, SIGTERM and SIGHUP (unless ignored) on to the ranks.

    last: number of the last such signal. insisted_at: time of the first signal that came at least a second after the first one.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        self._first_at: float | None = None
        self.insisted_at: float | None = None

    def __enter__(self) -> _PassOnSignals:
        self._previous = {s: signal.signal(s, self._pass_on) for s in (signal.SIGINT, *endings())}
        let_through()  # the parent may have held them back
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self._previous.items():
            signal.signal(s, handler)

    def _pass_on(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self.last, self._first_at = signum, now if self._first_at is None else self._first_at
        if now - self._first_at >= 1 and self.insisted_at is None:
            self.insisted_at = now
        self.send(signum)

    def send(self, signum: int) -> None:
        """Send a signal to all ranks. With a fork server, the ranks are the server's children."""
        with contextlib.suppress(psutil.Error):  # the process has just ended
            ranks = psutil.Process().children()
            if _start_method() == 'forkserver':
                ranks = [rank for server in ranks for rank in server.children()]
            for process in ranks:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signum)
