"""A table and a figure of calibrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from metrics.calibration.damage import DAMAGES
from metrics.calibration.measure import RISES, Finding, Halves, applicable, damaged
from metrics.calibration.record import trouble_of
from metrics.context import Context
from metrics.progress_curve import number

SHOWN = 4      # images of each level in the figure
LINEAR = 0.01  # of a distance relative to the largest: below, the axis is linear


def table(findings: Sequence[Finding]) -> str:
    """A table of distances, with a row for each damage and distance; then the problems of each distance."""
    rows = [['damage', 'distance', 'none', *(['light', 'more', 'total']), '']]
    for curves in zip(*(finding.curves for finding in findings), strict=True):
        for finding, curve in zip(findings, curves, strict=True):
            rows.append([f'{curve.damage} {", ".join(DAMAGES[curve.damage].labels)}', f'{finding.kind} {finding.detector}',
                         *map(number, curve.distances), '' if curve.verdict == RISES else curve.verdict.upper()])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ['  '.join(cell.ljust(w) if k in (0, 1, 6) else cell.rjust(w) for k, (cell, w) in
                       enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
    for finding in findings:
        lines.append(f'{finding.kind} {finding.detector}: {trouble_of(finding) or "rises with every damage"}')
    return '\n'.join(lines)


def draw(context: Context, halves: Halves, findings: Sequence[Finding], title: str) -> Any:
    """A figure: for each damage, images at every level, and the distances, each divided by its largest of all damages."""
    from metrics.plotting import new_figure, show_cells
    wanted = applicable(halves)
    figure, cells = new_figure(2, len(wanted), width=2.1 * len(wanted) + 1, height=5.6, squeeze=False, sharey='row',
                               height_ratios=[1.25, 1])
    largest = [max(max(curve.distances) for curve in finding.curves) for finding in findings]
    for column, (name, damage) in enumerate(wanted.items()):
        levels = [halves.images, *(_images(name, level, halves, context) for level in damage.levels)]
        names = ('none', *damage.labels)
        show_cells(cells[0, column], [[images[k].cpu().numpy() for images in levels] for k in range(SHOWN)],
                   [['' for _ in levels]] * (SHOWN - 1) + [names])
        cells[0, column].set_title(name, fontsize='medium')
        for finding, most in zip(findings, largest, strict=True):
            curve = next(curve for curve in finding.curves if curve.damage == name)
            cells[1, column].plot(range(len(names)), np.array(curve.distances) / most, '-' if finding.kind == 'kd' else '--',
                                  marker='.', label=f'{finding.kind} {finding.detector}')
        cells[1, column].set_xticks(range(len(names)), names, fontsize='x-small')
        cells[1, column].set_yscale('symlog', linthresh=LINEAR)
    cells[1, 0].set_ylabel('distance / largest')
    handles, names = cells[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc='outside lower center', ncols=len(findings), frameon=False)
    figure.suptitle(title, fontsize='medium')
    return figure


def _images(name: str, level: float, halves: Halves, context: Context) -> torch.Tensor:
    """The first SHOWN damaged images."""
    found = damaged(name, level, halves, context)
    return found[:SHOWN] if torch.is_tensor(found) else halves.images[torch.from_numpy(found[:SHOWN])]
