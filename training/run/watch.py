"""Watches over a run: reports each problem once, in the log and in health.jsonl, and stops the run on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dnnlib.jsonl import append_line, read_lines
from training.run import symptoms
from training.run.loggers.jsonl import keep_lines

FILE = 'health.jsonl'  # {"kimg": float, "rule": str, "text": str}


class Watch:
    """Knows the statistics of all ticks of a run, including those before it resumed in its directory.

    c: the configuration; c['stop_on']: names of rules that stop the run. say: prints a line. Only rank 0 needs a Watch. Create it
    when stats.jsonl has no ticks beyond start_nimg.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int, c: Mapping[str, Any], say: Callable[[str], None]):
        self._path, self._say = Path(run_dir, FILE), say
        self._settings, self._stop_on = symptoms.Settings.of(c), c.get('stop_on') or ()
        self._history = [means(line) for line in read_lines(Path(run_dir, 'stats.jsonl'))]
        self._active = set(symptoms.find(self._history, self._settings))  # already reported
        keep_lines(self._path, lambda line: line.get('kimg', 0) * 1000 <= start_nimg)
        self.stopped_by: str | None = None

    def look(self, stats: Mapping[str, Any], cur_nimg: int) -> dict[str, str]:
        """After a tick with these statistics: report and return new problems. `stopped_by` is set while a problem lasts that
        stops the run. A rule reports again after it has ceased to hold."""
        self._history.append(means(stats))
        found = symptoms.find(self._history, self._settings)
        new = {name: text for name, text in found.items() if name not in self._active}
        self._active = set(found)
        for name, text in new.items():
            self._say(f'warning: {name}: {text}')
            try:
                append_line(self._path, dict(kimg=cur_nimg / 1000, rule=name, text=text))
            except OSError as err:
                self._say(f'Error: {self._path} could not be written ({err.strerror}); training continues')
        self.stopped_by = next((f'--stop-on={name}: {text}' for name, text in found.items() if name in self._stop_on), None)
        return new


def means(stats: Mapping[str, Any]) -> dict[str, float]:
    """The known and finite means in a line of stats.jsonl."""
    found = {name: values.get('mean') for name, values in stats.items() if isinstance(values, Mapping) and values.get('num')}
    return {name: mean for name, mean in found.items() if isinstance(mean, (int, float)) and math.isfinite(mean)}
