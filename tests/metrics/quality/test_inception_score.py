"""The inception score against closed forms and another implementation."""

import numpy as np
import pytest
import torch
from helpers.doubles import Passing

from metrics.quality.inception_score import score


def test_each_image_of_one_class():
    """As many classes as are seen: exp(log C)."""
    assert score(np.eye(5)[np.arange(100) % 5]) == (pytest.approx(5), pytest.approx(0, abs=1e-12))
    assert score(np.eye(5)[np.zeros(100, int)]) == (pytest.approx(1), 0)


def test_classes_that_say_nothing():
    assert score(np.full([50, 8], 1 / 8)) == (pytest.approx(1), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize('n', [10, 103])
def test_parts_are_consecutive(n):
    p = torch.from_numpy(np.random.RandomState(0).randn(n, 6)).softmax(dim=1).numpy()
    values = []
    for i in range(10):
        part = p[i * n // 10:(i + 1) * n // 10]
        mean = part.mean(axis=0)
        values.append(np.exp(np.mean([sum(a * (np.log(a) - np.log(b)) for a, b in zip(row, mean, strict=True)) for row in part])))
    assert score(p.astype(np.float32)) == (pytest.approx(np.mean(values), rel=1e-6), pytest.approx(np.std(values), rel=1e-4))


def test_against_torchmetrics():
    inception = pytest.importorskip('torchmetrics.image.inception', reason='for comparison only; in requirements-dev.txt')
    logits = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) * 2
    theirs = inception.InceptionScore(feature=Passing(12), splits=10)
    theirs.update(logits[:, None, None])
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        mean, std = theirs.compute()
        torch.manual_seed(0)
        order = torch.randperm(200)
    ours = score(logits[order].softmax(dim=1).numpy())
    assert ours == (pytest.approx(float(mean), rel=1e-4), pytest.approx(float(std) * np.sqrt(9 / 10), rel=1e-4))
