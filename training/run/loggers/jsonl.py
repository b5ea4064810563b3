"""Lines of strict JSON: stats.jsonl, a line per tick, and metric-<name>.jsonl, a line per evaluation."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dnnlib.files import atomic_open
from dnnlib.jsonl import parse_line


class StatsFile:
    """stats.jsonl: {"<name>": {"num": int, "mean": float or null, "std": float or null}, ..., "timestamp": unix seconds}.

    A run that resumes in its directory appends to the file. Lines beyond start_nimg, the images at which it resumes, are dropped
    first: those ticks are repeated.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int):
        path = Path(run_dir, 'stats.jsonl')
        keep_lines(path, lambda stats: _nimg(stats) <= start_nimg)
        self._file = open(path, 'ab', buffering=0)  # noqa: SIM115 (closed by close)
        self._unwritten = b''

    def write(self, stats: Mapping[str, Mapping[str, float]]) -> None:
        """Append the statistics of a tick. Raises OSError if the disk is full. No partial line remains, and the line is written
        before the next one."""
        line = {name: finite_or_none(values) for name, values in stats.items()}
        self._unwritten += (json.dumps({**line, 'timestamp': time.time()}, allow_nan=False) + '\n').encode()
        self._write_all()

    def _write_all(self) -> None:
        start = self._file.tell()
        try:
            if self._file.write(self._unwritten) < len(self._unwritten):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(start)
            self._file.seek(start)
            raise
        self._unwritten = b''

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._write_all()
        self._file.close()


def keep_lines(path: Path, wanted: Callable[[dict[str, Any]], bool] = lambda record: True) -> None:
    """Rewrite a file atomically without incomplete lines and unwanted records. Does nothing if there are none, or no file."""
    if not path.is_file():
        return
    text = path.read_text(encoding='utf-8', errors='replace')
    records = [(line, parse_line(line)) for line in text.splitlines()]
    kept = ''.join(line + '\n' for line, record in records if record is not None and wanted(record))
    if kept != text:
        with atomic_open(path, 'w') as f:
            f.write(kept)


def finite_or_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """None for NaN and infinity, which strict JSON does not have."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()}


def _nimg(stats: dict[str, Any]) -> float:
    kimg = stats.get('Progress/kimg')
    mean = kimg.get('mean') if isinstance(kimg, dict) else None
    return round(mean * 1000) if isinstance(mean, (int, float)) else 0
