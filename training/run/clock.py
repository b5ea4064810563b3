"""Limits in wall-clock time."""

from __future__ import annotations

import time

from dnnlib.util import EasyDict
from torch_utils import torchrun


class Clock:
    """--snap-minutes and --max-minutes, counted from the start of the program."""

    def __init__(self, c: EasyDict):
        self._snap_seconds, self._max_seconds = (None if m is None else 60 * m for m in (c.snap_minutes, c.max_minutes))
        self._previous = self._skipped = time.monotonic()
        self._longest_step = 0.0
        # Monotonic from here on. A jump of the time of day would end the run, or keep it from ending.
        self._started = time.monotonic() - (time.time() - torchrun.started_at())

    def time_is_up(self, longest_save: float) -> bool:
        """Whether to stop now, so that everything is saved before --max-minutes. Call this after every step."""
        now = time.monotonic()
        self._longest_step, self._previous = max(self._longest_step, now - self._previous), now
        return self.is_over(longest_save)

    def is_over(self, longest_save: float) -> bool:
        """The same at other times, such as during an evaluation."""
        # At least that much, because nothing may have been saved yet.
        margin = max(2 * (self._longest_step + longest_save), min(60, 0.05 * (self._max_seconds or 0)))
        return self._max_seconds is not None and (time.monotonic() - self._started) + margin >= self._max_seconds

    def skip(self) -> None:
        """Exclude the time since the last step, such as an evaluation, from the next step and the next snapshot."""
        self._previous = self._skipped = time.monotonic()

    def snapshot_is_due(self, saved_at: float) -> bool:
        """saved_at: time.monotonic() of the last snapshot."""
        return self._snap_seconds is not None and time.monotonic() - max(saved_at, self._skipped) >= self._snap_seconds
