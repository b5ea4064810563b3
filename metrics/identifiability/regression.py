"""How well blocks of factors can be predicted from blocks of codes: block identifiability.

Von Kügelgen et al., "Self-supervised learning with data augmentations provably isolates content from style", NeurIPS 2021: a
block is identified if the codes contain any invertible function of the block. A nonlinear regression from the codes must
therefore predict it, and codes of the other block must not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.factors import Factor, halves, standardised

LANDMARKS = 200                    # Gaussian functions
RIDGES = 10.0 ** np.arange(-7, 4)  # relative to the mean squared singular value


def factor_r2(codes: np.ndarray, factors: Sequence[Factor]) -> np.ndarray:
    """R² of each factor predicted from codes [N, F], on the held-out half of the rows: float64 [K].

    1 if it is predicted; about 0 or slightly below if not. The columns of a circle or class count together: 1 - sum of squared
    errors / sum of squared deviations. NaN without codes.
    """
    if codes.shape[1] == 0:
        return np.full(len(factors), np.nan)
    fit, test = halves(len(codes))
    columns = [factor.columns() for factor in factors]
    predicted = predict(codes[fit], np.concatenate(columns, axis=1)[fit], codes[test])
    edges = np.cumsum([part.shape[1] for part in columns])[:-1]
    return np.array([r2(part[test], some) for part, some in zip(columns, np.split(predicted, edges, axis=1), strict=True)])


def block_r2(codes: np.ndarray, content: np.ndarray, style: np.ndarray, factors: Sequence[Factor]) -> dict[str, float | None]:
    """r2_<factors>_from_<codes> for content and style: the mean of factor_r2 over the factors of a block, from the codes of a
    block. content, style: numbers of the columns of codes [N, F]. None if a block has no factors or no codes."""
    is_style = np.array([factor.style for factor in factors])
    values = {}
    for source, block in (('content', content), ('style', style)):
        scores = factor_r2(codes[:, block], factors)
        for target, mask in (('content', ~is_style), ('style', is_style)):
            values[f'r2_{target}_from_{source}'] = float(scores[mask].mean()) if mask.any() and len(block) else None
    return values


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """1 - squared errors / squared deviations from the mean, both summed over [N, D]; 0 if nothing deviates."""
    deviations = np.square(true - true.mean(axis=0)).sum()
    return float(1 - np.square(true - predicted).sum() / deviations) if deviations > 0 else 0.0


def predict(inputs: np.ndarray, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Ridge regression fitted to inputs [N, F] and targets [N, D]: predictions [M, D] of the targets of others [M, F].

    It is linear in the inputs and in Gaussian functions about the first LANDMARKS of them, as wide as their median distance. The
    ridge of a column is the one of RIDGES with the smallest leave-one-out squared error, which has a closed form (Golub, Heath
    and Wahba, 1979).
    """
    x = standardised(inputs)
    width = np.median(_squared_distances(x[:LANDMARKS], x)) or 1.0

    def features(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows / np.sqrt(rows.shape[1]), np.exp(-_squared_distances(rows, x[:LANDMARKS]) / width)], axis=1)

    basis, mean = features(x), targets.mean(axis=0)
    centre = basis.mean(axis=0)
    squares, right = np.linalg.eigh((basis - centre).T @ (basis - centre))
    squares, right = squares[squares > 1e-12 * squares[-1]], right[:, squares > 1e-12 * squares[-1]]
    left = (basis - centre) @ right / np.sqrt(squares)
    projected = left.T @ (targets - mean)
    best_error, best = np.full(targets.shape[1], np.inf), np.zeros_like(projected)
    for ridge in RIDGES * squares.sum() / max(len(squares), 1):
        kept = squares / (squares + ridge)
        errors = targets - mean - left @ (kept[:, None] * projected)
        error = np.square(errors / (1 - np.square(left) @ kept - 1 / len(x))[:, None]).sum(axis=0)
        best = np.where(error < best_error, (kept / np.sqrt(squares))[:, None] * projected, best)
        best_error = np.minimum(error, best_error)
    return mean + (features(standardised(others, inputs)) - centre) @ right @ best


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)
