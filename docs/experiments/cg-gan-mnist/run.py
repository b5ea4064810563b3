"""CG-GAN on two-colour MNIST: trains, measures and draws everything in this folder, from nothing.

    python docs/experiments/cg-gan-mnist/run.py              # continues where it stopped
    python docs/experiments/cg-gan-mnist/run.py --measure    # measure what is trained so far, without training
    python docs/experiments/cg-gan-mnist/run.py --table      # the table and plot of results/, in seconds

Seed 0 is completed first, then seed 1, and so on. README.md beside this file has the question and the answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RESULTS = HERE / 'results'

COMMON = ['--z-dim=64', '--i_dim=16', '--batch=16', '--cbase=512', '--cmax=64', '--gamma=0.1', '--map-depth=1', '--concat-dim=16',
          '--noise=0', '--mixing=0', '--pl-weight=0', '--aug=noaug', '--fp32=1', '--workers=1', '--metrics=none',
          '--wandb=disabled', '--device=cpu', '--tick=2', '--snap=4', '--keep=1']
OBJECTIVE = ['--loss=relativistic', '--r2=1', '--penalty-interval=4']
CONTROL = 'continued'
CELLS = {  # the second stages, each from the same first stage; the control comes first
    CONTROL: ['--method=i-stylegan'],
    'l1-100': ['--method=cg-gan', '--lambda_imgsparse=100', '--perturb_norm=0.1'],
    'hoyer-3': ['--method=cg-gan', '--jacobian=jvp', '--jacobian-penalty=hoyer', '--lambda_imgsparse=3'],
    'l1-300': ['--method=cg-gan', '--lambda_imgsparse=300', '--perturb_norm=0.1'],
    'l1-0.1': ['--method=cg-gan', '--lambda_imgsparse=0.1', '--perturb_norm=0.1'],
    'csdi': ['--method=csdi', '--lambda_orth=1'],
}
NAMES = {'start': 'start of stage two', CONTROL: 'continued (control)', 'l1-0.1': 'L1, 0.1 (published weight)',
         'l1-100': 'L1, 100', 'l1-300': 'L1, 300', 'hoyer-3': 'Hoyer by jvp, 3', 'csdi': 'CSDI, 1'}
MEASURES = {  # key of calc_metrics.py: heading, digits
    'style_l1': ('style L1', 4), 'content_l1': ('content L1', 4), 'style_hoyer': ('style Hoyer', 3), 'variety': ('variety', 3),
    'content_classes': ('digit classes', 2), 'content_kappa': ('content κ', 2), 'domain_accuracy': ('domain accuracy', 3),
}


class Experiment:
    """One set of budgets, in one folder of runs."""

    def __init__(self, runs: Path, results: Path, first: int, second: int, cells: Sequence[str] = tuple(CELLS)):
        self.runs, self.results, self.first, self.second = runs, results, first, second
        self.cells = ['start', *cells]
        self.data = runs / 'two-color.zip'

    def complete(self, seed: int) -> None:
        """Everything of one seed."""
        if not self.data.exists():
            call('dataset_tool.py', '--source=mnist', '--domains=two-color', f'--dest={self.data}')
        for cell in self.cells:
            self.train(seed, cell)
        self.measure(seed)

    def train(self, seed: int, cell: str) -> None:
        """Train a cell to its end. An interrupted one is resumed."""
        if self.snapshot(seed, cell):
            return
        outdir, first = self.outdir(seed, cell), cell == 'start'
        kimg = self.first if first else self.first + self.second
        resume = 'latest' if first or newest(outdir) else self.snapshot(seed, 'start')
        call('train.py', *COMMON, *OBJECTIVE, *CELLS[CONTROL if first else cell], f'--data={self.data}', f'--outdir={outdir}',
             f'--kimg={kimg}', f'--seed={seed}', f'--resume={resume}', f'--desc={cell}')
        if not self.snapshot(seed, cell):
            raise SystemExit(f'{outdir}: stopped before {kimg} kimg; the same command continues')

    def measure(self, seed: int) -> None:
        """Evaluate the finished cells of one seed, draw them, and write the seed's JSON."""
        found = {cell: path for cell in ['start', *CELLS] if (path := self.snapshot(seed, cell))}
        if not found:
            return
        call('calc_metrics.py', '--metrics=jacobian,domains', '--missing-only', '--seed=0', '--verbose=0', '--device=cpu',
             f'--data={self.data}', *(f'--network={path}' for path in found.values()))
        cells = {cell: self.values(path) for cell, path in found.items()}
        self.results.mkdir(exist_ok=True)
        facts = dict(seed=seed, first_stage_kimg=self.first, second_stage_kimg=self.second, cells=cells)
        (self.results / f'seed{seed}.json').write_text(json.dumps(facts, indent=1) + '\n')
        for path in found.values():
            if not (path.parent / 'domains.png').exists():
                call('generate.py', 'domains', f'--network={path}', f'--outdir={path.parent}', '--seeds=0-15', '--layout=rows',
                     '--noise-mode=const', '--device=cpu')
        draw_seed({cell: path.parent / 'domains.png' for cell, path in found.items()}, self.results / f'seed{seed}.png')

    def values(self, snapshot: Path) -> dict[str, float | None]:
        """What was measured of a snapshot, and the seconds per kimg of its run (median of the ticks, wall-clock time)."""
        values = {}
        for metric in ('jacobian', 'domains'):
            for line in lines(snapshot.parent / f'metric-{metric}.jsonl'):
                if line['snapshot_pkl'] == snapshot.name:
                    values |= line['results']
        ticks = [line['Timing/sec_per_kimg'] for line in lines(snapshot.parent / 'stats.jsonl')]
        return {**values, 'sec_per_kimg': statistics.median(t['mean'] if isinstance(t, dict) else t for t in ticks)}

    def snapshot(self, seed: int, cell: str) -> Path | None:
        """The last snapshot of a finished cell."""
        path = newest(self.outdir(seed, cell))
        kimg = self.first if cell == 'start' else self.first + self.second
        return path if path and path.name == f'network-snapshot-{kimg:06d}.pkl' else None

    def outdir(self, seed: int, cell: str) -> Path:
        return self.runs / f'seed{seed}' / (cell if cell == 'start' else f'{cell}-{self.first}+{self.second}')


