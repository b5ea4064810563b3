"""Mean correlation coefficients (MCC) of codes and known factors, strong and weak.

Strong: Hyvärinen and Morioka, "Unsupervised feature extraction by time-contrastive learning and nonlinear ICA", NeurIPS 2016.
Each factor is assigned a separate code, with the largest sum of absolute correlations. The measure is their mean. It is 1 for
codes that are the factors up to order, sign and scale. Weak: Khemakhem et al., "ICE-BeeM: identifiable conditional energy-based
deep models
based on nonlinear ICA", NeurIPS 2020: the same after the affine map of the codes that fits the factors best. It is 1 for codes
that are an invertible linear mixture of the factors.

A circle has two coordinates, cosine and sine. The zero of an angle is arbitrary, so the zero with the best fit is used. Classes
have no order and are excluded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import isotonic_regression, linear_sum_assignment

from metrics.identifiability.factors import Factor, angle_columns, halves, ranks, standardised

PHASES = 45  # zeros of an angle to try, within a quarter turn; beyond it, cosine and sine swap
# Codes often are mixtures of fewer features. Directions below this share of the largest singular value are rounding errors of the
# float32 network, and would be amplified.
COLLINEAR = 1e-5
MEASURES = ('mcc_strong', 'mcc_spearman', 'mcc_monotone', 'mcc_weak')


def mean_correlations(codes: np.ndarray, factors: Sequence[Factor]) -> dict[str, float | None]:
    """MEASURES of codes [N, F] and factors; None if there are no codes or only classes. All in [0, 1].

    mcc_strong: by Pearson's correlation. mcc_spearman: by rank correlation, which monotone maps of codes do not change.
    mcc_monotone: by Pearson's, after fitting such a map to each pair of mcc_spearman (isotonic regression). mcc_weak: after
    fitting an affine map. Maps are fitted to one half of the rows and measured on the other.
    """
    factors = [factor for factor in factors if factor.kind != 'class']
    if not factors or codes.shape[1] == 0:
        return dict.fromkeys(MEASURES)
    fit, test = halves(len(codes))
    strong = _mean(correlations(codes, best_columns(codes, factors, correlations)))
    columns = best_columns(codes, factors, rank_correlations)
    ranked = rank_correlations(codes, columns)
    pairs = zip(*linear_sum_assignment(ranked, maximize=True), strict=True)
    monotone = sum(_monotone(codes[:, i], columns[:, j], fit, test) for i, j in pairs) / columns.shape[1]
    mapped = affine_map(codes, np.concatenate([factor.columns() for factor in factors], axis=1), fit)[test]
    factors = [factor.rows(test) for factor in factors]
    weak = _mean(correlations(mapped, best_columns(mapped, factors, correlations)))
    return dict(zip(MEASURES, (strong, _mean(ranked), monotone, weak), strict=True))


def correlations(codes: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Absolute Pearson correlations of [N, F] and [N, D]: [F, D]; 0 for constant columns."""
    return np.minimum(np.abs(standardised(codes).T @ standardised(columns)) / len(codes), 1)


def rank_correlations(codes: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The same of ranks: Spearman's."""
    return correlations(ranks(codes), ranks(columns))


def class_correlations(codes: np.ndarray, factor: Factor) -> np.ndarray:
    """Correlations of codes [N, F] with the function of a class that fits each best, its mean in the class: [F, 1]. The
    correlation ratio (Pearson 1905)."""
    members = factor.columns()
    sums = members.T @ standardised(codes)  # [C, F]
    return np.sqrt(np.minimum((np.square(sums) / members.sum(axis=0)[:, None]).sum(axis=0) / len(codes), 1))[:, None]


def best_columns(codes: np.ndarray, factors: Sequence[Factor],
                 measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The factors as numbers [N, D]; cosine and sine of each circle from the zero with the best fit to two codes."""
    found = []
    for factor in factors:
        if factor.kind != 'circle':
            found.append(factor.columns())
            continue
        candidates = [angle_columns(factor.values + k / (4 * PHASES)) for k in range(PHASES)]
        fits = measure(codes, np.concatenate(candidates, axis=1))
        sums = [_mean(fits[:, 2 * k:2 * k + 2]) for k in range(PHASES)]
        found.append(candidates[int(np.argmax(sums))])
    return np.concatenate(found, axis=1)


def affine_map(codes: np.ndarray, columns: np.ndarray, fit: slice) -> np.ndarray:
    """The least-squares prediction of columns [N, D] from codes [N, F], fitted to the rows `fit`: [N, D]."""
    inputs = np.concatenate([standardised(codes, codes[fit]), np.ones([len(codes), 1])], axis=1)
    return inputs @ np.linalg.lstsq(inputs[fit], columns[fit], rcond=COLLINEAR)[0]


def _mean(matrix: np.ndarray) -> float:
    """Mean over the columns of [F, D] of the entry assigned to each; 0 for columns that are left without a code."""
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    return float(matrix[rows, columns].sum() / matrix.shape[1])


def _monotone(code: np.ndarray, target: np.ndarray, fit: slice, test: slice) -> float:
    """|Pearson correlation| on `test` of target [N] with the monotone function of code [N] that fits it best on `fit`."""
    rising = np.sign(standardised(ranks(code[fit, None])).T @ standardised(ranks(target[fit, None]))).item()
    if rising == 0:
        return 0.0
    order = np.argsort(rising * code[fit], kind='stable')
    fitted = isotonic_regression(target[fit][order]).x
    mapped = np.interp(rising * code[test], rising * code[fit][order], fitted)
    return float(correlations(mapped[:, None], target[test][:, None])[0, 0])
