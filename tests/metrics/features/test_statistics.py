"""Streamed statistics of features."""

import numpy as np
import pytest
import torch

from metrics.features import statistics as feature_stats
from metrics.features.statistics import FeatureStats


def rows(n, width=7, seed=0):
    return np.random.RandomState(seed).randn(n, width).astype(np.float32) * 3 + 5


def filled(x, parts, **kwargs):
    stats = FeatureStats(max_items=len(x), **kwargs)
    for part in np.array_split(x, parts):
        stats.append(torch.from_numpy(part))
    return stats


@pytest.mark.parametrize('n,parts', [(1, 1), (2, 1), (50, 50), (3000, 7), (2500, 1)])
def test_mean_and_covariance_are_those_of_the_population(n, parts):
    x = rows(n)
    mean, cov = filled(x, parts, capture_mean_cov=True).mean_cov()
    assert mean.dtype == cov.dtype == np.float64
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(x.astype(np.float64), rowvar=False, bias=True), rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(cov, cov.T)


def test_sums_do_not_lose_small_differences():
    x = rows(4000) * 1e-2 + 100  # in float32 sums of squares nothing would be left of the variance
    _, cov = filled(x, 9, capture_mean_cov=True).mean_cov()
    np.testing.assert_allclose(cov, np.cov(x.astype(np.float64), rowvar=False, bias=True), rtol=1e-6, atol=1e-10)


def test_they_can_be_asked_for_in_between():
    x, stats = rows(60), FeatureStats(capture_mean_cov=True)
    for i in range(0, 60, 20):
        stats.append(x[i:i + 20])
        np.testing.assert_allclose(stats.mean_cov()[0], x[:i + 20].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize('in_memory', [1 << 30, 0])
def test_features_are_kept_in_order(monkeypatch, in_memory):
    monkeypatch.setattr(feature_stats, 'IN_MEMORY', in_memory)
    x = rows(100)
    stats = filled(x, 7, capture_all=True)
    assert isinstance(stats.features(), np.memmap) == (in_memory == 0) and stats.features().dtype == np.float32
    np.testing.assert_array_equal(stats.features(), x)
    assert (stats.num_items, stats.num_features) == (100, 7)


def test_what_is_too_much_is_cut_off():
    x, stats = rows(50), FeatureStats(capture_all=True, capture_mean_cov=True, max_items=30)
    for part in np.array_split(x, 4):
        stats.append(part)
    assert stats.num_items == 30
    np.testing.assert_array_equal(stats.features(), x[:30])
    np.testing.assert_allclose(stats.mean_cov()[0], x[:30].mean(axis=0), rtol=1e-5)


def test_arrays_make_the_same_again():
    for kwargs in (dict(capture_all=True), dict(capture_mean_cov=True), dict(capture_all=True, capture_mean_cov=True)):
        stats = filled(rows(40), 3, **kwargs)
        again = FeatureStats.from_arrays(stats.arrays())
        assert (again.num_items, again.num_features, again.max_items) == (40, 7, 40)
        assert (again.capture_all, again.capture_mean_cov) == (stats.capture_all, stats.capture_mean_cov)
        if stats.capture_all:
            np.testing.assert_array_equal(again.features(), stats.features())
        if stats.capture_mean_cov:
            for a, b in zip(again.mean_cov(), stats.mean_cov(), strict=True):
                np.testing.assert_array_equal(a, b)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match='max_items'):
        FeatureStats(capture_all=True)
    stats = FeatureStats(capture_mean_cov=True)
    with pytest.raises(ValueError, match='not captured'):
        stats.mean_cov()
    stats.append(rows(3))
    with pytest.raises(ValueError, match='not captured'):
        stats.features()
    for wrong in (rows(3, width=8), rows(3)[0]):
        with pytest.raises(ValueError, match=r'features must be \[N, 7\]'):
            stats.append(wrong)
    for key, value in [('num_items', np.int64(4)), ('features', np.zeros([3, 7])), ('sum_outer', np.zeros([6, 7]))]:
        full = filled(rows(3), 1, capture_all=True, capture_mean_cov=True).arrays()
        with pytest.raises(ValueError):
            FeatureStats.from_arrays({**full, key: value})
