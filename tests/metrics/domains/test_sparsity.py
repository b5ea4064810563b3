"""Measures of sparsity, against what a hand computes."""

import math

import pytest
import torch

from metrics.domains.sparsity import gini, hoyer


@pytest.mark.parametrize('x,expected', [
    ([1, 1, 1, 1], 0), ([0, 0, 5, 0], 1), ([3, 4], (math.sqrt(2) - 7 / 5) / (math.sqrt(2) - 1)),
    ([3, -4], (math.sqrt(2) - 7 / 5) / (math.sqrt(2) - 1)), ([1, 1, 0, 0], 2 - math.sqrt(2))])
def test_hoyer(x, expected):
    assert hoyer(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected)


@pytest.mark.parametrize('x,expected', [
    ([1, 1, 1, 1], 0), ([0, 0, 0, 1], 3 / 4), ([1, 2, 3, 4], 1 / 4), ([4, -2, -1, 3], 1 / 4), ([7], 0), ([0, 1], 1 / 2)])
def test_gini(x, expected):
    assert gini(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected)


@pytest.mark.parametrize('measure', [hoyer, gini])
def test_rows_are_measured_one_by_one_and_scale_does_not_matter(measure):
    x = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0))
    result = measure(x)
    assert result.shape == (3, 2) and ((result > 0) & (result < 1)).all()
    torch.testing.assert_close(measure(1000 * x), result)
    torch.testing.assert_close(measure(x[1, 1]), result[1, 1])
    shuffled = x[..., torch.randperm(50, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(measure(shuffled), result)


@pytest.mark.parametrize('measure', [hoyer, gini])
def test_what_has_no_sparsity_is_nan(measure):
    assert measure(torch.zeros(5)).isnan() and measure(torch.zeros(0)).isnan()


def test_hoyer_needs_two_entries():
    assert hoyer(torch.rand(1000, 1, generator=torch.Generator().manual_seed(0))).isnan().all()
