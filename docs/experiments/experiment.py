"""Shared code of the experiments: train cells from every seed, measure and draw them, and compare them with a control.

A cell is one training setup. All cells of a seed share the initial weights, the order of the data and the latents. A cell may
continue training from another cell of the same seed. Finished cells are skipped; interrupted cells are resumed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import comparison
from comparison import Measure

EXPERIMENTS = Path(__file__).resolve().parent
ROOT = EXPERIMENTS.parents[1]

# Options of train.py: small networks of 32x32 pixels. They draw varied digits and letters after 100 kimg, in 40 minutes on one
# core.
SMALL = ['--z-dim=64', '--batch=16', '--cbase=512', '--cmax=64', '--map-depth=1', '--concat-dim=16', '--noise=0', '--mixing=0',
         '--pl-weight=0', '--aug=noaug', '--loss=relativistic', '--r2=1', '--gamma=0.1', '--penalty-interval=4', '--fp32=1',
         '--workers=1', '--metrics=none', '--wandb=disabled', '--tick=2', '--snap=4', '--keep=1']


class Cell(NamedTuple):
    """One training setup. kimg: total length, including the cell that this one continues."""

    title: str
    options: Sequence[str]  # options of train.py; {name} stands for the path of a dataset
    kimg: int
    start: str | None = None  # name of the cell that this one continues


class Evaluation(NamedTuple):
    """One call of calc_metrics.py, for all finished cells or for the named ones."""

    options: Sequence[str]
    cells: Sequence[str] | None = None


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
    picture: Sequence[str] = ()  # command and options of generate.py; --network and --outdir are added


class Work:
    """An experiment with a folder for its runs and a device. scale: factor on all lengths, for a trial."""

    def __init__(self, experiment: Experiment, runs: Path, results: Path, device: str = 'cpu', scale: float = 1):
        self.experiment, self.runs, self.results, self.device, self.scale = experiment, runs, results, device, scale
        self.paths = {name: runs / f'{name}.zip' for name in experiment.datasets}

    def complete(self, seed: int, cells: Sequence[str]) -> None:
        """Train these cells of one seed, and the cells that they continue. Then measure all finished cells."""
        for name, options in self.experiment.datasets.items():
            if not self.paths[name].exists():
                call('dataset_tool.py', *options, f'--dest={self.paths[name]}')
        for cell in cells:
            self.train(seed, cell)
        self.measure(seed)

    def train(self, seed: int, name: str) -> None:
        """Train a cell to its full length."""
        if self.snapshot(seed, name):
            return
        cell, outdir = self.experiment.cells[name], self.outdir(seed, name)
        resume: Path | str = 'latest'
        if cell.start is not None:
            self.train(seed, cell.start)
            if newest(outdir) is None:
                resume = self.snapshot(seed, cell.start) or resume
        call('train.py', *self.filled(self.experiment.common), *self.filled(cell.options), f'--outdir={outdir}',
             f'--kimg={self.kimg(name)}', f'--seed={seed}', f'--resume={resume}', f'--desc={name}', f'--device={self.device}')
        if not self.snapshot(seed, name):
            raise SystemExit(f'{outdir}: stopped before {self.kimg(name)} kimg; the same command continues')

    def measure(self, seed: int) -> None:
        """Evaluate the finished cells of one seed, draw them, and write the seed's JSON."""
        found = {name: path for name in self.experiment.cells if (path := self.snapshot(seed, name))}
        if not found:
            return
        for options, only in self.experiment.evaluations:
            networks = [f'--network={path}' for name, path in found.items() if only is None or name in only]
            if networks:
                call('calc_metrics.py', *self.filled(options), '--missing-only', '--seed=0', '--verbose=0',
                     f'--device={self.device}', *networks)
        self.results.mkdir(parents=True, exist_ok=True)
        cells = {name: dict(kimg=self.kimg(name), **values(path)) for name, path in found.items()}
        write_json(self.results / f'seed{seed}.json', dict(seed=seed, device=self.device, cells=cells))
        if self.experiment.picture:
            self.draw(seed, found)

    def draw(self, seed: int, found: Mapping[str, Path]) -> None:
        """Draw the samples of each cell, and one picture of all cells."""
        command, *options = self.experiment.picture
        for path in found.values():
            if not (path.parent / f'{command}.png').exists():
                call('generate.py', command, f'--network={path}', f'--outdir={path.parent}', *options, f'--device={self.device}')
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


def values(snapshot: Path) -> dict[str, Any]:
    """Measurements of a snapshot, and the seconds per kimg of its run (median over ticks, wall-clock time)."""
    found: dict[str, Any] = {}
    for path in sorted(snapshot.parent.glob('metric-*.jsonl')):
        for line in lines(path):
            if line['snapshot_pkl'] == snapshot.name:
                found |= line['results']
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
    parser.add_argument('--measure', action='store_true', help='measure what is trained so far, without training')
    parser.add_argument('--table', action='store_true', help='print the table and draw the plot of --results')
    args = parser.parse_args()
    experiment = by_name[getattr(args, 'name', experiment.folder.name)]
    runs = args.runs or ROOT / 'runs' / experiment.folder.relative_to(EXPERIMENTS)
    cells = args.cells.split(',')
    if unknown := set(cells) - set(experiment.cells):
        parser.error(f'--cells: unknown {min(unknown)}; choose from {", ".join(experiment.cells)}')
    if not all(seed.isdecimal() for seed in args.seeds.split(',')):
        parser.error(f'--seeds={args.seeds} must be numbers with commas between them')
    results = args.results or (experiment.folder if args.scale == 1 else runs) / 'results'
    if not args.table:
        work = Work(experiment, runs.absolute(), results.absolute(), args.device, args.scale)
        for seed in map(int, args.seeds.split(',')):
            if args.measure:
                work.measure(seed)
            else:
                work.complete(seed, cells)
    found = comparison.read_results(results, experiment.control)
    if not found:
        raise SystemExit(f'{results}: has no seed<N>.json with {experiment.control} yet; run this program without --table first')
    titles = {key: cell.title for key, cell in experiment.cells.items()}
    print(comparison.table(found, titles, experiment.measures, experiment.control))
    comparison.draw_points(found, list(titles), experiment.measures, results / 'points.png')
