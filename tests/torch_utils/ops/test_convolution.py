"""Our gradients of convolutions, on the CPU: values, two derivatives, forward mode, and the sizes of the kernels used."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils import devices
from torch_utils.forward_ad import jvp
from torch_utils.ops import convolution

CASES = [('conv2d', dict()), ('conv2d', dict(padding=(1, 2))), ('conv2d', dict(stride=2, padding=(1, 1))),
         ('conv2d', dict(stride=2, padding=(0, 1), groups=2)), ('conv_transpose2d', dict(padding=(1, 0))),
         ('conv_transpose2d', dict(stride=2)), ('conv_transpose2d', dict(stride=2, padding=(1, 1), groups=2))]


@pytest.fixture(autouse=True)
def own(monkeypatch):
    monkeypatch.setattr(devices, 'wants_own_convolution_gradients', lambda device: True)


def tensors(kind, options, size=(6, 5), dtype=torch.float64):
    """x [2, 4, H, W] and w, for 4 input and 6 output channels of two groups at most."""
    groups = options.get('groups', 1)
    shape = (6, 4 // groups, 3, 3) if kind == 'conv2d' else (4, 6 // groups, 3, 3)
    torch.manual_seed(0)
    return [torch.randn(s, dtype=dtype, requires_grad=True) for s in ((2, 4, *size), shape)]


@pytest.mark.parametrize('kind, options', CASES)
def test_values_and_two_derivatives_are_right(kind, options):
    x, w = tensors(kind, options)
    ours, theirs = getattr(convolution, kind), getattr(F, kind)
    assert torch.equal(ours(x, w, **options), theirs(x, w, **options))
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, w: ours(x, w, **options), (x, w))


@pytest.mark.parametrize('kind, options', CASES)
def test_forward_mode_agrees_with_pytorch_and_can_be_differentiated(kind, options):
    x, w = tensors(kind, options)
    v = torch.randn_like(x)

    def results(function):
        y, tangent = jvp(lambda x: function(x, w * x.mean(), **options), x, v)
        return [y, tangent, *torch.autograd.grad(tangent.square().sum(), [x, w])]

    for ours, theirs in zip(results(getattr(convolution, kind)), results(getattr(F, kind)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('wanted', ['x', 'w'])
def test_only_what_is_needed_is_computed(wanted):
    x, w = tensors('conv2d', {})
    (x if wanted == 'w' else w).requires_grad_(False)
    with Kernels() as kernels:
        convolution.conv2d(x, w).sum().backward()
    assert (x.grad is None, w.grad is None) == (wanted == 'w', wanted == 'x')
    assert kernels.count == 2  # forward, and one gradient


def test_no_kernel_is_as_large_as_the_image(monkeypatch):
    """Gradients of an R1 penalty; those of PyTorch are the counterexample."""
    assert largest_kernel() == 3
    monkeypatch.setattr(devices, 'wants_own_convolution_gradients', lambda device: False)
    assert largest_kernel() > 8


def largest_kernel():
    x, w = tensors('conv2d', {}, size=(12, 12))
    y = convolution.conv2d(convolution.conv2d(x, w, padding=(1, 1)).square(), w[:, :1].repeat(1, 6, 1, 1), padding=(1, 1))
    gradient, = torch.autograd.grad(y.sum(), x, create_graph=True)
    with Kernels() as kernels:
        gradient.square().sum().backward()
    return kernels.largest


class Kernels(TorchDispatchMode):
    """Counts convolutions, and keeps the largest height of a weight."""

    count = largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__
        if name in ('convolution', 'convolution_backward'):
            self.count += 1
            self.largest = max(self.largest, args[1 if name == 'convolution' else 2].shape[2])
        return func(*args, **(kwargs or {}))
