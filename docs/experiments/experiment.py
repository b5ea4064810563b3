"""Shared code of the experiments: train cells from every seed, measure and draw them, and compare them with a control.

A cell is one training setup. All cells of a seed share the initial weights, the order of the data and the latents. A cell may
continue training from another cell of the same seed. Finished cells are skipped; interrupted cells are resumed. Several cells may
train at the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import comparison
from comparison import Measure
from jobs import ROOT, Job, Stopped, run_jobs

EXPERIMENTS = Path(__file__).resolve().parent


class Cell(NamedTuple):
    """One training setup. kimg: total length, including the cell that this one continues."""

    title: str
    options: Sequence[str]  # options of train.py; {name} stands for the path of a dataset
    kimg: int
    start: str | None = None  # name of the cell that this one continues


class Evaluation(NamedTuple):
    """One call of calc_metrics.py, or of another program with such options, for all finished cells or for the named ones.
    curve: for all snapshots of their runs, instead of the last."""

    options: Sequence[str]
    cells: Sequence[str] | None = None
    curve: bool = False
    program: str = 'calc_metrics.py'


@dataclass(frozen=True)
class Experiment:
    """What is trained and measured. folder: folder of the experiment's run.py; results/ is inside it."""

    folder: Path
    datasets: Mapping[str, Sequence[str]]  # name -> options of dataset_tool.py
    common: Sequence[str]  # options of train.py for all cells
    cells: Mapping[str, Cell]
    control: str
    measures: Mapping[str, Measure]  # keys are those of the metrics' results
    evaluations: Sequence[Evaluation]
    curve: str | None = None  # key of a measure that is drawn over the length of training
    picture: Sequence[str] = ()  # command and options of generate.py; --network and --outdir are added


