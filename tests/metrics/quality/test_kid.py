"""Kernel distances against a brute-force reference."""

import numpy as np
import pytest
import torch
from helpers.doubles import Passing

from metrics.quality.kid import kernel_distance


def rows(n, width=16, shift=0.0, seed=0):
    return (np.random.RandomState(seed).randn(n, width) + shift).astype(np.float32)


def generator(seed=5):
    return torch.Generator().manual_seed(seed)


def estimate(x, y):
    """Of two sets of equal size, by summing over pairs one by one."""
    x, y, m = x.astype(np.float64), y.astype(np.float64), len(x)

    def k(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    return within / (m * (m - 1)) - 2 * sum(k(a, b) for a in x for b in y) / m ** 2


def test_of_whole_sets():
    x, y = rows(20), rows(20, shift=0.5, seed=1)
    assert kernel_distance(x, y, generator()) == pytest.approx(estimate(x, y), rel=1e-9)
    assert kernel_distance(x, y, generator(6)) == pytest.approx(estimate(x, y), rel=1e-9), 'no subset to draw'


@pytest.mark.parametrize('num_real,num_fake,most,m', [(40, 30, 10, 10), (12, 30, 1000, 12), (30, 12, 1000, 12)])
def test_of_subsets(num_real, num_fake, most, m):
    real, fake, draws = rows(num_real), rows(num_fake, shift=0.3, seed=1), generator()
    values = []
    for _ in range(4):
        y = fake[torch.randperm(num_fake, generator=draws)[:m].numpy()]
        x = real[torch.randperm(num_real, generator=draws)[:m].numpy()]
        values.append(estimate(x, y))
    value = kernel_distance(real, fake, generator(), num_subsets=4, max_subset_size=most)
    assert value == pytest.approx(np.mean(values), rel=1e-9) and np.ptp(values) > 0


def test_it_is_unbiased():
    """Of sets of the same distribution it is 0 in the mean, below it as often as above."""
    values = [kernel_distance(rows(25, seed=2 * i), rows(25, seed=2 * i + 1), generator()) for i in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300) and 0.3 < np.mean(np.array(values) < 0) < 0.8
    assert kernel_distance(rows(200), rows(200, shift=0.5, seed=1), generator()) > 5 * np.std(values)


def test_features_in_a_file_are_read_where_they_are_needed(tmp_path):
    x, y = rows(300), rows(200, seed=1)
    np.save(tmp_path / 'x.npy', x)
    mapped = np.load(tmp_path / 'x.npy', mmap_mode='r')
    values = [kernel_distance(real, y, generator(), max_subset_size=20) for real in (x, mapped)]
    assert values[0] == values[1]


def test_against_torchmetrics():
    kid = pytest.importorskip('torchmetrics.image.kid', reason='for comparison only; in requirements-dev.txt')
    x, y = rows(60), rows(60, shift=0.4, seed=1)
    theirs = kid.KernelInceptionDistance(feature=Passing(16), subsets=2, subset_size=60)
    for part, real in ((x, True), (y, False)):
        theirs.update(torch.from_numpy(part)[:, None, None], real=real)
    assert kernel_distance(x, y, generator()) == pytest.approx(float(theirs.compute()[0]), rel=1e-4)
