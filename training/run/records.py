"""The records in a run directory: statistics of ticks, and results of metrics."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnnlib.image_size import height_width
from dnnlib.jsonl import parse_line, read_lines

KIMG = 'Progress/kimg'


@dataclass
class Curve:
    """Points of one quantity. Values that were not finite are NaN: gaps."""

    kimg: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, kimg: float, value: Any) -> None:
        """Anything but a finite number, such as null, becomes NaN."""
        self.kimg.append(kimg)
        self.values.append(number(value))


class GrowingFile:
    """A text file that another object, or process, appends to."""

    def __init__(self, path: Path):
        self.path, self._read = path, 0

    def new_lines(self) -> Iterator[str]:
        """The lines that were completed since the last call; none if there is no file."""
        try:
            with open(self.path, 'rb') as f:
                f.seek(self._read)
                data = f.read()
        except OSError:
            return
        whole = data[:data.rfind(b'\n') + 1]
        self._read += len(whole)
        yield from whole.decode('utf-8', 'replace').splitlines()


class Run:
    """The records of a run. `update` reads new lines. Damaged lines are skipped. Missing files count as empty."""

    def __init__(self, run_dir: str | Path):
        self.path = Path(run_dir)
        self.name = self.path.resolve().name
        self.curves: dict[str, Curve] = {}  # by the names of stats.jsonl, without those that were never counted
        self.metrics: dict[str, Curve] = {}  # by the keys of the results
        self.keys: dict[str, list[str]] = {}  # of each metric
        self.ticks = Curve()  # the time of each, in seconds
        self._stats = GrowingFile(self.path / 'stats.jsonl')
        self.update()

    def update(self) -> None:
        """Read the new ticks, and all evaluations."""
        for line in self._stats.new_lines():
            self._add_tick(parse_line(line) or {})
        self.metrics, self.keys = {}, {}
        for path in sorted(self.path.glob('metric-*.jsonl')):
            self._add_metric(path.stem.removeprefix('metric-'), read_records(path))

    @property
    def kimg(self) -> float:
        """Where the last tick ended, in thousands of images; 0 before the first."""
        return self.ticks.kimg[-1] if self.ticks.kimg else 0.0

    def options(self) -> dict[str, Any]:
        """The configuration in training_options.json; {} if it can't be read."""
        try:
            options = json.loads((self.path / 'training_options.json').read_text(encoding='utf-8'))
        except (OSError, ValueError, RecursionError):
            return {}
        return options if isinstance(options, dict) else {}

    def newest_fakes(self) -> Path | None:
        """The latest picture of generated images."""
        return max(self.path.glob('fakes[0-9]*.png'), key=lambda path: int(re.sub(r'\D', '', path.stem)), default=None)

    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images, if training_options.json says so."""
        try:
            return height_width(self.options()['training_set_kwargs']['resolution'])
        except (ValueError, KeyError, TypeError):
            return None

    def _add_tick(self, line: dict[str, Any]) -> None:
        position = line.get(KIMG)
        kimg = number(position.get('mean')) if isinstance(position, dict) else math.nan
        if not math.isfinite(kimg):
            return
        self.ticks.add(kimg, line.get('timestamp'))
        for name, values in line.items():
            if isinstance(values, dict) and values.get('num'):
                self.curves.setdefault(name, Curve()).add(kimg, values.get('mean'))

    def _add_metric(self, name: str, records: list[dict[str, Any]]) -> None:
        found: dict[str, dict[float, Any]] = {}  # the last of each snapshot
        for record in records:
            kimg = re.search(r'network-snapshot-(\d+)', str(record.get('snapshot_pkl')))
            results = record.get('results')
            data = f' ({record["eval_data"]})' if record.get('eval_data') else ''  # of other images: another curve
            # calc_metrics.py --outdir may have added the result of another run's network: it is not part of these curves.
            own = kimg is not None and (not self.ticks.kimg or float(kimg[1]) <= self.kimg)
            for key, value in results.items() if kimg and own and isinstance(results, dict) else ():
                found.setdefault(key + data, {})[float(kimg[1])] = value
        for key, values in found.items():
            self.keys.setdefault(name, []).append(key)
            self.metrics[key] = Curve()
            for kimg, value in sorted(values.items()):
                self.metrics[key].add(kimg, value)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; [] if it can't be read."""
    try:
        return read_lines(path)
    except (OSError, RecursionError):
        return []


def number(value: Any) -> float:
    """A finite float; NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan
