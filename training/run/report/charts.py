"""The curves of the page, thinned, as JSON that page.js gives to uPlot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from training.run.curves import PANELS, TERMS, Panel, choose_panels
from training.run.records import Curve, Run, number, read_records

MOST_POINTS = 600  # of a curve: more than a chart has pixels
MOST_SERIES = 64   # of a chart
LIVING = 0.1       # importance above which a style coordinate lives: training.networks.mapping
IMPORTANCE = 'importance.jsonl'
MORE_PANELS = (
    Panel('Gradients that were not finite', {f'Loss/{net}/nonfinite_grads': net for net in 'GD'}, from_zero=True),
    Panel('Variety of generated images', {'Health/variety': 'of that of real images'}, from_zero=True),
    Panel('Held-out images', {'Health/held_out': 'how far D thinks them generated'}, from_zero=True),
    Panel('Gradients of half precision that are zero', {'Health/zero_gradients': 'share'}, from_zero=True),
    Panel('Living style coordinates', {'Progress/style_dims': 'alive'}, from_zero=True, group='Style'),
    Panel('Milliseconds per phase', {f'Timing/{phase}': phase for phase in ('Gmain', 'Greg', 'Dmain', 'Dreg')}, from_zero=True,
          group='Machine'),
    Panel('Arithmetic, GFLOP/s', {'Timing/gflop_per_sec': 'all devices'}, from_zero=True, group='Machine'),
    Panel('Utilisation, % of peak', {'Timing/mfu_percent': 'MFU'}, from_zero=True, group='Machine'),
    Panel('Waiting for images, % of the time', {'Timing/data_wait_percent': 'training'}, from_zero=True, group='Machine'),
    Panel('Snapshots, pictures and metrics, s', {'Timing/maintenance_sec': 'between two ticks'}, from_zero=True, group='Machine'),
)
STYLE_TERMS = ('sparse', 'img_sparse')  # of i-StyleGAN and CG-GAN


def make_charts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """[{title, group, log, zero, points, line, parts: [{run, x: [kimg], series: [[label, [value or null]]]}]}, ...].

    parts: one for each run with data, by its index in `runs`. line: position of a horizontal line, or null.
    """
    charts = []
    for panel in _panels(runs):
        parts = [_part(i, run.metrics if panel.of_metric else run.curves, panel.series) for i, run in enumerate(runs)]
        parts = [part for part in parts if part['x']]
        if parts:
            charts.append(_chart(panel, parts, _line(panel, runs)))
    importance = [_part(i, curves, {name: name for name in curves}) for i, run in enumerate(runs)
                  if (curves := read_importance(run))]
    if importance:
        panel = Panel('Importance of each style coordinate', {}, group='Style')
        charts.append(_chart(panel, importance, LIVING))
    return charts


def read_importance(run: Run) -> dict[str, Curve]:
    """{number of the style coordinate: its importance}, from importance.jsonl. A resumed run may repeat a kimg: the last record
    counts."""
    records: list[tuple[float, list[Any]]] = []
    for record in read_records(run.path / IMPORTANCE):
        kimg, values = number(record.get('kimg')), record.get('importance')
        if math.isnan(kimg) or not isinstance(values, list):
            continue
        while records and records[-1][0] >= kimg:
            records.pop()
        records.append((kimg, values[:MOST_SERIES]))
    curves: dict[str, Curve] = {}
    for kimg, values in records:
        for j, value in enumerate(values):
            curves.setdefault(str(j), Curve()).add(kimg, value)
    return curves


def _panels(runs: Sequence[Run]) -> Iterator[Panel]:
    """Metrics with a curve first, a panel for each value; the terms of G, of D and of the style apart."""
    panels = choose_panels(runs, (*PANELS, *MORE_PANELS))
    for panel in panels:
        for key in panel.series if panel.of_metric else ():
            if any(key in run.metrics and len(run.metrics[key].kimg) > 1 for run in runs):
                yield replace(panel, title=key, series={key: key}, group=panel.title)
    for panel in panels:
        if panel.title == TERMS:
            style = {name: label for name, label in panel.series.items() if name.split('/')[2] in STYLE_TERMS}
            for net in 'GD':
                terms = {name: label[2:] for name, label in panel.series.items() if label[0] == net and name not in style}
                yield replace(panel, title=f'Terms of {net}, unweighted', series=terms)
            yield replace(panel, title='Sparsity of importance and Jacobian', group='Style',
                          series={name: label[2:] for name, label in style.items()})
        elif not panel.of_metric:
            yield panel


def _line(panel: Panel, runs: Sequence[Run]) -> float | None:
    """The target that adaptive augmentation holds the mean sign at, if all runs have the same."""
    if 'Loss/signs/real' not in panel.series:
        return None
    targets = {number(run.options().get('ada_target')) for run in runs}
    target = targets.pop() if len(targets) == 1 else math.nan
    return None if math.isnan(target) else target


def _chart(panel: Panel, parts: list[dict[str, Any]], line: float | None) -> dict[str, Any]:
    values = [value for part in parts for _, ys in part['series'] for value in ys if value is not None]
    # A logarithmic scale is for values that change by more than a power of ten.
    log = panel.logarithmic and bool(values) and min(values) > 0 and max(values) > 10 * min(values)
    return dict(title=panel.title, group=panel.group, log=log, zero=panel.from_zero, points=panel.of_metric, line=line,
                parts=parts)


def _part(run: int, curves: dict[str, Curve], names: dict[str, str]) -> dict[str, Any]:
    """The curves of one run in one chart, over the same kimg."""
    found = {label: curves[name] for name, label in list(names.items())[:MOST_SERIES] if name in curves}
    kimg = np.unique(np.array([k for curve in found.values() for k in curve.kimg], dtype=float))
    values = np.full([len(found), len(kimg)], np.nan)
    for row, curve in zip(values, found.values(), strict=True):
        row[np.searchsorted(kimg, curve.kimg)] = curve.values
    kimg, values = thin(kimg, values)
    return dict(run=run, x=_short(kimg), series=[[label, _short(row)] for label, row in zip(found, values, strict=True)])


def thin(x: np.ndarray, ys: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Curves of at most `most` points, with all peaks: the smallest and the largest value of each stretch, at its first and last
    x.

    x: float [N], ascending. ys: float [curves, N]; NaN is a gap. It remains if a whole stretch is NaN.
    """
    n = len(x)
    if n <= most:
        return x, ys
    starts = np.linspace(0, n, most // 2, endpoint=False).astype(int)
    ends = np.append(starts[1:], n) - 1
    low, high = np.fmin.reduceat(ys, starts, axis=1), np.fmax.reduceat(ys, starts, axis=1)
    falls = ys[:, starts] > ys[:, ends]
    thinned = np.stack([np.where(falls, high, low), np.where(falls, low, high)], axis=2)
    return np.stack([x[starts], x[ends]], axis=1).ravel(), thinned.reshape(len(ys), -1)


def _short(values: np.ndarray) -> list[float | None]:
    """Rounded to five digits. NaN becomes None."""
    return [float(f'{value:.5g}') if value == value else None for value in values.tolist()]