def newest(outdir: Path) -> Path | None:
    """The newest network snapshot in a folder of runs."""
    return max(outdir.glob('*/network-snapshot-*.pkl'), key=lambda path: path.name, default=None)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def call(script: str, *args: object) -> None:
    subprocess.run([sys.executable, str(ROOT / script), *map(str, args)], check=True, cwd=ROOT)


# --- Table and pictures ---


def read_results(folder: Path) -> list[dict]:
    """What was measured of each seed, as far as its control is there."""
    found = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(folder.glob('seed*.json'))]
    return [facts for facts in found if CONTROL in facts['cells']]


def pairs(results: list[dict], cell: str, key: str) -> list[tuple[float, float]]:
    """(value of the cell, value of the control) of each seed that has both."""
    both = [(facts['cells'][cell][key], facts['cells'][CONTROL][key]) for facts in results if cell in facts['cells']]
    return [pair for pair in both if None not in pair]


def summary(numbers: list[float], digits: int, sign: str = '') -> str:
    """Mean ± standard deviation; the number alone if there is one."""
    if not numbers:
        return '–'
    text = f'{statistics.mean(numbers):{sign}.{digits}f}'
    return text + (f' ± {statistics.stdev(numbers):.{digits}f}' if len(numbers) > 1 else '')


def paired_p(differences: list[float]) -> float | None:
    """Two-sided p of the paired t test; None for fewer than three seeds, or differences that are all alike.

    Two seeds leave one degree of freedom: any two differences that happen to be close give a small p."""
    if len(differences) < 3 or statistics.stdev(differences) == 0:
        return None
    from scipy.stats import ttest_1samp
    return float(ttest_1samp(differences, 0).pvalue)


