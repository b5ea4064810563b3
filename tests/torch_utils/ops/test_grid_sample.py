"""Bilinear sampling: values by the definition, first and second gradients against finite differences."""

import math

import pytest
import torch

from torch_utils.ops.grid_sample import grid_sample


@pytest.fixture
def case():
    """Images [2, 3, 4, 5], and places of which some are outside."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    return images, torch.rand(2, 3, 6, 2, dtype=torch.float64) * 3 - 1.5


def test_equals_its_definition(case):
    """Each sample is the mean of the four pixels around it, weighted by nearness; pixels outside are zero."""
    images, grid = case
    y, outside = grid_sample(images, grid), 0
    for n, i, j in torch.cartesian_prod(*(torch.arange(s) for s in (2, 3, 6))).tolist():
        x, v = ((g.item() + 1) / 2 * size - 0.5 for g, size in zip(grid[n, i, j], (5, 4), strict=True))
        expected = torch.zeros(3, dtype=torch.float64)
        for row in (math.floor(v), math.floor(v) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < 4 and 0 <= column < 5:
                    expected += images[n, :, row, column] * (1 - abs(v - row)) * (1 - abs(x - column))
                else:
                    outside += 1
        torch.testing.assert_close(y[n, :, i, j], expected)
    assert 10 < outside < 100


def test_first_and_second_gradients(case):
    images, grid = case
    assert torch.autograd.gradcheck(lambda x: grid_sample(x, grid), images)
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, grid).pow(3), images)


def test_third_gradients(case):
    """The adjoint of the adjoint is the sampling itself, and so on."""
    images, grid = case

    def gradient(x):
        return torch.autograd.grad(grid_sample(x, grid).pow(4).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, images[:1, :1, :2, :2].detach().expand(2, 1, 2, 2).clone().requires_grad_())


def test_the_grid_is_a_constant(case):
    images, grid = case
    y = grid_sample(images, grid.requires_grad_())
    assert torch.autograd.grad(y.sum(), [images, grid], allow_unused=True)[1] is None


@pytest.mark.parametrize('images, grid', [((1, 2, 3), (1, 2, 2, 2)), ((1, 1, 2, 2), (1, 2, 2)), ((1, 1, 2, 2), (1, 2, 2, 3)),
                                          ((2, 1, 2, 2), (1, 2, 2, 2))])
def test_shapes_that_do_not_fit_are_refused(images, grid):
    with pytest.raises(ValueError, match='grid'):
        grid_sample(torch.zeros(images), torch.zeros(grid))
