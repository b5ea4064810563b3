"""best.json: which snapshot of a run is the best, by a metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dnnlib.files import atomic_open
from metrics.registry import find_metric


class Best:
    """Keeps best.json in the run directory up to date. Its keys:

      snapshot_pkl, kimg     the snapshot, and the images it has seen, in thousands
      metric, key, value     what it is the best by: the first value of a metric
      better                 'lower' or 'higher': which value is better. Of two equal values, the earlier one stays.

      eval_data              the images that the metric compares with, if they are not the training images

    metric: one with a direction (registry.Metric.better). eval_data: see above, or None. An entry of an earlier part of the run
    counts if it is for the same metric and images, and its snapshot exists.
    """

    def __init__(self, run_dir: str | Path, metric: str, eval_data: str | None = None):
        self.path, self.metric, self._better = Path(run_dir, 'best.json'), metric, find_metric(metric).better
        self._data = {} if eval_data is None else dict(eval_data=eval_data)

    def read(self) -> dict[str, Any] | None:
        """The entry in the file, if it still counts."""
        try:
            found = json.loads(self.path.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None
        wanted = dict(metric=self.metric, better=self._better, eval_data=None) | self._data
        if not isinstance(found, dict) or any(found.get(key) != value for key, value in wanted.items()):
            return None
        there = isinstance(found.get('snapshot_pkl'), str) and self.path.with_name(found['snapshot_pkl']).is_file()
        return found if there and isinstance(found.get('value'), (int, float)) else None

    def offer(self, record: dict[str, Any], snapshot_pkl: str, cur_nimg: int) -> bool:
        """Offer the result for a snapshot (registry.calc_metric). If it is the best so far, write it atomically and return True.
        Raises OSError."""
        key, value = next(iter(record['results'].items()))
        if value is None:
            return False
        before = self.read()
        if before is not None and not (value < before['value'] if self._better == 'lower' else value > before['value']):
            return False
        with atomic_open(self.path, 'w') as f:
            json.dump(dict(snapshot_pkl=snapshot_pkl, kimg=cur_nimg / 1000, metric=self.metric, key=key, value=value,
                           better=self._better, **self._data), f, indent=2)
            f.write('\n')
        return True
