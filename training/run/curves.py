"""Draw the curves of one or several runs: `python -m training.run.curves <run directory>...` writes a PNG."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image

from dnnlib import cli
from dnnlib.files import atomic_open
from dnnlib.util import UserError
from training.run.records import Curve, Run

CELLS = 12  # of the picture, as many across and down: more could not be seen
LINES = ('-', '--', ':', '-.')
TERMS = 'Other terms, unweighted'  # a title
NOT_TERMS = {'loss', 'reg', 'nonfinite_grads', 'logistic', 'logistic_real', 'logistic_fake'}  # of Loss/<net>/<term>


@dataclass(frozen=True)
class Panel:
    """One pair of axes. series: {name in stats.jsonl, or key of results: its label}. of_metric: whether the names are keys of
    results. group: heading on a page with headings."""

    title: str
    series: dict[str, str]
    logarithmic: bool = False
    from_zero: bool = False
    of_metric: bool = False
    group: str = 'Training'


PANELS = (
    Panel('Scores of the discriminator', {'Loss/scores/real': 'real', 'Loss/scores/fake': 'fake'}),
    Panel('Overfitting', {'Loss/signs/real': 'mean sign of D(real)'}),
    Panel('Augmentation', {'Progress/augment': 'strength p'}, from_zero=True),
    Panel('Losses', {'Loss/G/loss': 'G', 'Loss/D/loss': 'D'}),
    Panel('Seconds per 1000 images', {'Timing/sec_per_kimg': 'training'}, from_zero=True, group='Machine'),
    Panel('Memory, GiB', {'Resources/cpu_mem_gb': 'process', 'Resources/peak_gpu_mem_gb': 'GPU, peak'}, from_zero=True,
          group='Machine'),
)


def read_run(run_dir: str | Path) -> Run:
    """The run of a directory. Raises UserError if it has no statistics."""
    run = Run(run_dir)
    if not run.curves:
        path = run.path / 'stats.jsonl'
        if not path.is_file():
            raise UserError(f'{run_dir}: there is no stats.jsonl to read; pass a run directory of train.py')
        raise UserError(f'{path}: no tick has ended yet; try again later')
    return run


def draw(runs: Sequence[Run]) -> Any:
    """A matplotlib figure. One run: a colour for each curve. Several: a colour for each run, a kind of line for each curve.

    The newest generated images of the last run with any are shown beside the curves.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = choose_panels(runs)
    columns = -(-len(panels) // 2)
    pictured = next((run for run in reversed(runs) if run.newest_fakes()), None)
    figure = Figure(figsize=(4.2 * columns + (6.4 if pictured else 0), 6.8), layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)  # needs no screen
    parts: Any = figure.subfigures(1, 2, width_ratios=[4.2 * columns, 6.4]) if pictured else (figure, None)
    left, right = parts
    for axes, panel in itertools.zip_longest(left.subplots(2, columns, squeeze=False).flat, panels):
        if panel:
            draw_panel(axes, panel, runs)
        else:
            axes.set_visible(False)
    if len(runs) > 1:
        handles = [Line2D([], [], color=f'C{i % 10}', linewidth=3, label=run.name) for i, run in enumerate(runs)]
        left.legend(handles=handles, loc='outside upper left', frameon=False, fontsize=10)
    else:
        left.suptitle(runs[0].name, fontsize=12, fontweight='bold')
    if pictured:
        show_picture(right.subplots(), pictured)
    return figure


def choose_panels(runs: Sequence[Run], panels: Sequence[Panel] = PANELS) -> list[Panel]:
    """The panels with data, each with the series that a run has. One panel for the loss terms and one for each metric are
    added."""
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    terms = [name for name in names if re.fullmatch('Loss/[GD]/[^/]+', name) and name.split('/')[2] not in NOT_TERMS]
    metrics = {name: dict.fromkeys(key for run in runs for key in run.keys.get(name, ())) for run in runs for name in run.keys}
    used = {name for run in runs for name, curve in run.curves.items() if any(curve.values)}  # no GPU: 0 all the time
    panels = [replace(panel, series={k: v for k, v in panel.series.items() if k in used}) for panel in panels]
    panels.insert(4, Panel(TERMS, {name: name[len('Loss/'):] for name in terms}, logarithmic=True))
    panels += [Panel(f'Metric {name}', {key: key for key in keys}, of_metric=True, group='Metrics')
               for name, keys in metrics.items()]
    return [panel for panel in panels if panel.series]


def draw_panel(axes: Any, panel: Panel, runs: Sequence[Run]) -> None:
    """All curves of a panel."""
    several = len(runs) > 1
    for j, (name, label) in enumerate(panel.series.items()):
        style = dict(linestyle=LINES[j % len(LINES)] if several else '-', linewidth=1.8, markersize=4,
                     marker='o' if panel.of_metric else '')
        axes.plot([], [], color='0.35' if several else f'C{j % 10}', label=label, **style)  # for the legend
        for i, run in enumerate(runs):
            curve = (run.metrics if panel.of_metric else run.curves).get(name, Curve())
            axes.plot(curve.kimg, curve.values, color=f'C{(i if several else j) % 10}', **style)
    axes.set_title(panel.title, fontsize=11, loc='left')
    axes.set_xlabel('thousands of images', fontsize=9, color='0.35')
    axes.tick_params(labelsize=9, color='0.6')
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, fontsize=9)
    if panel.logarithmic:
        axes.set_yscale('log')
    if panel.from_zero:
        # The first tick, a single batch, would compress all others.
        values = [value for run in runs for name in panel.series for value in run.curves.get(name, Curve()).values[1:]]
        axes.set_ylim(0, max(values, default=0) * 1.15 or None)


def show_picture(axes: Any, run: Run) -> None:
    """The newest generated images of a run: a corner of the grid, with as many cells as can be seen."""
    path = run.newest_fakes()
    with PIL.Image.open(path) as image:
        height, width = run.image_size() or (min(image.size), min(image.size))
        cells = min(CELLS, image.width // width, image.height // height)
        pixels = np.asarray(image.convert('RGB').crop((0, 0, cells * width, cells * height)))
    axes.imshow(pixels, interpolation='lanczos' if max(pixels.shape) > 600 else 'nearest')
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(path.name, fontsize=11, loc='left')


@click.command(cls=cli.Command)
@click.argument('run_dirs', type=cli.PATH, nargs=-1, required=True, metavar='RUN...')
@click.option('--out', type=cli.PATH,
              help='The picture to write.  [default: curves.png, in the run directory if there is one, else here]',
              metavar='PNG')
def main(run_dirs: tuple[str, ...], out: str | None) -> None:
    """Draw the statistics of training runs and their newest images into one PNG.

    RUN: run directories of train.py; several are compared.
    """
    runs = [read_run(run_dir) for run_dir in run_dirs]
    path = Path(out) if out else Path(run_dirs[0] if len(runs) == 1 else '.', 'curves.png')
    try:
        with atomic_open(path) as f:
            draw(runs).savefig(f, format='png', dpi=100)
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({err.strerror}); choose another file with --out') from err
    print(f'Wrote {path}')


if __name__ == '__main__':
    cli.run(main)
