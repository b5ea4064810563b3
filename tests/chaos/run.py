"""Disturb training runs by faults until they are complete, and compare them with runs that nothing disturbed.

Each case trains a tiny network, one of the methods, on one rank or two. Its faults are drawn by the seed; how far the run is
when they come depends on the machine. Exit status 1: a run ended otherwise than the undisturbed one, hung, or left something.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from helpers.background import METHODS, TINY, write_images  # noqa: E402

from chaos import place  # noqa: E402
from chaos.compare import differences  # noqa: E402
from chaos.disturbed import DisturbedRun, Problem  # noqa: E402
from chaos.faults import WEIGHTS, Fault, draw  # noqa: E402

CASES = [(method, ranks) for method in ('plain', *METHODS) for ranks in (1, 2)]
# Seven ticks, six snapshots. Each tick has a step of each phase: without one, its line repeats what the tick before had, which a
# run that has just been resumed does not know.
SHORT = ['--kimg=2', '--batch=80', '--tick=0.32', '--snap=1', '--keep=2', '--penalty-interval=4']
MORE = {'flow': ['--post-hoc-ema=1']}  # options of some methods


class Chaos:
    """Cases in turn; counts what happened."""

    def __init__(self, where: place.Place, seed: int, faults: int):
        self._place, self._seed, self._faults = where, seed, faults
        self._data = write_images(where.root / 'images')
        self._expected: dict[tuple[str, int], tuple[Path, float]] = {}
        self._begun = time.monotonic()
        self.applied, self.skipped = collections.Counter(), collections.Counter()
        self.starts = self.cases = self.left = 0

    def run_case(self, number: int) -> None:
        """Raises Problem."""
        method, ranks = CASES[number % len(CASES)]
        name = f'case {number} ({method}, {ranks} rank{"s" * (ranks > 1)})'
        options = [f'--data={self._data}', *TINY, *SHORT, *METHODS.get(method, ['--aug=noaug']), *MORE.get(method, []),
                   f'--gpus={ranks}']
        self._place.set_clock(0) if self._place.has_clock else None
        expected, seconds = self._undisturbed(method, ranks, options)
        outdir = self._place.disk / 'runs'
        logs = self._place.root / f'case{number}'
        logs.mkdir()
        before = set(self._place.remains())
        run = DisturbedRun(self._place, outdir, options, seconds, logs, lambda fault, what: self._tell(name, fault, what))
        try:
            run.survive(draw(random.Random(f'{self._seed}/{number}'), self._faults))
            found = differences(run.run_dir, expected) + self._leftovers(run, before)
            if found:
                raise Problem('; '.join(found))
        except Problem as err:
            shutil.copytree(outdir, logs / 'runs')
            raise Problem(f'{name}: {err}; its logs and files are in {logs}') from None
        finally:
            self.starts += len(run.sessions)
        self.cases += 1
        shutil.rmtree(outdir)
        shutil.rmtree(logs)
        print(f'{self._now()} {name}: complete after {len(run.sessions)} starts, equal to the undisturbed run', flush=True)

    def _undisturbed(self, method: str, ranks: int, options: list[str]) -> tuple[Path, float]:
        """(its directory, its seconds)."""
        if (method, ranks) not in self._expected:
            outdir = self._place.root / f'undisturbed-{method}-{ranks}'
            start = time.monotonic()
            run = DisturbedRun(self._place, outdir / 'runs', options, 60, outdir, lambda *_: None)
            outdir.mkdir()
            run.survive([])
            self._expected[method, ranks] = run.run_dir, time.monotonic() - start
        return self._expected[method, ranks]

    def _leftovers(self, run: DisturbedRun, before: set[str]) -> list[str]:
        """Files that should be gone. What Python leaves of processes that were killed, folders and semaphores, is counted. The
        next launcher removes our own folders, so there is at most one."""
        found = [f'{path.name} is left' for path in run.run_dir.iterdir()
                 if path.name.endswith('.tmp') or '.previous.' in path.name]
        states = len(list(run.run_dir.glob('training-state-*.pt')))
        found += [f'{states} training states are left'] if states != 2 else []
        remains = set(self._place.remains()) - before
        self.left += len(remains)
        folders = [path for path in self._place.remains() if 'stylegan-ranks-' in path]
        found += [f'folders of killed launchers are left: {", ".join(folders)}'] if len(folders) > 1 else []
        if remains and not run.was_killed:
            found.append(f'left behind: {", ".join(sorted(remains))}')
        return found

    def _tell(self, name: str, fault: Fault, what: str) -> None:
        (self.skipped if what.startswith('skipped') else self.applied)[fault.kind] += 1
        print(f'{self._now()} {name}: {fault.kind}{", early" * fault.early}: {what}', flush=True)

    def _now(self) -> str:
        return f'{time.monotonic() - self._begun:7.1f} s '

    def table(self) -> str:
        lines = [f'{"fault":<12} {"happened":>8} {"skipped":>8}']
        lines += [f'{kind:<12} {self.applied[kind]:8d} {self.skipped[kind]:8d}' for kind in WEIGHTS]
        return '\n'.join([*lines, f'{self.cases} runs complete and equal, {self.starts} starts, '
                          f'{time.monotonic() - self._begun:.0f} s; killed processes left {self.left} of Python\'s temporary '
                          'folders and semaphores'])


def _stop(signum: int, frame: object) -> None:
    """End the runs, too; a second signal must not disturb that."""
    signal.signal(signum, signal.SIG_IGN)
    sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=60, help='begin no case after that (default: 60)')
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6), help='of the faults (default: any)')
    parser.add_argument('--case', type=int, help='only the case of this number')
    parser.add_argument('--faults', type=int, default=10, help='in each case (default: 10)')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    place.enter_namespace()
    end = time.monotonic() + 60 * args.minutes
    with place.Place() as where:
        print(f'seed {args.seed}, in {where.root}; a disk of its own: {where.mounts}, a clock: {where.has_clock}', flush=True)
        chaos = Chaos(where, args.seed, args.faults)
        number = args.case or 0
        try:
            while True:
                chaos.run_case(number)
                number += 1
                if args.case is not None or time.monotonic() > end:
                    break
        except Problem as err:
            print(f'{chaos.table()}\nFAILED: {err}\nTo repeat: {sys.executable} {sys.argv[0]} --seed={args.seed} --case={number} '
                  f'--faults={args.faults}')
            sys.exit(1)
        print(f'{chaos.table()}\nPASSED')
    shutil.rmtree(where.root)


if __name__ == '__main__':
    main()
