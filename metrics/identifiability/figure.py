"""The figure of identifiability: correlations of codes and factors, and all measures with their baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from metrics.identifiability.correlation import best_columns, class_correlations, correlations
from metrics.identifiability.factors import Factor

SHOWN = ('mcc_strong', 'mcc_spearman', 'mcc_monotone', 'mcc_weak', 'mcc_strong_style', 'r2_content_from_content',
         'r2_style_from_style', 'r2_style_from_content', 'r2_content_from_style', 'dci_disentanglement', 'dci_completeness',
         'dci_informativeness', 'sap', 'mig', 'modularity')
MARKS = {'random': ('random encoder', 's', 'tab:orange'), 'pca': ('PCA of pixels', '^', 'tab:green'),
         'shuffled': ('chance (shuffled)', 'x', 'black')}
MOST_CODES = 40  # rows of the matrix


def arrays(codes: np.ndarray, style: np.ndarray, factors: list[Factor]) -> dict[str, np.ndarray]:
    """What `draw` needs: correlations [F, D], style [F], and the names of the D columns."""
    codes = codes.astype(np.float64)
    names, parts = [], []
    for factor in factors:
        if factor.kind == 'class':
            names.append(f'{factor.name} (class)')
            parts.append(class_correlations(codes, factor))
        else:
            names += [f'{name}{factor.name}' for name in (('cos ', 'sin ') if factor.kind == 'circle' else ('',))]
            parts.append(correlations(codes, best_columns(codes, [factor], correlations)))
    return dict(correlations=np.concatenate(parts, axis=1), style=style, names=np.array(names))


def draw(values: dict[str, float | None], arrays: dict[str, np.ndarray], key: str) -> Any:
    """A figure: correlations of factors with their assigned codes, then with other codes; measures with baselines."""
    from metrics.plotting import new_figure
    matrix, style, names = arrays['correlations'], arrays['style'], arrays['names']
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    order = rows[np.argsort(columns)].tolist()
    order = (order + [i for i in np.argsort(-matrix.max(axis=1, initial=0)) if i not in order])[:MOST_CODES]
    figure, (left, right) = new_figure(1, 2, width=12, height=5.5)
    figure.colorbar(left.imshow(matrix[order], cmap='Blues', vmin=0, vmax=1, aspect='auto'), ax=left, label='|correlation|')
    left.set_xticks(range(len(names)), names, rotation=60, ha='right')
    left.set_yticks(range(len(order)), [f'{i} {"style" if style[i] else "content"}' for i in order], fontsize='x-small')
    left.set(title='Codes, those assigned to a factor first', ylabel='coordinate of the latent')
    shown = [name for name in SHOWN if values[name] is not None]
    places = np.arange(len(shown))
    right.barh(places, [values[name] for name in shown], color='tab:blue', height=0.6, label='the network')
    for baseline, (label, marker, color) in MARKS.items():
        known = [(place, values[f'{name}_{baseline}']) for place, name in zip(places, shown, strict=True)]
        known = [(place, value) for place, value in known if value is not None]
        right.scatter([value for _, value in known], [place for place, _ in known], marker=marker, color=color, s=22, label=label,
                      zorder=3)
    right.set_yticks(places, shown)
    right.invert_yaxis()
    right.set(xlim=(min(0, right.get_xlim()[0]), 1), title=f'{key}: measures, and baselines')
    right.legend(frameon=False, fontsize='small', loc='upper center', bbox_to_anchor=(0.5, -0.06), ncols=4)
    return figure
