"""Fréchet distances of Gaussians: closed forms, an independent implementation, and covariances that are singular."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from helpers.doubles import Passing

from metrics.features.statistics import FeatureStats
from metrics.quality.frechet import frechet_distance, trace_of_root


def rotation(n, seed=0):
    return scipy.stats.ortho_group.rvs(n, random_state=seed)


def random_cov(n, seed, samples=None):
    x = np.random.RandomState(seed).randn(samples or 3 * n, n) * np.logspace(0, -3, n)
    return np.cov(x, rowvar=False, bias=True)


def test_in_one_dimension():
    """(m1 - m2)² + (s1 - s2)²."""
    d = frechet_distance(np.array([1.5]), np.array([[4.0]]), np.array([-0.5]), np.array([[0.25]]))
    assert d == pytest.approx(2 ** 2 + (2 - 0.5) ** 2, abs=1e-12)


@pytest.mark.parametrize('n', [2, 50, 300])
def test_commuting_covariances(n):
    """Same axes, variances a and b: |μ₁ - μ₂|² + Σ (√a - √b)²."""
    rng, q = np.random.RandomState(n), rotation(n)
    a, b = rng.uniform(0, 3, n) ** 2, rng.uniform(0, 3, n) ** 2
    mean1, mean2 = rng.randn(n), rng.randn(n)
    expected = np.sum((mean1 - mean2) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(mean1, (q * a) @ q.T, mean2, (q * b) @ q.T) == pytest.approx(expected, rel=1e-6)


def test_shifted_gaussians_are_as_far_as_their_means():
    cov, mean = random_cov(100, 0), np.random.RandomState(1).randn(100)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-6 * np.trace(cov))
    assert frechet_distance(mean, cov, mean + 0.3, cov) == pytest.approx(100 * 0.3 ** 2, rel=1e-6)


def test_two_by_two():
    """Tr √M = √(Tr M + 2 √det M) for 2x2 matrices, with M = Σ₁ Σ₂."""
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[0.5, -0.2], [-0.2, 3.0]])
    product = a @ b
    expected = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert trace_of_root(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('n', [3, 64, 200])
def test_against_the_root_of_the_product(n):
    a, b = random_cov(n, 1), random_cov(n, 2)
    expected = np.trace(scipy.linalg.sqrtm(a @ b)).real
    assert trace_of_root(a, b) == pytest.approx(expected, rel=1e-6)
    assert trace_of_root(b, a) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('samples1,samples2', [(20, 20), (20, 500), (500, 20), (2, 2), (200, 200)])
def test_fewer_samples_than_features(samples1, samples2):
    """Of X and Y, centred samples, Tr (Σ₁ Σ₂)^½ is the sum of the singular values of X Yᵀ / √(N M): exact, however few."""
    rng = np.random.RandomState(0)
    x, y = rng.randn(samples1, 200) * np.logspace(0, -2, 200), rng.randn(samples2, 200) * np.logspace(0, -2, 200)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt(samples1 * samples2)
    precision = 1e-6 if samples1 == 200 else 1e-10
    assert trace_of_root(x.T @ x / samples1, y.T @ y / samples2) == pytest.approx(expected, rel=precision)


def test_a_singular_covariance_of_known_directions():
    q = rotation(120)
    a, b = np.zeros(120), np.zeros(120)
    a[:30], b[20:60] = 2.0, 3.0
    assert trace_of_root((q * a) @ q.T, (q * b) @ q.T) == pytest.approx(10 * np.sqrt(6), rel=1e-6)
    b[:30] = 0
    assert trace_of_root((q * a) @ q.T, (q * b) @ q.T) == pytest.approx(0, abs=1e-5)


def test_images_that_are_all_the_same():
    zero, cov = np.zeros([30, 30]), random_cov(30, 3)
    assert frechet_distance(np.ones(30), zero, np.zeros(30), zero) == pytest.approx(30)
    for pair in ((zero, cov), (cov, zero)):
        assert frechet_distance(np.zeros(30), pair[0], np.zeros(30), pair[1]) == pytest.approx(np.trace(cov))


def test_features_that_are_always_zero_do_no_harm():
    a, b = random_cov(60, 1), random_cov(60, 2)
    for dead in ([5], list(range(0, 60, 3))):
        kept = np.setdiff1d(np.arange(60), dead)
        for cov in (a, b):
            cov[dead], cov[:, dead] = 0, 0
        assert trace_of_root(a, b) == pytest.approx(trace_of_root(a[np.ix_(kept, kept)], b[np.ix_(kept, kept)]), rel=1e-6)


def test_what_is_not_finite_is_no_number():
    cov = random_cov(5, 0)
    for wrong in (np.nan, np.inf):
        assert np.isnan(frechet_distance(np.full(5, wrong), cov, np.zeros(5), cov))
        assert np.isnan(frechet_distance(np.zeros(5), cov, np.zeros(5), np.full([5, 5], wrong)))


def test_of_features_against_torchmetrics():
    """Its covariance is that of a sample, 1/(N-1)."""
    fid = pytest.importorskip('torchmetrics.image.fid', reason='for comparison only; in requirements-dev.txt')
    x, y = (torch.from_numpy(np.random.RandomState(s).randn(400, 24).astype(np.float32) + s / 4).abs() for s in (0, 1))
    theirs = fid.FrechetInceptionDistance(feature=Passing(24), input_img_size=(1, 1, 24)).set_dtype(torch.float64)
    for rows, real in ((x, True), (y, False)):
        theirs.update(rows[:, None, None], real=real)
    stats = []
    for rows in (x, y):
        s = FeatureStats(capture_mean_cov=True)
        s.append(rows)
        mean, cov = s.mean_cov()
        stats += [mean, cov * 400 / 399]
    assert frechet_distance(*stats) == pytest.approx(float(theirs.compute()), rel=1e-4)
