"""Where results go: a line of JSON, and a picture."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import atomic_open
from metrics.context import Result


def write_report(result: Result, record: dict[str, Any], run_dir: str | Path | None, snapshot: str, name: str) -> None:
    """Print the record of one metric (registry.calc_metric) as a line of JSON, and its notes.

    With a run_dir, which exists, append that line to metric-<metric>.jsonl there, and save the figure, if there is one,
    as <metric>-<name>.png. snapshot: the network, as it is to be named in the record.
    Raises UserError if the files can't be written.
    """
    line = json.dumps({**record, 'snapshot_pkl': snapshot, 'timestamp': time.time()}, allow_nan=False)
    for note in result.notes:
        print(note)
    print(line, flush=True)
    if run_dir is None:
        return
    path = Path(run_dir, f'metric-{record["metric"]}.jsonl')
    try:
        with path.open('a', encoding='utf-8') as f:
            f.write(line + '\n')
        path = Path(run_dir, f'{record["metric"]}-{name}.png')
        save_figure(result, path)
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({err.strerror}); choose another --outdir') from err


def save_figure(result: Result, path: Path) -> Path | None:
    """Write the figure of a result as PNG, and return the path; None if it has none. Raises OSError."""
    if result.draw is None:
        return None
    with atomic_open(path) as f:
        result.draw().savefig(f, format='png', dpi=120)
    return path


def comparison(records: list[dict[str, Any]], names: list[str]) -> str:
    """A table of the results of one metric, a column for each network. names: of the networks, as headings."""
    keys = list(dict.fromkeys(key for record in records for key in record['results']))
    rows = [['', *names], *([key, *(_number(record['results'].get(key)) for record in records)] for key in keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join('  '.join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
                     for row in rows)


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4g}'
