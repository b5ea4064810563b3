"""Start the fork server of multiprocessing: a process that has only imported some modules, from which others are forked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker

from dnnlib import signals


def start(preloaded: Sequence[str]) -> None:
    """Start it in the background, unless it runs. preloaded: modules that it imports.

    SIGINT, SIGTERM and SIGHUP often reach all processes of a job, from its queue or a closed terminal. They end neither the
    server, without which nobody knows how the others ended, nor a process that it has just started. Each process calls
    signals.let_through once its handlers are set.
    """
    multiprocessing.get_context('forkserver').set_forkserver_preload(list(preloaded))
    resource_tracker.ensure_running()  # the server starts it otherwise, and that lets signals through
    with signals.held_back():
        forkserver.ensure_running()
