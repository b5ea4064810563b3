"""End a program in good order when a signal asks for it."""

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
    """The signals, besides Ctrl-C, that end a program: SIGTERM, and SIGHUP (a closed terminal) unless it is ignored, as under
    nohup."""
    hangup = getattr(signal, 'SIGHUP', None)
    return [signal.SIGTERM] + ([hangup] if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN else [])


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside this context, signals that end a program wait. Processes started inside hold them back until they call
    `let_through`."""
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Accept signals again. Call this in a process started inside `held_back`, after its handlers are set."""
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)


class StopOnSignal:
    """Set `requested` on the first Ctrl-C, SIGTERM or SIGHUP (unless nohup ignores it). A second signal has its usual effect.

    A signal less than one second after the first counts as the same request. `timeout`, for example, signals its child and then
    the child's process group. quiet: print nothing on the first signal.
    """

    def __init__(self, quiet: bool = False):
        self.requested, self._quiet = False, quiet
        self._requested_at = 0.0

    def __enter__(self) -> StopOnSignal:
        self._previous: dict[int, Any] = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, *endings())}
        let_through()  # the parent may have held them back
        return self

    def __exit__(self, *_: object) -> None:
        for s, handler in self._previous.items():
            signal.signal(s, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._requested_at = True, time.monotonic()
            with contextlib.suppress(OSError):  # not print: the signal may have interrupted it
                self._quiet or os.write(2, b'\nStopping after this step. Press again to stop immediately.\n')
        elif time.monotonic() - self._requested_at >= 1:
            signal.signal(signum, self._previous[signum])
            signal.raise_signal(signum)
