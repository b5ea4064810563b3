"""Precision and recall against a brute-force reference in float64."""

import numpy as np
import pytest

from metrics.quality.precision_recall import Manifold


def rows(n, width=6, shift=0.0, scale=1.0, seed=0):
    return (np.random.RandomState(seed).randn(n, width) * scale + shift).astype(np.float32)


def distances(a, b):
    return np.sqrt(((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(axis=2))


def share_inside(queries, points, k):
    radii = np.sort(distances(points, points), axis=1)[:, k]  # number 0 is the point itself
    return np.mean((distances(queries, points) <= radii).any(axis=1))


@pytest.mark.parametrize('k', [1, 3, 5])
@pytest.mark.parametrize('block', [7, 64, 10_000])
def test_shares_and_radii(k, block):
    points, queries = rows(100), rows(77, shift=0.7, seed=1)
    manifold = Manifold(points, k, block=block)
    np.testing.assert_allclose(manifold.radii, np.sort(distances(points, points), axis=1)[:, k], rtol=1e-5)
    expected = share_inside(queries, points, k)
    assert 0.05 < expected < 0.95 and manifold.share_inside(queries) == pytest.approx(expected, abs=1e-4)


def test_far_from_the_origin():
    points, queries = rows(200, shift=300), rows(200, shift=300.5, seed=1)  # where float32 products would lose most digits
    assert Manifold(points).share_inside(queries) == pytest.approx(share_inside(queries, points, 3), abs=1e-4)


def test_what_the_two_numbers_mean():
    wide, narrow, elsewhere = rows(300, width=2), rows(300, width=2, scale=0.2, seed=1), rows(300, width=2, shift=50, seed=2)
    assert Manifold(wide).share_inside(narrow) > 0.95 > 0.5 > Manifold(narrow).share_inside(wide)
    assert Manifold(wide).share_inside(elsewhere) == Manifold(elsewhere).share_inside(wide) == 0
    assert Manifold(wide).share_inside(wide) == 1


def test_a_point_at_the_very_radius_is_inside():
    points = np.float32([[0], [1], [2], [3]])
    assert Manifold(points, k=3).radii.tolist() == [3, 2, 2, 3]
    assert Manifold(points, k=3).share_inside(np.float32([[-3], [-3.01], [6], [6.01]])) == 0.5


def test_copies_are_neighbours():
    points = np.repeat(rows(10), 4, axis=0)
    manifold = Manifold(points, k=3)
    np.testing.assert_allclose(manifold.radii, 0, atol=2e-3)
    assert manifold.share_inside(points) == 1 and manifold.share_inside(points + 1) == 0
