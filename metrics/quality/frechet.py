"""Fréchet distances of features: FID (Heusel et al. 2017, arXiv 1706.08500), and the same by other detectors."""

from __future__ import annotations

import numpy as np

from metrics.context import Context, Result
from metrics.features import extraction
from torch_utils import distributed


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """d²(N(μ₁, Σ₁), N(μ₂, Σ₂)) = |μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½). Means [F], covariances [F, F], symmetric. NaN if
    they are not finite."""
    gap = np.asarray(mean1, np.float64) - np.asarray(mean2, np.float64)
    traces = np.trace(cov1) + np.trace(cov2)
    if not np.isfinite(gap @ gap + np.sum(cov1) + np.sum(cov2)):
        return float('nan')
    return float(gap @ gap + traces - 2 * trace_of_root(cov1, cov2))


def trace_of_root(cov1: np.ndarray, cov2: np.ndarray) -> float:
    """Tr (Σ₁ Σ₂)^½ = Σ √λ over the eigenvalues λ of Rᵀ Σ₂ R with Σ₁ = R Rᵀ. That is symmetric, and similar to Σ₁ Σ₂.

    In float64. R is the Cholesky factor, which is the fastest. A singular covariance, as with fewer samples than features, is
    factored along its eigenvectors instead, without directions of zero variance. Each of these would contribute the square root
    of a rounding error.
    """
    cov1, cov2 = np.asarray(cov1, np.float64), np.asarray(cov2, np.float64)
    root = _cholesky(cov1)
    if root is None:
        root = _root(cov1)
    elif _cholesky(cov2) is None:  # the singular one is to be factored
        root, cov2 = _root(cov2), cov1
    eigenvalues = np.linalg.eigvalsh(root.T @ cov2 @ root)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def frechet_of_rows(x: np.ndarray, y: np.ndarray) -> float:
    """The same distance from features [N, F] and [M, F]: faster if there are fewer rows than F.

    With centred rows X, Y: Tr (Σ₁ Σ₂)^½ is the sum of the singular values of X Yᵀ / √(N M).
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    gap, x, y = x.mean(axis=0) - y.mean(axis=0), x - x.mean(axis=0), y - y.mean(axis=0)
    shared = np.linalg.svd(x @ y.T / np.sqrt(len(x) * len(y)), compute_uv=False).sum()
    return float(gap @ gap + np.square(x).sum() / len(x) + np.square(y).sum() / len(y) - 2 * shared)


def _cholesky(cov: np.ndarray) -> np.ndarray | None:
    """The lower factor of a covariance, None if it is singular."""
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        return None


def _root(cov: np.ndarray) -> np.ndarray:
    """R [F, rank] with cov = R Rᵀ."""
    eigenvalues, vectors = np.linalg.eigh(cov)
    kept = eigenvalues > eigenvalues[-1] * np.finfo(np.float64).eps * 10
    return vectors[:, kept] * np.sqrt(eigenvalues[kept])


def fid(context: Context, key: str, num_gen: int, detector: str = 'inception', resize: str = 'published',
        full: bool = True) -> Result:
    """Fréchet distance between features of real images and of num_gen generated ones.

    full: all real images, without mirrored ones; else the first num_gen, mirrored ones as in training. key: name of the value.
    Raises UserError if the dataset does not fit the network, or has fewer than 2 images.
    """
    extraction.check(context)
    data = extraction.real_images(context, full, least=2, most=None if full else num_gen)
    net = context.detector(detector, resize)
    real = extraction.of_reals(context, net, data, mean_cov=True)
    fake = extraction.of_generator(context, net, num_gen, mean_cov=True)
    value = distributed.broadcast_from_rank0(lambda: frechet_distance(*real.mean_cov(), *fake.mean_cov()))
    return Result({key: value}, notes=small_sample(key, min(num_gen, len(data.items)), net.num_features))


def small_sample(key: str, num: int, width: int) -> tuple[str, ...]:
    """A note for fewer images than features."""
    if num > width:
        return ()
    return (f'{key}: {num} images are no more than the {width} features, so that the covariance is singular and the value too '
            'large; compare it with values of as many images only',)
