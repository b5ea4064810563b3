"""Files of strict JSON, a record per line, that are appended to by processes which may be killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parse_line(line: str) -> dict[str, Any] | None:
    """The record of a line; None if it is not whole."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file, without the line that a killed process left half-written. Raises OSError."""
    with open(path, encoding='utf-8', errors='replace') as f:
        records = [parse_line(line) for line in f]
    return [record for record in records if record is not None]


def append_line(path: str | Path, record: Mapping[str, Any]) -> str:
    """Append a record, in one write; returns the line. A half-written line before it is ended first. Raises OSError, and
    ValueError if the record holds a number that is not finite."""
    line = json.dumps(record, allow_nan=False)
    with open(path, 'ab+') as f:
        if f.tell():
            f.seek(-1, 2)
            torn = f.read(1) != b'\n'
        else:
            torn = False
        f.write(b'\n' * torn + (line + '\n').encode())
    return line
