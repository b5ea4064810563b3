"""Ends a run whose losses are NaN or infinite."""

from __future__ import annotations

import re
from pathlib import Path

from torch_utils import training_stats

SUMS = ('loss', 'reg')  # of the terms of a phase, reported after these terms


class Health:
    """Checks the losses of each tick, Loss/<net>/<term>.

    run_dir: where the snapshots are. start_nimg: images seen before this run. resume_pkl: the snapshot it resumes from.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int, resume_pkl: str | None = None):
        self._run_dir, self._resume_pkl = Path(run_dir), resume_pkl
        self._healthy_nimg = start_nimg  # all losses were finite up to here
        self._collector = training_stats.Collector('Loss/[^/]+/[^/]+', keep_previous=False)

    def check(self, cur_nimg: int) -> str | None:
        """Check the losses at the end of a tick, before anything is saved. Returns one line with the problem and the remedy, or
        None.

        A loss is lost if it was NaN or infinite every time it was computed in the tick. Single bad steps do not stop a run,
        because the optimiser recovers from them; but later snapshots are not called good. All ranks must call this together. They
        get the same result.
        """
        self._collector.update()
        reports = {name: self._collector.reports(name) for name in self._collector.names()}
        bad = {name: times for name, times in reports.items() if times[1]}
        lost = [name for name, (times, not_finite) in bad.items() if times == not_finite]
        if lost:
            terms = [name for name in lost if name.split('/')[-1] not in SUMS] or lost
            what = ', '.join(f'{name} ({bad[name][1]} of {bad[name][0]} times)' for name in terms)
            return f'loss was NaN or Inf at every step of the tick ending at {cur_nimg / 1000:g} kimg: {what}; {self._advice()}'
        if not bad:
            self._healthy_nimg = cur_nimg
        return None

    def _advice(self) -> str:
        changes = 'a smaller learning rate (--glr, --dlr), a larger --gamma, or --fp32=1'
        good = self._last_good_snapshot()
        if good is None:
            return f'there is no good snapshot yet: start again with {changes}'
        return f'the last good snapshot is {good}: resume from it (--resume) with {changes}'

    def _last_good_snapshot(self) -> str | None:
        """The newest snapshot of this run from before the first bad step, or else the one that the run resumed from."""
        found = {}
        for path in self._run_dir.glob('network-snapshot-*.pkl'):
            match = re.fullmatch(r'network-snapshot-(\d+)', path.stem)
            if match and int(match[1]) <= self._healthy_nimg // 1000:
                found[int(match[1])] = path
        return str(found[max(found)]) if found else self._resume_pkl
