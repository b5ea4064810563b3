"""Ending a program in good order when it is told to."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

ENDINGS = {getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)}


def endings() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP (a closed terminal) unless it is ignored, as under nohup. Both end a program."""
    hangup = getattr(signal, 'SIGHUP', None)
    return [signal.SIGTERM] + ([hangup] if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN else [])


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside, signals that end a program wait. Processes that start inside hold them back until they call `let_through`."""
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """In a process that started inside `held_back`, once it has set its handlers."""
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


class StopOnSignal:
    """While active, the first Ctrl-C, SIGTERM or SIGHUP (unless nohup has that ignored) sets `requested`; a second one, a second
    later or more, acts as usual.

    Within a second, it is the same request: `timeout`, for one, signals its child and then the group that this is in.
    quiet: don't say that the request was understood.
    """

    def __init__(self, quiet: bool = False):
        self.requested, self._quiet = False, quiet
        self._requested_at = 0.0

    def __enter__(self) -> StopOnSignal:
        self._previous: dict[int, Any] = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, *endings())}
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self._previous.items():
            signal.signal(s, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._requested_at = True, time.monotonic()
            with contextlib.suppress(OSError):  # not by print, which may be what was interrupted
                self._quiet or os.write(2, b'\nStopping after this step. Press again to stop immediately.\n')
        elif time.monotonic() - self._requested_at >= 1:
            signal.signal(signum, self._previous[signum])
            signal.raise_signal(signum)
