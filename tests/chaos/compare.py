"""Whether a run that was disturbed is the run that was not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dnnlib.jsonl import read_lines

TIMES = ('Timing/', 'Resources/', 'timestamp')
VARIETY = 'Health/variety'
EVERY_STEP = ('Loss/scores/', 'Loss/signs/', 'Loss/D/loss')  # what is in every part of a tick


def differences(run_dir: Path, expected: Path) -> list[str]:
    """In a few words each: what differs in the last networks, the last training state, the last averages of weights if there are
    any, and stats.jsonl, but for times."""
    found = []
    for pattern in ('network-snapshot-*.pkl', 'training-state-*.pt', 'weight-averages-*.pt'):
        for name in sorted(path.name for path in expected.glob(pattern))[-1:]:
            if not (run_dir / name).is_file() or (run_dir / name).read_bytes() != (expected / name).read_bytes():
                found.append(f'{name} differs')
    sessions = run_dir / 'sessions.jsonl'  # a full disk may have had no room for it
    stops = {line['kimg'] for line in read_lines(sessions)} if sessions.is_file() else set()
    return found + _stats_differences(read_lines(run_dir / 'stats.jsonl'), read_lines(expected / 'stats.jsonl'), stops)


def _stats_differences(lines: list[dict[str, Any]], expected: list[dict[str, Any]], stops: set[float]) -> list[str]:
    """A tick in which the run was told to stop has a line for each of its parts. A run that stops draws, so its line has the
    variety of its pictures, even where the undisturbed run drew none. stops: where sessions began, in kimg."""
    wanted = {_kimg(line): line for line in expected}
    found, parts = [], []
    for line in lines:
        parts.append(line)
        if _kimg(line) in wanted:
            whole = wanted.pop(_kimg(line))
            drawn = {VARIETY: line[VARIETY]} if VARIETY in line and VARIETY not in whole and _kimg(line) in stops else {}
            same = _timeless(line) == _timeless(whole) | drawn if len(parts) == 1 else _add_up(parts, whole)
            found += [] if same else [f'stats.jsonl differs at {_kimg(line):g} kimg']
            parts = []
    found += [f'stats.jsonl has no line at {kimg:g} kimg' for kimg in wanted]
    return found + [f'stats.jsonl has a line too many at {_kimg(line):g} kimg' for line in parts]


def _kimg(line: dict[str, Any]) -> float:
    return line['Progress/kimg']['mean']


def _timeless(line: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in line.items() if not name.startswith(TIMES)}


def _add_up(parts: list[dict[str, Any]], whole: dict[str, Any]) -> bool:
    """Whether counts and sums of what is reported at every step are those of the whole tick."""
    for name, values in whole.items():
        if name.startswith(EVERY_STEP):
            found = [part[name] for part in parts if name in part and part[name]['num']]
            total = sum(part['num'] * part['mean'] for part in found)
            if sum(part['num'] for part in found) != values['num'] or (values['num'] and not math.isclose(
                    total, values['num'] * values['mean'], rel_tol=1e-6, abs_tol=1e-6)):
                return False
    return True