class Work:
    """An experiment with a folder for its runs and a device. scale: factor on all lengths, for a trial. jobs: number of cells
    that train at the same time. If there are several, their output is in files beside their runs."""

    def __init__(self, experiment: Experiment, runs: Path, results: Path, device: str = 'cpu', scale: float = 1, jobs: int = 1):
        self.experiment, self.runs, self.results, self.device, self.scale = experiment, runs, results, device, scale
        self.jobs = jobs
        self.paths = {name: runs / f'{name}.zip' for name in experiment.datasets}

    def complete(self, seeds: Sequence[int], cells: Sequence[str], measure: bool = True) -> dict[str, str]:
        """Train these cells of all seeds, and the cells that they continue. Then measure all finished cells. One job completes a
        seed before the next one. Returns the cells that failed, with reasons."""
        for name, options in self.experiment.datasets.items():
            if not self.paths[name].exists():
                call('dataset_tool.py', *options, f'--dest={self.paths[name]}')
        failed: dict[str, str] = {}
        for group in [[seed] for seed in seeds] if self.jobs == 1 else [seeds]:
            failed |= self.train(group, cells)
            if measure:
                self.measure_all(group)
        return failed

    def train(self, seeds: Iterable[int], cells: Iterable[str]) -> dict[str, str]:
        """Train cells to their full lengths, first those that others continue. Returns those that failed, with reasons."""
        names = dict.fromkeys(before for name in cells for before in self.chain(name))
        return run_jobs({f'seed{seed}/{name}': self.job(seed, name) for seed in seeds for name in names}, self.jobs)

    def chain(self, name: str) -> list[str]:
        """The cells that one continues, the first one first, and itself."""
        start = self.experiment.cells[name].start
        return [*([] if start is None else self.chain(start)), name]

    def job(self, seed: int, name: str) -> Job:
        start, outdir = self.experiment.cells[name].start, self.outdir(seed, name)
        return Job(command=lambda: self.command(seed, name), succeeded=lambda: self.snapshot(seed, name) is not None,
                   log=None if self.jobs == 1 else Path(f'{outdir}.txt'),
                   needs=None if start is None else f'seed{seed}/{start}')

    def command(self, seed: int, name: str) -> list[str]:
        """The command that trains a cell, or resumes it."""
        cell, outdir = self.experiment.cells[name], self.outdir(seed, name)
        start = None if cell.start is None or newest(outdir) else self.snapshot(seed, cell.start)
        return [sys.executable, str(ROOT / 'train.py'), *self.filled(self.experiment.common), *self.filled(cell.options),
                f'--outdir={outdir}', f'--kimg={self.kimg(name)}', f'--seed={seed}', f'--resume={start or "latest"}',
                f'--desc={name}', f'--device={self.device}']

    def measure_all(self, seeds: Iterable[int]) -> None:
        """Measure seeds, several at the same time."""
        pool = ThreadPoolExecutor(self.jobs)
        try:
            list(pool.map(self.measure, seeds))
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C, no other seed starts

    def measure(self, seed: int) -> None:
        """Evaluate the finished cells of one seed, draw them, and write the seed's JSON."""
        found = {name: path for name in self.experiment.cells if (path := self.snapshot(seed, name))}
        if not found:
            return
        for options, only, curve, program in self.experiment.evaluations:
            paths = [path.parent if curve else path for name, path in found.items() if only is None or name in only]
            if paths:
                call(program, *self.filled(options), '--missing-only', '--seed=0', '--verbose=0', f'--device={self.device}',
                     *(f'--network={path}' for path in paths))
        self.results.mkdir(parents=True, exist_ok=True)
        cells = {name: dict(kimg=self.kimg(name), **values(path, self.experiment.curve)) for name, path in found.items()}
        write_json(self.results / f'seed{seed}.json', dict(seed=seed, device=self.device, cells=cells))
        if self.experiment.picture:
            self.draw(seed, found)

    def draw(self, seed: int, found: Mapping[str, Path]) -> None:
        """Draw the samples of each cell, and one picture of all cells."""
        command, *options = self.experiment.picture
        for path in found.values():
            picture = path.parent / f'{command}.png'
            if not picture.exists():
                outdir = path.parent / command if command == 'images' else path.parent
                call('generate.py', command, f'--network={path}', f'--outdir={outdir}', *options, f'--device={self.device}')
                if command == 'images':
                    comparison.draw_grid(sorted(outdir.glob('seed*.png')), picture)
        pictures = {self.experiment.cells[name].title: path.parent / f'{command}.png' for name, path in found.items()}
        comparison.draw_sheet(pictures, self.results / f'seed{seed}.png')

    def snapshot(self, seed: int, name: str) -> Path | None:
        """Last snapshot of a finished cell."""
        path = newest(self.outdir(seed, name))
        return path if path and path.name == f'network-snapshot-{self.kimg(name):06d}.pkl' else None

    def outdir(self, seed: int, name: str) -> Path:
        return self.runs / f'seed{seed}' / f'{name}-{self.kimg(name)}'

    def kimg(self, name: str) -> int:
        cell = self.experiment.cells[name]
        before, done = (0, 0) if cell.start is None else (self.experiment.cells[cell.start].kimg, self.kimg(cell.start))
        return done + max(1, round((cell.kimg - before) * self.scale))

    def filled(self, options: Sequence[str]) -> list[str]:
        """Replace the names of datasets in braces by their paths."""
        return [option.format_map(self.paths) for option in options]


def newest(outdir: Path) -> Path | None:
    """Newest network snapshot in a folder of runs."""
    return max(outdir.glob('*/network-snapshot-*.pkl'), key=lambda path: path.name, default=None)


def values(snapshot: Path, curve: str | None = None) -> dict[str, Any]:
    """Measurements of a snapshot, and the seconds per kimg of its run (median over ticks, wall-clock time).

    curve: key of a measure of all snapshots of the run. Adds {kimg: value} as `curve`, and how far the value of this snapshot is
    above the smallest as <key>_above_best."""
    found: dict[str, Any] = {}
    points: dict[str, float] = {}
    for path in sorted(snapshot.parent.glob('metric-*.jsonl')):
        for line in lines(path):
            if line['snapshot_pkl'] == snapshot.name:
                found |= line['results']
            if line['results'].get(curve) is not None:
                points[str(int(Path(line['snapshot_pkl']).stem.rsplit('-')[-1]))] = line['results'][curve]
    if curve in found:
        found |= {f'{curve}_above_best': found[curve] - min(points.values()), 'curve': points}
    ticks = [line['Timing/sec_per_kimg'] for line in lines(snapshot.parent / 'stats.jsonl')]
    return {**found, 'sec_per_kimg': statistics.median(t['mean'] if isinstance(t, dict) else t for t in ticks)}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def write_json(path: Path, content: dict) -> None:
    """Write JSON atomically: an interruption leaves the old file."""
    new = path.with_suffix('.new')
    new.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    new.replace(path)


