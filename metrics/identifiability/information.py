"""Measures based on mutual information of single codes and single factors: MIG and modularity.

Continuous values are put into BINS bins of equal size. Information is estimated from counts with the correction of Miller (1955).
Without it, the estimate is too large by about BINS² / 2N.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.factors import Factor, equal_bins

BINS = 20


def information(codes: np.ndarray, factors: Sequence[Factor]) -> np.ndarray:
    """Mutual information of each code of [N, F] and each factor, as a share of the factor's entropy: [F, K] in [0, 1].

    For a circle it is a share of the entropy less log 2, because cosine or sine alone leaves two possible angles.
    """
    known = [(factor.bins(BINS), np.log(factor.dims)) for factor in factors]
    shares = [[_share(bins, values, spare) for values, spare in known] for bins in (equal_bins(code, BINS) for code in codes.T)]
    return np.array(shares, dtype=np.float64).reshape(-1, len(factors))


def mig(shares: np.ndarray, factors: Sequence[Factor]) -> float | None:
    """Mutual information gap (Chen et al., "Isolating sources of disentanglement in variational autoencoders", NeurIPS 2018),
    from the result of `information`: the information of the best code about a factor, less that of the second best; mean over the
    factors.

    1 if only one code knows each factor. None with fewer than 2 codes. For circles, see `gap`.
    """
    if len(shares) < 2:
        return None
    return float(np.mean([gap(column, factor.dims) for column, factor in zip(shares.T, factors, strict=True)]))


def gap(scores: np.ndarray, dims: int) -> float:
    """The largest of [F] less the second largest. With dims = 2, a circle, two codes may share the factor, like cosine and sine:
    the second less the third, if that is more. 0 if there is no next one."""
    ordered = np.sort(np.append(scores, 0.0))[::-1]
    return float(max(ordered[k] - ordered[k + 1] for k in range(min(dims, len(scores)))))


def modularity(shares: np.ndarray) -> float | None:
    """Modularity (Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS 2018), from the
    result of `information`: does each code know only one factor? 1 if so; 0 if it knows all equally well.

    Mean over the codes with information about any factor. None if there are none, or fewer than 2 factors.
    """
    best = shares.max(axis=1, initial=0)
    known = shares[best > 0]
    if shares.shape[1] < 2 or not len(known):
        return None
    others = np.square(known).sum(axis=1) / np.square(known.max(axis=1)) - 1  # of all but the best, relative to it
    return float(np.mean(1 - others / (shares.shape[1] - 1)))


def _share(a: np.ndarray, b: np.ndarray, spare: float) -> float:
    """Mutual information of integers a, b [N] as a share of the entropy of b less `spare`, at most 1."""
    counts = np.zeros([a.max() + 1, b.max() + 1])
    np.add.at(counts, (a, b), 1)
    entropy = _entropy(counts.sum(axis=0))
    shared = _entropy(counts.sum(axis=1)) + entropy - _entropy(counts)
    return float(np.clip(shared / (entropy - spare), 0, 1)) if entropy > spare else 0.0


def _entropy(counts: np.ndarray) -> float:
    """In nats, corrected for the number of counts."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum() + (len(p) - 1) / (2 * counts.sum())) if len(p) > 1 else 0.0
