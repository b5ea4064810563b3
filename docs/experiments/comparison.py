"""Tables and figures of an experiment. Every cell is compared with the control of the same seed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Measure(NamedTuple):
    """Name and number format of a measured value."""

    heading: str
    digits: int


SECONDS = Measure('s/kimg', 1)


def read_results(folder: Path, control: str) -> list[dict]:
    """Read the results of all seeds that have a result for the control."""
    found = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(folder.glob('seed*.json'))]
    return [facts for facts in found if control in facts['cells']]


def of_cell(results: Sequence[dict], cell: str, key: str) -> list[float]:
    """Values of a cell, one for each seed that has it."""
    found = [facts['cells'][cell].get(key) for facts in results if cell in facts['cells']]
    return [value for value in found if value is not None]


def differences(results: Sequence[dict], cell: str, key: str, control: str) -> list[float]:
    """Differences cell minus control, for each seed that has both."""
    both = [(facts['cells'][cell].get(key), facts['cells'][control].get(key)) for facts in results if cell in facts['cells']]
    return [a - b for a, b in both if a is not None and b is not None]


def summary(numbers: Sequence[float], digits: int, sign: str = '') -> str:
    """Format mean ± standard deviation, a single number alone, or '–' for no numbers."""
    if not numbers:
        return '–'
    text = f'{statistics.mean(numbers):{sign}.{digits}f}'
    return text + (f' ± {statistics.stdev(numbers):.{digits}f}' if len(numbers) > 1 else '')


def paired_test(changes: Sequence[float]) -> str:
    """Format ' (d = ..., p = ...)': the mean difference in units of its standard deviation, and the two-sided p of the paired t
    test.

    Empty for fewer than three seeds or if all differences are equal. Two seeds leave one degree of freedom, so any two similar
    differences would give a small p.
    """
    if len(changes) < 3 or statistics.stdev(changes) == 0:
        return ''
    from scipy.stats import ttest_1samp
    d = statistics.mean(changes) / statistics.stdev(changes)
    return f' (d = {d:.1f}, p = {float(ttest_1samp(changes, 0).pvalue):.2g})'


def head(title: str, measures: Mapping[str, Measure]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return [f'| {title} | n | {" | ".join(m.heading for m in measures.values())} |', '|---' * (len(measures) + 2) + '|']


def table(results: Sequence[dict], titles: Mapping[str, str], measures: Mapping[str, Measure], control: str) -> str:
    """Make a Markdown table: mean ± sd over seeds of each cell, then the differences from the control. titles: cell -> its
    title."""
    shown = {**measures, 'sec_per_kimg': SECONDS}
    values, changes = head('', shown), head('minus control', measures)
    for cell, title in titles.items():
        n = sum(cell in facts['cells'] for facts in results)
        if n == 0:
            continue
        row = [summary(of_cell(results, cell, key), m.digits) for key, m in shown.items()]
        values.append(f'| {title} | {n} | {" | ".join(row)} |')
        if cell != control:
            row = []
            for key, m in measures.items():
                change = differences(results, cell, key, control)
                row.append(summary(change, m.digits, '+') + paired_test(change))
            changes.append(f'| {title} | {n} | {" | ".join(row)} |')
    return '\n'.join([*values, '', *changes])


def draw_sheet(pictures: Mapping[str, Path], path: Path) -> None:
    """Draw one picture of all cells of a seed, stacked vertically. pictures: caption -> file. Narrow ones are enlarged by a whole
    number."""
    from PIL import Image, ImageDraw
    images = {caption: Image.open(picture).convert('RGB') for caption, picture in pictures.items()}
    scale = max(1, 512 // max(i.width for i in images.values()))
    images = {caption: i.resize((scale * i.width, scale * i.height), Image.Resampling.NEAREST) for caption, i in images.items()}
    line = 14
    width, height = max(i.width for i in images.values()), sum(i.height + line for i in images.values())
    sheet, top = Image.new('RGB', (width, height), 'white'), 0
    for caption, image in images.items():
        ImageDraw.Draw(sheet).text((2, top + 1), caption, fill='black')
        sheet.paste(image, (0, top + line))
        top += image.height + line
    sheet.quantize(128).save(path, optimize=True)


def draw_grid(pictures: Sequence[Path], path: Path, columns: int = 16) -> None:
    """Draw pictures of equal size in rows."""
    from PIL import Image
    images = [Image.open(picture).convert('RGB') for picture in pictures]
    width, height = images[0].size
    grid = Image.new('RGB', (columns * width, -(-len(images) // columns) * height), 'white')
    for i, image in enumerate(images):
        grid.paste(image, (i % columns * width, i // columns * height))
    grid.save(path)


def draw_curves(results: Sequence[dict], titles: Mapping[str, str], heading: str, path: Path) -> None:
    """Draw a measure over the length of training: the mean over seeds of each cell, and a thin line for each seed."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 4.5), dpi=80, layout='constrained')
    axes = figure.subplots()
    for i, (cell, title) in enumerate(titles.items()):
        curves = [{int(kimg): value for kimg, value in facts['cells'][cell]['curve'].items()} for facts in results
                  if 'curve' in facts['cells'].get(cell, {})]
        for curve in curves:
            axes.plot(sorted(curve), [curve[kimg] for kimg in sorted(curve)], color=f'C{i}', linewidth=0.6, alpha=0.5)
        if common := sorted(set.intersection(*map(set, curves))) if curves else []:
            means = [statistics.mean(curve[kimg] for curve in curves) for kimg in common]
            axes.plot(common, means, 'o-', color=f'C{i}', label=title)
    axes.set(xlabel='kimg', ylabel=heading, yscale='log')
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def draw_points(results: Sequence[dict], cells: Sequence[str], measures: Mapping[str, Measure], path: Path) -> None:
    """Draw a panel for each measure, with one point per seed and cell. A line joins the points of one seed."""
    from matplotlib.figure import Figure
    cells = [cell for cell in cells if any(cell in facts['cells'] for facts in results)]
    rows = -(-(len(measures) + 1) // 4)
    figure = Figure(figsize=(13, 2.8 * rows), dpi=80, layout='constrained')
    panels = figure.subplots(rows, 4).flat
    for axes, (key, measure) in zip(panels, measures.items(), strict=False):
        for facts in results:
            heights = [facts['cells'].get(cell, {}).get(key) for cell in cells]
            known = [i for i, height in enumerate(heights) if height is not None]
            axes.plot(known, [heights[i] for i in known], 'o-', linewidth=0.7, markersize=4, label=f'seed {facts["seed"]}')
        axes.set_title(measure.heading, fontsize=10)
        axes.set_xticks(range(len(cells)), cells, rotation=45, ha='right', fontsize=8)
        axes.grid(axis='y', alpha=0.3)
    legend, *unused = figure.axes[len(measures):]
    for axes in (legend, *unused):
        axes.axis('off')
    legend.legend(*figure.axes[0].get_legend_handles_labels(), loc='center', frameon=False)
    figure.savefig(path)
