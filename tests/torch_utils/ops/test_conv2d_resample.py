"""Resampling convolution: recorded numbers, the definition, gradients; the two forms of modulation."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from torch_utils.forward_ad import jvp
from torch_utils.ops.conv2d_resample import conv2d_resample, modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d

pytestmark = pytest.mark.usefixtures('ops')


def test_agrees_with_golden_numbers(golden, agrees):
    g = golden('op_conv2d_resample')
    for case in g.meta['cases']:
        key, w = case.pop('key'), g[case.pop('w')]
        agrees(conv2d_resample(g['x'], w, f=g['f'], **case), g[key])


def by_definition(x, w, f, up, down, pad, flip_weight):
    pads = [pad] * 4
    for i in range(4):
        taps = f.shape[0]
        pads[i] += ((taps + up - 1) // 2, (taps - up) // 2)[i % 2] * (up > 1)
        pads[i] += ((taps - down + 1) // 2, (taps - down) // 2)[i % 2] * (down > 1)
    x = upfirdn2d(x, f if up > 1 else None, up=up, padding=pads, gain=up ** 2)
    x = F.conv2d(x, w if flip_weight else w.flip([2, 3]))
    return upfirdn2d(x, f, down=down) if down > 1 else x


def test_every_order_equals_the_definition():
    x = torch.randn(2, 4, 10, 10, dtype=torch.float64)
    f = setup_filter([1, 2, 4])
    for k, up, down, pad, flip in itertools.product((1, 3), (1, 2, 3), (1, 2), (0, 1), (False, True)):
        w = torch.randn(5, 4, k, k, dtype=torch.float64)
        actual = conv2d_resample(x, w, f, up=up, down=down, padding=pad, flip_weight=flip)
        torch.testing.assert_close(actual, by_definition(x, w, f, up, down, pad, flip))


@pytest.mark.parametrize('call', [dict(up=2), dict(down=2), dict(), dict(up=2, flip_weight=False)])
def test_gradients(ops, call):
    f = setup_filter([1, 3, 3, 1])
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, w: conv2d_resample(x, w, f, padding=1, **call), (x, w), fast_mode=ops == 'emulated')


@pytest.mark.parametrize('k, up, demodulate', [(3, 1, True), (3, 2, True), (1, 1, False), (1, 1, True), (3, 2, False)])
def test_fused_and_unfused_modulation_agree_with_per_sample_weights(k, up, demodulate):
    x, s = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    w, noise = torch.randn(5, 4, k, k, dtype=torch.float64), torch.randn(3, 1, 8 * up, 8 * up, dtype=torch.float64)
    f = setup_filter([1, 3, 3, 1])
    call = dict(up=up, padding=k // 2, resample_filter=f, demodulate=demodulate, flip_weight=up == 1)
    expected = []
    for i in range(3):
        wi = w * s[i, None, :, None, None]
        if demodulate:
            wi = wi / (wi.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected.append(conv2d_resample(x[i:i + 1], wi, f, up=up, padding=k // 2, flip_weight=up == 1) + noise[i:i + 1])
    for fused in (False, True):
        actual = modulated_conv2d(x, w, s, noise, fused_modconv=fused, **call)
        torch.testing.assert_close(actual, torch.cat(expected))


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('k, up, demodulate', [(3, 1, True), (3, 2, True), (1, 1, False)])
def test_forward_mode_through_modulation(k, up, demodulate, fused):
    """Tangents of image, weight and style at once; and the gradient of a function of the tangent."""
    x, s, v = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 4, 4), (2, 2), (2, 2)))
    w = torch.randn(3, 2, k, k, dtype=torch.float64, requires_grad=True)
    call = dict(up=up, padding=k // 2, resample_filter=setup_filter([1, 3, 3, 1]), demodulate=demodulate, flip_weight=up == 1,
                fused_modconv=fused)
    assert torch.autograd.gradcheck(lambda x, w, s: modulated_conv2d(x, w, s, **call), (x, w, s), check_forward_ad=True,
                                    check_backward_ad=False)

    def of_tangent(w, s, v):
        return jvp(lambda s: modulated_conv2d(x.detach(), w, s, **call), s, v)[1].square()

    assert torch.autograd.gradcheck(of_tangent, (w, s, v))


def test_published_modulation_numbers():
    """Sums recorded for deterministic sine inputs."""
    def wave(shape, a):
        i = torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float64)
        return torch.sin(a * i).float().reshape(shape)

    x, w, s = wave((2, 3, 8, 8), 0.3), wave((4, 3, 3, 3), 0.21), 1 + wave((2, 3), 0.5)
    call = dict(up=2, padding=1, resample_filter=setup_filter([1, 3, 3, 1]), flip_weight=False)
    y = modulated_conv2d(x, w, s, **call)
    assert y.sum().item() == pytest.approx(15.717205, rel=1e-4) and y.abs().sum().item() == pytest.approx(368.386463, rel=1e-4)
    y = modulated_conv2d(x, w, s, demodulate=False, **call)
    assert y.abs().sum().item() == pytest.approx(2233.814364, rel=1e-4)
