"""Disentanglement, completeness and informativeness (DCI): Eastwood and Williams, "A framework for the quantitative evaluation of
disentangled representations", ICLR 2018.

This is their variant with linear regressions: lasso. Its absolute weights are the importance of codes for factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.factors import Factor, halves, standardised
from metrics.identifiability.regression import r2

PENALTIES = 10.0 ** np.arange(-3, 0, 0.5)  # of the sum of absolute weights, of standardised columns
SWEEPS = 100
VALIDATION = 5  # one in N rows of the fitted half chooses the penalty


def dci(codes: np.ndarray, factors: Sequence[Factor]) -> dict[str, float | None]:
    """dci_disentanglement, dci_completeness, dci_informativeness of codes [N, F] and factors; the first two are None if
    undefined, with 1 factor or 1 code.

    Informativeness is R² on the held-out half of the rows (1 at best). The paper reports an error instead.
    """
    importance, informativeness = _fit(codes, factors)
    return dict(dci_disentanglement=disentanglement(importance), dci_completeness=completeness(importance, factors),
                dci_informativeness=informativeness)


def disentanglement(importance: np.ndarray) -> float | None:
    """1 if each code matters for one factor only, 0 if equally for all; mean over the codes, weighted by their importance.

    importance: [F, K], nonnegative. None for 1 factor; 0 if no code matters.
    """
    if importance.shape[1] < 2:
        return None
    weights = importance.sum(axis=1)
    entropies = np.array([_entropy(row) for row in importance]) / np.log(importance.shape[1])
    return float((weights * (1 - entropies)).sum() / weights.sum()) if weights.sum() > 0 else 0.0


def completeness(importance: np.ndarray, factors: Sequence[Factor]) -> float | None:
    """1 if only one code matters for each factor, 0 if all matter equally; mean over the factors. 0 for factors for which no code
    matters.

    A circle needs two codes, which count as one. importance: [F, K]. None if there are no further codes.
    """
    if len(importance) <= max(factor.dims for factor in factors):
        return None
    found = []
    for column, factor in zip(importance.T, factors, strict=True):
        excess = max(_entropy(column) - np.log(factor.dims), 0) / (np.log(len(column)) - np.log(factor.dims))
        found.append(1 - excess if column.sum() > 0 else 0.0)
    return float(np.mean(found))


def _entropy(weights: np.ndarray) -> float:
    p = weights[weights > 0] / weights.sum() if weights.sum() > 0 else weights[:0]
    return float(-(p * np.log(p)).sum())


def _fit(codes: np.ndarray, factors: Sequence[Factor]) -> tuple[np.ndarray, float]:
    """Importance [F, K], and the mean R² on held-out rows."""
    fit, test = halves(len(codes))
    trained, chosen = slice(0, fit.stop - fit.stop // VALIDATION), slice(fit.stop - fit.stop // VALIDATION, fit.stop)
    columns = [factor.columns() for factor in factors]
    inputs = standardised(codes, codes[fit])
    targets = standardised(np.concatenate(columns, axis=1), np.concatenate(columns, axis=1)[fit])
    trials = [lasso(inputs[trained], targets[trained], penalty) for penalty in PENALTIES]
    errors = np.stack([np.square(targets[chosen] - inputs[chosen] @ weights).sum(axis=0) for weights in trials])  # [P, D]
    fitted = [lasso(inputs[fit], targets[fit], penalty) for penalty in PENALTIES]
    importance, scores, first = [], [], 0
    for part in columns:
        own = slice(first, first + part.shape[1])
        weights = fitted[int(errors[:, own].sum(axis=1).argmin())][:, own]
        importance.append(np.abs(weights).sum(axis=1))
        scores.append(r2(targets[test, own], inputs[test] @ weights))
        first = own.stop
    return np.stack(importance, axis=1), float(np.mean(scores))


def lasso(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Weights W [F, D] that minimise |targets - inputs W|² / 2N + penalty |W|₁ for inputs [N, F] and targets [N, D], by
    coordinate descent (Friedman, Hastie and Tibshirani, 2010)."""
    gram, moments = inputs.T @ inputs / len(inputs), inputs.T @ targets / len(inputs)
    weights = np.zeros_like(moments)
    for _ in range(SWEEPS):
        before = weights.copy()
        for i in np.flatnonzero(gram.diagonal() > 0):
            rest = moments[i] - gram[i] @ weights + gram[i, i] * weights[i]
            weights[i] = np.sign(rest) * np.maximum(np.abs(rest) - penalty, 0) / gram[i, i]
        if np.abs(weights - before).max() < 1e-6:
            break
    return weights
