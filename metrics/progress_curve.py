"""A metric over the course of training: as a table, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dnnlib.files import atomic_open
from metrics.registry import find_metric

MOST_PANELS = 12


class Point(NamedTuple):
    """The results of a metric for one network. run: name of its run. kimg: images seen, in thousands. results: of the record."""

    run: str
    name: str
    kimg: int | None
    results: dict[str, float | None]


def best_point(metric: str, points: Sequence[Point]) -> tuple[Point, str] | None:
    """The best of several by the first value of a metric, and the name of the value; the earliest of equals. None if the metric
    has no direction or no value."""
    better = find_metric(metric).better
    key = next((key for point in points for key in point.results), None)
    found = [point for point in points if key is not None and point.results.get(key) is not None]
    if better is None or not found:
        return None
    return (min if better == 'lower' else max)(found, key=lambda point: point.results[key]), key


def table(metric: str, points: Sequence[Point]) -> str:
    """A row for each network, a column for each value; * marks the best by the first one."""
    keys = list(dict.fromkeys(key for point in points for key in point.results))
    best = best_point(metric, points)
    several_runs = len({point.run for point in points}) > 1
    rows = [['', *keys]]
    for point in points:
        star = ' *' if best is not None and point is best[0] else '  '
        kimg = point.name if point.kimg is None else f'{point.run}, {point.kimg} kimg' if several_runs else f'{point.kimg} kimg'
        first, *rest = [number(point.results.get(key)) for key in keys] or ['']
        rows.append([kimg, first + star, *rest])
    rows[0][1:2] = [key + '  ' for key in rows[0][1:2]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join([row[0].rjust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
             for row in rows]
    return '\n'.join(lines + ([f'* best: {best[0].name}, {best[1]} is better {find_metric(metric).better}'] if best else []))


def number(value: float | None) -> str:
    """For tables."""
    return '-' if value is None else f'{value:.4g}'


def save_curve(metric: str, points: Sequence[Point], path: Path) -> Path:
    """Draw the values of a metric over kimg, a panel for each, a colour for each run, the best by the first value marked, and
    write that as PNG. Raises OSError."""
    with atomic_open(path) as f:
        draw(metric, points).savefig(f, format='png', dpi=100)
    return path


def draw(metric: str, points: Sequence[Point]) -> Any:
    """The figure of save_curve."""
    from matplotlib.ticker import MaxNLocator

    from metrics.plotting import new_figure
    keys = list(dict.fromkeys(key for point in points for key in point.results))[:MOST_PANELS]
    columns = min(len(keys), 4)
    rows = -(-len(keys) // columns)
    figure, cells = new_figure(rows, columns, width=1.2 + 4.8 * columns, height=0.4 + 3.2 * rows, squeeze=False)
    runs = list(dict.fromkeys(point.run for point in points))
    best = best_point(metric, points)
    for axes, key in zip(cells.flat, keys, strict=False):
        for i, run in enumerate(runs):
            mine = sorted((point.kimg, _plotted(point.results.get(key))) for point in points if point.run == run)
            axes.plot(*zip(*mine, strict=True), color=f'C{i % 10}', marker='o', markersize=4, linewidth=1.8, label=run)
        title = key
        if best is not None and best[1] == key:
            value = best[0].results[key]
            axes.plot([best[0].kimg], [value], 'o', markersize=10, markerfacecolor='none', markeredgecolor='0.25')
            title = f'{key}, {find_metric(metric).better} is better; best {number(value)} at {best[0].kimg} kimg'
        axes.set_title(title, fontsize=10, loc='left')
        axes.set_xlabel('thousands of images', fontsize=9, color='0.35')
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.tick_params(labelsize=9, color='0.6')
        axes.grid(alpha=0.25, linewidth=0.6)
        values = [value for point in points if (value := point.results.get(key)) is not None]
        if values and min(values) >= 0:
            axes.set_ylim(0, max(values) * 1.1 or 1)
    for axes in list(cells.flat)[len(keys):]:
        axes.set_visible(False)
    if len(runs) > 1:
        cells.flat[0].legend(frameon=False, fontsize=8)
    return figure


def _plotted(value: float | None) -> float:
    return math.nan if value is None else value