def table(results: list[dict]) -> str:
    """Markdown: mean ± sd over seeds; then the differences to the control of the same seed, with p."""
    heads = [head for head, _ in MEASURES.values()]
    values = [f'| | n | {" | ".join(heads)} | s/kimg |', '|---|' + '---|' * (len(heads) + 2)]
    changes = [f'| minus control | n | {" | ".join(heads)} |', '|---|' + '---|' * (len(heads) + 1)]
    for cell in ['start', *CELLS]:
        n = sum(cell in facts['cells'] for facts in results)
        if n == 0:
            continue
        columns, deltas = [], []
        for key, (_, digits) in MEASURES.items():
            both = pairs(results, cell, key)
            columns.append(summary([a for a, _ in both], digits))
            differences = [a - b for a, b in both]
            p = paired_p(differences)
            deltas.append(summary(differences, digits, '+') + (f' (p = {p:.2g})' if p is not None else ''))
        seconds = summary([a for a, _ in pairs(results, cell, 'sec_per_kimg')], 1)
        values.append(f'| {NAMES[cell]} | {n} | {" | ".join(columns)} | {seconds} |')
        if cell != CONTROL:
            changes.append(f'| {NAMES[cell]} | {n} | {" | ".join(deltas)} |')
    return '\n'.join([*values, '', *changes])


def draw_seed(pictures: dict[str, Path], path: Path) -> None:
    """One picture of all cells of a seed: columns are latents, each pair of rows the two domains."""
    from PIL import Image, ImageDraw
    images = {cell: Image.open(picture).convert('RGB') for cell, picture in pictures.items()}
    caption = 14
    width, height = max(i.width for i in images.values()), sum(i.height + caption for i in images.values())
    sheet, top = Image.new('RGB', (width, height), 'white'), 0
    for cell, image in images.items():
        ImageDraw.Draw(sheet).text((2, top + 1), NAMES[cell], fill='black')
        sheet.paste(image, (0, top + caption))
        top += image.height + caption
    sheet.quantize(128).save(path, optimize=True)


def draw_points(results: list[dict], path: Path) -> None:
    """A panel for each measure: one point per seed and cell; a line joins the points of one seed."""
    from matplotlib.figure import Figure
    cells = [cell for cell in ['start', *CELLS] if any(cell in facts['cells'] for facts in results)]
    figure = Figure(figsize=(13, 5.6), dpi=80, layout='constrained')
    panels = figure.subplots(2, 4).flat
    for axes, (key, (head, _)) in zip(panels, MEASURES.items(), strict=False):
        for facts in results:
            known = [(i, facts['cells'][cell][key]) for i, cell in enumerate(cells) if cell in facts['cells']]
            axes.plot(*zip(*known, strict=True), 'o-', linewidth=0.7, markersize=4, label=f'seed {facts["seed"]}')
        axes.set_title(head, fontsize=10)
        axes.set_xticks(range(len(cells)), cells, rotation=45, ha='right', fontsize=8)
        axes.grid(axis='y', alpha=0.3)
    last = list(figure.axes)[-1]
    last.axis('off')
    last.legend(*figure.axes[0].get_legend_handles_labels(), loc='center', frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='number of seeds, 0 to N - 1 (default: 3)')
    parser.add_argument('--first', type=int, default=100, metavar='KIMG', help='length of the first stage (default: 100)')
    parser.add_argument('--second', type=int, default=24, metavar='KIMG', help='length of each second stage (default: 24)')
    parser.add_argument('--cells', default=','.join(CELLS), metavar='LIST', help='second stages to train (default: %(default)s)')
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / 'cg-gan-mnist', metavar='DIR', help='where to train')
    parser.add_argument('--results', type=Path, default=RESULTS, metavar='DIR', help='where the JSON and the pictures are')
    parser.add_argument('--measure', action='store_true', help='measure what is trained so far, without training')
    parser.add_argument('--table', action='store_true', help='print the table and draw the plot of --results')
    args = parser.parse_args()
    cells = args.cells.split(',')
    if unknown := set(cells) - set(CELLS):
        parser.error(f'--cells: unknown {min(unknown)}; choose from {", ".join(CELLS)}')
    experiment = Experiment(args.runs.absolute(), args.results.absolute(), args.first, args.second, cells)
    if not args.table:
        for seed in range(args.seeds):
            (experiment.measure if args.measure else experiment.complete)(seed)
    results = read_results(args.results)
    if not results:
        raise SystemExit(f'{args.results}: has no seed<N>.json yet; run this program without --table first')
    print(table(results))
    draw_points(results, args.results / 'points.png')


if __name__ == '__main__':
    main()
