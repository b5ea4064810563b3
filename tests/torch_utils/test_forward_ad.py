"""Forward-mode differentiation: values and tangents, and the gradients of both."""

import pytest
import torch

from torch_utils.forward_ad import jvp


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_value_and_tangent_of_a_known_function():
    x, v = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    y, tangent = jvp(lambda x: torch.stack([x[0] * x[1], x[0] ** 2, x.sum()]), x, v)
    assert y.tolist() == [2.0, 1.0, 3.0] and tangent.tolist() == [5.0, 6.0, 2.0]


def test_equals_the_product_with_the_jacobian():
    w, x, v = randn(5, 3), randn(4, 3), randn(4, 3)
    J = torch.autograd.functional.jacobian(lambda x: torch.tanh(x @ w.T), x)
    tangent = jvp(lambda x: torch.tanh(x @ w.T), x, v)[1]
    torch.testing.assert_close(tangent, torch.einsum('noif,if->no', J, v))


def test_what_does_not_depend_on_x_has_tangent_zero():
    y, tangent = jvp(lambda x: torch.ones(2, 3), torch.zeros(4), torch.ones(4))
    assert torch.equal(y, torch.ones(2, 3)) and torch.equal(tangent, torch.zeros(2, 3))


@pytest.mark.parametrize('part', [0, 1])
def test_gradients_of_value_and_tangent(part):
    """Reverse over forward: with respect to parameters, the point and the direction."""
    w, x, v = randn(5, 3), randn(4, 3), randn(4, 3)
    assert torch.autograd.gradcheck(lambda w, x, v: jvp(lambda x: torch.sin(x @ w.T).square(), x, v)[part], (w, x, v))


def test_nothing_is_left_behind():
    x = randn(3)
    for _ in range(2):
        jvp(torch.sin, x, torch.ones_like(x))
        with pytest.raises(ZeroDivisionError):
            jvp(lambda x: 1 / 0, x, torch.ones_like(x))
    with torch.autograd.forward_ad.dual_level():  # levels cannot be nested: an open one would be refused here
        assert torch.autograd.forward_ad.unpack_dual(x).tangent is None
