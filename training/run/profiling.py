"""--profile: where the time of some steps goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import profile, schedule

SKIPPED = 4  # steps that warm up: cuDNN's search, memory, the start of the data loader, then the profiler itself
TRACE, TABLE = 'trace.json.gz', 'profile.txt'
ROWS = 40


class Profiler:
    """Call `step` after every step, and `close` at the end.

    steps: number of steps to record after SKIPPED others; None for none. run_dir: gets TRACE (for chrome://tracing or
    ui.perfetto.dev) and TABLE, the most expensive operators. say: prints a line for the user.
    """

    def __init__(self, steps: int | None, run_dir: str | Path, say: Callable[[str], None]):
        self._steps, self._run_dir, self._say = steps, Path(run_dir), say
        self._done, self._profile = 0, None
        if steps is not None:
            self._profile = profile(schedule=schedule(wait=SKIPPED - 1, warmup=1, active=steps, repeat=1))
            self._profile.start()

    def step(self) -> None:
        """A step is over."""
        if self._profile is None:
            return
        self._done += 1
        if self._done < SKIPPED + self._steps:
            self._profile.step()
            return
        recorded, self._profile = self._profile, None
        recorded.stop()
        try:
            self._write(recorded)
        except (OSError, RuntimeError) as err:
            self._say(f'Error: {self._run_dir / TRACE} could not be written ({err}); training continues')
        else:
            self._say(f'Profiled {self._steps} steps: {self._run_dir / TRACE} (for ui.perfetto.dev), {self._run_dir / TABLE}')

    def close(self) -> None:
        """Stop. If it is still recording, the run was too short, and nothing is written."""
        if self._profile is not None:
            self._profile.stop()
            self._profile = None
            self._say(f'warning: --profile={self._steps} needs {SKIPPED + self._steps} steps, but this run had {self._done}; '
                      'nothing was written')

    def _write(self, recorded: profile) -> None:
        order = 'self_device_time_total' if torch.cuda.is_available() else 'self_cpu_time_total'
        table = recorded.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
        (self._run_dir / TABLE).write_text(f'{self._steps} steps, after {SKIPPED} others\n{table}\n', encoding='utf-8')
        unfinished = self._run_dir / f'.unfinished-{TRACE}'
        recorded.export_chrome_trace(str(unfinished))
        os.replace(unfinished, self._run_dir / TRACE)
