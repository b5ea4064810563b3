"""The data loader's processes: how they start, what they do about signals, and when they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from typing import Any

import torch

from dnnlib import plugins, signals
from torch_utils import devices

PRELOADED = ['__main__', 'training.inputs', 'training.dataset']


def start_method(device: torch.device) -> str | None:
    """How the processes start; None for the default.

    Where the device does not suffer a fork, they come from a fork server: a process that has imported torch and nothing else has
    happened in. Elsewhere they are forked, which takes no time: to start the server takes 2 s or more on a slow CPU.
    """
    if sys.platform != 'linux':
        return None
    return 'forkserver' if devices.suffers_from_fork(device) else 'fork'


def prepare(device: torch.device) -> None:
    """Begin to start the fork server, if there will be one. It gets ready while this process does other things.

    A signal to the process group does not end the server, nor a process that it has just started: `begin` lets signals through.
    """
    if start_method(device) == 'forkserver':
        multiprocessing.get_context('forkserver').set_forkserver_preload(PRELOADED)
        resource_tracker.ensure_running()  # the server starts it otherwise, and that lets signals through
        with signals.held_back():
            forkserver.ensure_running()


class Portable(torch.utils.data.Dataset):
    """A dataset that goes to any process, also if its class is the user's own, in a file that is no module there."""

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
    """Unpickled before the dataset, it loads the file with the dataset's class there."""

    def __init__(self, path: str | None):
        self._path = path

    def __reduce__(self) -> tuple:
        return (plugins.load_module, (self._path,)) if self._path is not None else (str, ())


def _unpack(module: Any, dataset: Any) -> Portable:
    return Portable(dataset)


def begin(worker_id: int) -> None:
    """In a new process: Ctrl-C, and SIGTERM to a process group, reach it too, but it leaves them to the main process, which still
    needs it until it has done its step. It ends at the latest ten minutes after SIGTERM, and immediately if the main process is
    killed: forked ones notice that by themselves, as their parent is another one then; those of a fork server would not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(600))
    signals.let_through()
    main = multiprocessing.parent_process()
    if main is not None and main.pid != os.getppid():
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(main: Any) -> None:
    main.join()
    os._exit(1)


def end_all() -> None:
    """At the end of the program: multiprocessing would wait for processes that it tells to end by a signal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch takes the end of a worker for an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
