"""Nearest points against a brute-force reference in float64."""

import numpy as np
import pytest

from metrics.features.points import SAME, Points


def rows(n, width=6, seed=0):
    return np.random.RandomState(seed).randn(n, width).astype(np.float32)


def distances(a, b):
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None].astype(np.float64), axis=2)


@pytest.mark.parametrize('block', [7, 64, 10_000])
def test_the_nearest_are_found_whatever_the_block(block):
    points, queries = rows(100) + 50, rows(33, seed=1) + 50  # far from the origin
    numbers, found = Points(points, block=block).nearest(queries, 4)
    expected = distances(queries, points)
    np.testing.assert_array_equal(numbers, np.argsort(expected, axis=1)[:, :4])
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :4], rtol=1e-9)


def test_rounding_is_far_below_what_counts_as_the_same():
    points = rows(50, width=1000) * 100
    numbers, found = Points(points, block=16).nearest(points, 1)
    assert (found < 0.01 * SAME * Points(points).spread()).all() and numbers[:, 0].tolist() == list(range(50))


@pytest.mark.parametrize('block', [3, 100])
def test_some_are_nobodys_neighbours(block):
    points = np.float32([[0], [1], [1.5], [10], [11]])
    groups = np.array([0, 1, 0, 2, 2])
    hidden = np.array([False, False, False, True, False])
    numbers, found = Points(points, block=block).nearest(points, 1, groups, groups, hidden)
    assert numbers[:3, 0].tolist() == [1, 2, 1] and found[:3, 0].tolist() == pytest.approx([1, 0.5, 0.5])
    assert numbers[3:, 0].tolist() == [2, 2] and found[3:, 0].tolist() == pytest.approx([8.5, 9.5])
    found = Points(points, block=block).nearest(points, 4, groups, groups, hidden)[1]
    assert np.isinf(found[:, 3]).all() and np.isfinite(found[:, 1]).all()


def test_spread():
    assert Points(np.float32([[0, 0], [2, 0]]), block=1).spread() == 1
