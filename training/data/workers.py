"""The data loader's processes: how they start, how they handle signals, and when they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

import torch

from dnnlib import plugins, signals
from torch_utils import devices, fork_server

PRELOADED = ['__main__', 'training.inputs', 'training.dataset']


def start_method(device: torch.device) -> str | None:
    """How the processes start; None for the default.

    If processes that use the device must not be forked, workers come from a fork server: a process that has only imported torch.
    Otherwise they are forked, which takes no time. Starting the server takes 2 s or more on a slow CPU.
    """
    if sys.platform != 'linux':
        return None
    return 'forkserver' if devices.suffers_from_fork(device) else 'fork'


def prepare(device: torch.device) -> None:
    """Start the fork server, if one will be used, in the background."""
    if start_method(device) == 'forkserver':
        fork_server.start(PRELOADED)


class Portable(torch.utils.data.Dataset):
    """A dataset that can be sent to any process, even if its class is in a file of the user that is not a module there."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        return self._dataset[idx]

    def __reduce__(self) -> tuple:
        path, colon, _ = plugins.location(type(self._dataset)).rpartition(':')
        return _unpack, (_Module(path if colon else None), self._dataset)


class _Module:
    """Loads the file with the dataset's class in the other process. It is unpickled before the dataset."""

    def __init__(self, path: str | None):
        self._path = path

    def __reduce__(self) -> tuple:
        return (plugins.load_module, (self._path,)) if self._path is not None else (str, ())


def _unpack(module: Any, dataset: Any) -> Portable:
    return Portable(dataset)


def begin(worker_id: int) -> None:
    """Set up a new process. Ctrl-C, and SIGTERM or SIGHUP to a process group, also reach it, but the main process still needs it
    to finish its step. It therefore ignores Ctrl-C, and ends only ten minutes after the others. If the main process is killed, it
    ends immediately: forked processes notice that themselves, because their parent changes; those of a fork server need a
    thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for ending in signals.endings():
        signal.signal(ending, lambda *_: signal.alarm(600))
    signals.let_through()
    main = multiprocessing.parent_process()
    if main is not None and main.pid != os.getppid():
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(main: Any) -> None:
    main.join()
    os._exit(1)


def end_all() -> None:
    """End all workers when the program ends. multiprocessing would wait for them, because they ignore its signal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch treats the end of a worker as an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