def call(script: str, *args: object) -> None:
    status = subprocess.run([sys.executable, str(ROOT / script), *map(str, args)], cwd=ROOT).returncode
    if status:
        raise SystemExit(f'{script} ended with status {status}; what it printed says why')


def main(description: str, *experiments: Experiment) -> None:
    """Command line of every run.py. With several experiments, which share their cells, the first argument selects one."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    by_name = {experiment.folder.name: experiment for experiment in experiments}
    experiment = experiments[0]
    if len(experiments) > 1:
        parser.add_argument('name', choices=by_name, help='which experiment')
    parser.add_argument('--seeds', default='0,1,2', metavar='LIST', help='seeds, one after the other (default: %(default)s)')
    parser.add_argument('--cells', default=','.join(experiment.cells), metavar='LIST',
                        help='what to train (default: %(default)s)')
    parser.add_argument('--scale', type=float, default=1, metavar='X',
                        help='multiply all lengths, for a trial; its results lie beside its runs (default: 1)')
    parser.add_argument('--device', default='cpu', help='of all commands (default: cpu)')
    parser.add_argument('--runs', type=Path, metavar='DIR', help='where to train (default: below runs/)')
    parser.add_argument('--results', type=Path, metavar='DIR', help='where the JSON and the pictures are')
    parser.add_argument('--jobs', type=int, default=1, metavar='N',
                        help='train N cells at the same time, of all seeds, with their output in files below --runs (default: 1)')
    stages = parser.add_mutually_exclusive_group()
    stages.add_argument('--train', action='store_true', help='train without measuring')
    stages.add_argument('--measure', action='store_true', help='measure what is trained so far, without training')
    stages.add_argument('--table', action='store_true', help='print the table and draw the plot of --results')
    args = parser.parse_args()
    experiment = by_name[getattr(args, 'name', experiment.folder.name)]
    runs = args.runs or ROOT / 'runs' / experiment.folder.relative_to(EXPERIMENTS)
    cells = args.cells.split(',')
    if unknown := set(cells) - set(experiment.cells):
        parser.error(f'--cells: unknown {min(unknown)}; choose from {", ".join(experiment.cells)}')
    if not all(seed.isdecimal() for seed in args.seeds.split(',')):
        parser.error(f'--seeds={args.seeds} must be numbers with commas between them')
    if args.jobs < 1:
        parser.error(f'--jobs={args.jobs} must be at least 1')
    seeds = [int(seed) for seed in args.seeds.split(',')]
    results = args.results or (experiment.folder if args.scale == 1 else runs) / 'results'
    work = Work(experiment, runs.absolute(), results.absolute(), args.device, args.scale, args.jobs)
    failed: dict[str, str] = {}
    try:
        if args.measure:
            work.measure_all(seeds)
        elif not args.table:
            failed = work.complete(seeds, cells, measure=not args.train)
    except Stopped:
        raise SystemExit('stopped; the same command continues') from None
    for name, reason in failed.items():
        print(f'{name}: {reason}', file=sys.stderr)
    if not args.train:
        show(experiment, results)
    if failed:
        raise SystemExit(f'{len(failed)} cells did not finish: {", ".join(failed)}; the same command continues')


def show(experiment: Experiment, results: Path) -> None:
    """Print the table and draw the plot."""
    found = comparison.read_results(results, experiment.control)
    if not found:
        raise SystemExit(f'{results}: has no seed<N>.json with {experiment.control} yet; run this program without --table first')
    titles = {key: cell.title for key, cell in experiment.cells.items()}
    print(comparison.table(found, titles, experiment.measures, experiment.control))
    comparison.draw_points(found, list(titles), experiment.measures, results / 'points.png')
    if experiment.curve is not None:
        comparison.draw_curves(found, titles, experiment.measures[experiment.curve].heading, results / 'curves.png')
