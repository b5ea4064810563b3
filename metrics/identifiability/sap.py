"""Separated attribute predictability (SAP): Kumar, Sattigeri and Balakrishnan, "Variational inference of disentangled latent
concepts from unlabeled observations", ICLR 2018."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.factors import Factor, equal_bins, halves, standardised
from metrics.identifiability.information import gap

BINS = 20  # a code is cut into N quantiles to predict a class


def sap(codes: np.ndarray, factors: Sequence[Factor]) -> float | None:
    """How much better the best code of [N, F] predicts a factor than the second best, by itself; mean over the factors.

    1 if each factor is predicted by one code alone. None with fewer than 2 codes. Scores of a code: of a number, the squared
    correlation; of a class, `class_score`. Of a circle, the share of the code's variance that cosine and sine explain, and the
    gap is that of metrics.identifiability.information.
    """
    if codes.shape[1] < 2:
        return None
    return float(np.mean([gap(_scores(codes, factor), factor.dims) for factor in factors]))


def _scores(codes: np.ndarray, factor: Factor) -> np.ndarray:
    if factor.kind == 'class':
        return np.array([class_score(code, factor.bins(0)) for code in codes.T])
    inputs, targets = standardised(factor.columns()), standardised(codes)
    fitted = inputs @ np.linalg.lstsq(inputs, targets, rcond=1e-8)[0]
    return np.minimum(np.square(fitted).mean(axis=0), 1)


def class_score(code: np.ndarray, classes: np.ndarray) -> float:
    """Balanced accuracy of the class, whole numbers from 0, as predicted from code [N] by thresholds, on the half of the rows
    that was not fitted to: 0 by chance, 1 at best. Between two of BINS quantiles it is the class with most of its rows there."""
    fit, test = halves(len(code))
    bins, count = equal_bins(code, BINS), int(classes.max()) + 1
    seen = np.zeros([BINS, count])
    np.add.at(seen, (bins[fit], classes[fit]), 1)
    predicted = (seen / np.maximum(seen.sum(axis=0), 1)).argmax(axis=1)[bins[test]]
    present = np.unique(classes[test])
    accuracy = np.mean([(predicted[classes[test] == k] == k).mean() for k in present])
    return float(max(accuracy - 1 / count, 0) / (1 - 1 / count)) if count > 1 else 0.0
