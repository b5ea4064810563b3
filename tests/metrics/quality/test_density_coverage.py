"""Density and coverage: cases of which the value is known, and a brute-force reference in float64."""

import numpy as np
import pytest
import torch
from helpers.shapes import write_dataset
from helpers.stand_in import StandIn

from metrics.context import Context
from metrics.quality.density_coverage import density_and_coverage
from metrics.quality.precision_recall import Manifold
from metrics.registry import calc_metric
from training.data.loose_images import LooseImages


def rows(n, width=6, shift=0.0, scale=1.0, seed=0):
    return (np.random.RandomState(seed).randn(n, width) * scale + shift).astype(np.float32)


def of(real, fake, k=5, **kwargs):
    return density_and_coverage(Manifold(np.float32(real), k, dtype=np.float64, **kwargs), np.float32(fake))


def brute_force(real, fake, k):
    def apart(a, b):
        return np.linalg.norm(a[:, None].astype(np.float64) - b[None].astype(np.float64), axis=2)

    inside = apart(real, fake) < np.sort(apart(real, real), axis=1)[:, [k]]  # number 0 is the point itself
    return inside.sum() / (k * len(fake)), inside.any(axis=1).mean()


@pytest.mark.parametrize('k', [1, 3, 5])
@pytest.mark.parametrize('block', [7, 64, 10_000])
def test_against_brute_force(k, block):
    real, fake = rows(100), rows(77, shift=0.4, scale=0.9, seed=1)
    expected = brute_force(real, fake, k)
    assert 0.1 < expected[0] < 2 and 0.05 < expected[1] < 0.95
    assert of(real, fake, k, block=block) == pytest.approx(expected, abs=1e-12)


def test_identical_sets():
    for width in (1, 6, 300):
        points = rows(200, width)
        assert of(points, points) == (1, 1)
        assert of(points, points[np.random.RandomState(3).permutation(200)]) == (1, 1)


def test_far_apart():
    assert of(rows(100), rows(50, shift=100)) == (0, 0)


def test_points_on_a_line():
    """Balls of k = 1: 0, 1, 3, 6 with radii 1, 1, 2, 3."""
    line = np.float32([[0], [1], [3], [6]])
    assert of(line, [[0.5]], k=1) == (2, 0.5)             # in those of 0 and 1
    assert of(line, [[0.5], [3.5]], k=1) == (2, 1)        # and those of 3 and 6
    assert of(line, [[9]], k=1) == (0, 0)                 # at the very radius: outside
    assert of(line, [[8.99], [100]], k=1) == (0.5, 0.25)
    assert of(line, [[2]], k=1) == (1, 0.25)              # at the radius of 1, inside that of 3


def test_a_dense_spot_counts_in_density_and_not_in_coverage():
    """Precision would be 1 in both cases, and so it says nothing."""
    wide, narrow = rows(400, width=2), rows(400, width=2, scale=0.1, seed=1)
    density, coverage = of(wide, narrow)
    assert density > 1.1 and coverage < 0.2


def test_two_samples_of_one_distribution():
    """Density is 1 on average, and coverage 1 - Π (N - i) / (M + N - i), i = 1..k, by the paper."""
    found = np.array([of(rows(150, 3, seed=2 * i), rows(150, 3, seed=2 * i + 1)) for i in range(60)])
    i = np.arange(1, 6)
    expected = 1 - np.prod((150 - i) / (300 - i))
    for values, value in zip(found.T, (1, expected), strict=True):
        assert abs(values.mean() - value) < 4 * values.std() / np.sqrt(60)


def test_one_far_real_image_hardly_matters():
    """It makes recall and precision unreliable, for its ball is large; density divides by k."""
    real = np.concatenate([rows(200, 3), np.full([1, 3], 30, np.float32)])
    fake = rows(200, 3, shift=15, scale=0.5, seed=1)
    assert Manifold(real, 5).share_inside(fake) == 1
    density, coverage = of(real, fake)
    assert density == pytest.approx(0.2) and coverage == pytest.approx(1 / 201)


def test_images_that_occur_more_than_k_times_cannot_be_covered():
    copies = np.repeat(rows(10, 40), 6, axis=0)
    assert of(copies, copies) == (0, 0)
    others = np.concatenate([rows(60, 40, seed=1), copies[:6]])
    assert of(others, others)[1] == pytest.approx(60 / 66)


def test_of_images(tmp_path):
    """As a metric, of images against themselves."""
    data = LooseImages(write_dataset(tmp_path / 'shapes.zip', count=60))
    context = Context(None, data, torch.device('cpu'), images=data,
                      detectors={('vgg16', 'published'): StandIn('vgg16', 'vgg16')})
    result, record = calc_metric('dc60_5', context)
    assert list(record['results']) == ['dc60_5_density', 'dc60_5_coverage']
    assert record['results']['dc60_5_coverage'] > 0.5 and result.draw is None
