"""Files of strict JSON with one record per line. Processes that append to them may be killed at any time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parse_line(line: str) -> dict[str, Any] | None:
    """Parse one line. Returns None if the line is incomplete."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of a file. Skips a line that a killed process left half-written. Raises OSError."""
    with open(path, encoding='utf-8', errors='replace') as f:
        records = [parse_line(line) for line in f]
    return [record for record in records if record is not None]


def append_line(path: str | Path, record: Mapping[str, Any]) -> str:
    """Append a record with one write, and return the line. Ends a half-written line before it. Raises OSError, or ValueError if
    the record holds a number that is not finite."""
    line = json.dumps(record, allow_nan=False)
    with open(path, 'ab+') as f:
        if f.tell():
            f.seek(-1, 2)
            torn = f.read(1) != b'\n'
        else:
            torn = False
        f.write(b'\n' * torn + (line + '\n').encode())
    return line
