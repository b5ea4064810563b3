"""All measures of codes and known factors, and their baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.identifiability.correlation import mean_correlations
from metrics.identifiability.dci import dci
from metrics.identifiability.factors import Factor
from metrics.identifiability.information import information, mig, modularity
from metrics.identifiability.regression import block_r2
from metrics.identifiability.sap import sap


def measures(codes: np.ndarray, content: np.ndarray, style: np.ndarray, factors: Sequence[Factor]) -> dict[str, float | None]:
    """Every measure of codes [N, F]; content, style: the numbers of their columns that are content, and style. All are 1 at best,
    except r2_style_from_content and r2_content_from_style: 0. None if a measure is undefined.

    The rows must be in random order, because some measures fit to the first half and measure on the second.
    """
    codes = np.asarray(codes, dtype=np.float64)
    styles = [factor for factor in factors if factor.style]
    of_style = {f'{name}_style': value for name, value in mean_correlations(codes[:, style], styles).items()}
    shares = information(codes, factors)
    return dict(**mean_correlations(codes, factors), **of_style, **block_r2(codes, content, style, factors),
                **dci(codes, factors), sap=sap(codes, factors), mig=mig(shares, factors), modularity=modularity(shares))


def principal_components(rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` principal components of rows [N, P], or all if there are fewer: float64 [N, C]."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    outer = centred.shape[1] > len(centred)
    values, vectors = np.linalg.eigh(centred @ centred.T if outer else centred.T @ centred)
    kept = np.flatnonzero(values > 1e-9 * values[-1])[::-1][:count]
    return vectors[:, kept] * np.sqrt(values[kept]) if outer else centred @ vectors[:, kept]
