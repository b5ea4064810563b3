"""Ends a run whose losses are not numbers any more, instead of training on."""

from __future__ import annotations

import re
from pathlib import Path

from torch_utils import training_stats

SUMS = ('loss', 'reg')  # of the terms of a phase; 'loss' and 'reg' are reported after the terms they add up


class Health:
    """Looks at the losses of each tick, Loss/<net>/<term>.

    run_dir: where the snapshots are. start_nimg: the images that the run begins at. resume_pkl: what it goes on from.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int, resume_pkl: str | None = None):
        self._run_dir, self._resume_pkl = Path(run_dir), resume_pkl
        self._healthy_nimg = start_nimg  # up to here, no loss has been anything but finite
        self._collector = training_stats.Collector('Loss/[^/]+/[^/]+', keep_previous=False)

    def check(self, cur_nimg: int) -> str | None:
        """At the end of a tick, before anything is saved: what is wrong and what to do, in one line; None if all is well.

        A loss is lost if it was NaN or infinite every time that it was computed in the tick. Losses that are so now and
        then do not stop a run, for an optimiser gets over one bad step; but snapshots made from then on aren't called good.
        Several processes must call this together, and find the same.
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
        """The newest snapshot of this run from when all was well, or else the one that the run began with."""
        found = {}
        for path in self._run_dir.glob('network-snapshot-*.pkl'):
            match = re.fullmatch(r'network-snapshot-(\d+)', path.stem)
            if match and int(match[1]) <= self._healthy_nimg // 1000:
                found[int(match[1])] = path
        return str(found[max(found)]) if found else self._resume_pkl
