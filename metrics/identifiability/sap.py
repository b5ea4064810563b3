"""Separated attribute predictability (SAP): Kumar, Sattigeri and Balakrishnan, "Variational inference of disentangled latent
concepts from unlabeled observations", ICLR 2018."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.factors import Factor, equal_bins, halves, standardised
from metrics.identifiability.information import gap

BINS = 20  # a code is cut into N quantiles to predict a class


def sap(codes: np.ndarray, factors: Sequence[Factor]) -> float | None:
    """The score of the best single code of [N, F] for a factor, less that of the second best; mean over the factors.

    1 if only one code predicts each factor. None with fewer than 2 codes. The score of a code is the squared correlation for a
    number and `class_score` for a class. For a circle, it is the share of the code's variance that cosine and sine explain, with
    the gap of metrics.identifiability.information.
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
    """Balanced accuracy of the class, integers from 0, predicted from code [N] by thresholds, on the held-out half of the rows: 0
    by chance, 1 at best. Between two of BINS quantiles, the class with the largest share of its rows there is predicted."""
    fit, test = halves(len(code))
    bins, count = equal_bins(code, BINS), int(classes.max()) + 1
    seen = np.zeros([BINS, count])
    np.add.at(seen, (bins[fit], classes[fit]), 1)
    predicted = (seen / np.maximum(seen.sum(axis=0), 1)).argmax(axis=1)[bins[test]]
    present = np.unique(classes[test])
    accuracy = np.mean([(predicted[classes[test] == k] == k).mean() for k in present])
    return float(max(accuracy - 1 / count, 0) / (1 - 1 / count)) if count > 1 else 0.0
