"""Output of results: a line of JSON, and a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import atomic_open
from dnnlib.jsonl import append_line, read_lines
from metrics.context import Result
from metrics.progress_curve import Point, number, save_curve, table
from metrics.subjects import Subject

MOST_COLUMNS = 4  # networks per table
LONGEST_HEADING = 40  # characters


def write_report(result: Result, record: dict[str, Any], run_dir: str | Path | None, snapshot: str, name: str,
                 seed: int = 0) -> None:
    """Print the record of one metric (registry.calc_metric) as a line of JSON, and its notes.

    With an existing run_dir, append that line to metric-<metric>.jsonl there, and save the figure, if any, as
    <metric>-<name>.png. snapshot: name of the network in the record. seed: of the evaluation; in the record if it is not 0.
    Raises UserError if the files cannot be written.
    """
    line = {**record, 'snapshot_pkl': snapshot, 'timestamp': time.time(), **({'seed': seed} if seed else {})}
    for note in result.notes:
        print(note)
    print(json.dumps(line, allow_nan=False), flush=True)
    if run_dir is None:
        return
    path = Path(run_dir, f'metric-{record["metric"]}.jsonl')
    try:
        append_line(path, line)
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
    """A table of the results of one metric, a column for each network. names: of the networks, as headings. If they are long, the
    headings are letters, and a list below the table has the names."""
    headings, legend = names, []
    if max(map(len, names)) > LONGEST_HEADING:
        headings = [chr(ord('A') + i) for i in range(len(names))]
        legend = [f'{heading}: {name}' for heading, name in zip(headings, names, strict=True)]
    keys = list(dict.fromkeys(key for record in records for key in record['results']))
    rows = [['', *headings], *([key, *(number(record['results'].get(key)) for record in records)] for key in keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
             for row in rows]
    return '\n'.join([*lines, *legend])


class Records:
    """The records of the networks of this program, and earlier records in files.

    outdir: the folder of all files; None if each is in the run directory of its network. seed: of the evaluations. eval_data: the
    path of --eval-data, if any.
    """

    def __init__(self, outdir: str | Path | None, seed: int, eval_data: str | None = None):
        self._outdir, self._seed, self._eval_data = outdir and Path(outdir), seed, eval_data
        self._found: dict[tuple[str, str], dict[str, Any]] = {}
        self._files: dict[Path, list[dict[str, Any]]] = {}

    def add(self, metric: str, subject: Subject, record: dict[str, Any]) -> None:
        """Add a new record (registry.calc_metric) of one network."""
        self._found[metric, subject.name] = record

    def find(self, metric: str, subject: Subject) -> dict[str, Any] | None:
        """The record of a metric and network: a new one, or else the last one in the file with the same seed and eval data."""
        if (metric, subject.name) in self._found:
            return self._found[metric, subject.name]
        folder = self._outdir or subject.run_dir
        if folder is None:
            return None
        path = folder / f'metric-{metric}.jsonl'
        if path not in self._files:
            self._files[path] = read_lines(path) if path.is_file() else []
        wanted = (subject.relative_to(folder), self._seed, self._eval_data)
        same = [record for record in self._files[path] if isinstance(record.get('results'), dict)
                and (record.get('snapshot_pkl'), record.get('seed', 0), record.get('eval_data')) == wanted]
        return same[-1] if same else None

    def summarise(self, metric: str, subjects: Sequence[Subject]) -> None:
        """Print a table of a metric for several networks. Draw its curve if there are several snapshots of a run:
        metric-<metric>.png in the folder of the records."""
        there = [(subject, record) for subject in subjects if (record := self.find(metric, subject)) is not None]
        if len(there) < 2:
            return
        snapshots = all(subject.kimg is not None and subject.run_dir is not None for subject, _ in there)
        points = [Point(subject.run_dir.resolve().name if subject.run_dir else '', subject.name,
                        subject.kimg if snapshots else None, record['results']) for subject, record in there]
        several = snapshots and len({point.run for point in points}) < len(points)
        text = table(metric, points) if several or len(points) > MOST_COLUMNS else comparison(
            [record for _, record in there], [subject.name for subject, _ in there])
        print(f'\n{metric}:\n{text}\n' if several else f'\n{text}\n', flush=True)
        if several:
            for folder in dict.fromkeys(self._outdir or subject.run_dir for subject, _ in there):
                mine = [p for p, (subject, _) in zip(points, there, strict=True) if folder in (self._outdir, subject.run_dir)]
                self._draw(metric, mine, folder / f'metric-{metric}.png')

    @staticmethod
    def _draw(metric: str, points: Sequence[Point], path: Path) -> None:
        if len(points) < 2:
            return
        try:
            print(f'Wrote {save_curve(metric, points, path)}', flush=True)
        except OSError as err:
            raise UserError(f'{path}: cannot be written ({err.strerror}); choose another --outdir') from err
