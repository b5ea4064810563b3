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
        if result.draw is not None:
            path = Path(run_dir, f'{record["metric"]}-{name}.png')
            with atomic_open(path) as f:
                result.draw().savefig(f, format='png', dpi=120)
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({err.strerror}); choose another --outdir') from err
