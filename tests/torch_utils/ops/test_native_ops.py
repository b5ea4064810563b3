"""The native operators on the CPU, as raw operators, against the ones in plain PyTorch."""

import pytest
import torch
from helpers.native_cases import FORMATS, PIECEWISE, activations, by_definition, close, resamplings
from hypothesis import given, settings

from torch_utils.ops import torch_kernels
from torch_utils.ops import upfirdn2d as op
from torch_utils.ops.bias_act import activation_funcs
from torch_utils.ops.upfirdn2d import parse_padding, setup_filter

FEW = settings(derandomize=True, deadline=None, max_examples=50)
DTYPES = [torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=resamplings())
@FEW
def test_upfirdn2d(native_ops, dtype, memory_format, case):
    x, *call = case
    x = x.to(dtype).contiguous(memory_format=memory_format)
    y = native_ops.upfirdn2d(x, *call)
    ambiguous = x.shape[1] == 1 or min(x.shape[2:]) == 1  # such an image is in both memory formats
    assert y.dtype == dtype and (ambiguous or y.is_contiguous(memory_format=memory_format))
    close(y, by_definition(x.double(), *call))


@pytest.fixture
def through_native(native_ops, monkeypatch):
    """torch_utils.ops.upfirdn2d on top of the native operator."""
    monkeypatch.setattr(op, 'kernels', lambda x: native_ops)
    return op


def test_upfirdn2d_agrees_with_golden_numbers(through_native, golden, agrees):
    g = golden('op_upfirdn2d')
    for case in g.meta['cases']:
        kwargs = {k: v for k, v in case.items() if k not in ('key', 'op', 'taps')}
        agrees(getattr(op, case.get('op', 'upfirdn2d'))(g['x'], g[f'filter_{case["taps"]}'], **kwargs), g[case['key']])


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('call', [dict(up=2, padding=[2, 1, 2, 1], gain=4), dict(down=2, padding=1),
                                  dict(up=[2, 1], down=[1, 3], padding=[-1, 2, 3, 1], flip_filter=True)])
@pytest.mark.parametrize('taps', [[1, 3, 3, 1], [1, 2, 4, 8, 16, 8, 4, 3, 2]])
def test_upfirdn2d_has_first_and_second_gradients(through_native, call, taps, memory_format):
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    f = setup_filter(taps)
    call = {**call, 'padding': [p + 4 for p in parse_padding(call['padding'])]}
    assert torch.autograd.gradcheck(lambda x: op.upfirdn2d(x, f, **call), x)
    assert torch.autograd.gradgradcheck(lambda x: op.upfirdn2d(x, f, **call).square(), x)


def test_upfirdn2d_takes_views_and_refuses_what_does_not_fit(native_ops):
    x, f = torch.randn(2, 6, 9, 8), setup_filter([1, 3, 3, 1])
    call = f, [2, 1], [1, 2], [1, 2, 3, 4], False, 1.0
    for view in (x[:, ::2], x[:, :, 1:], x.transpose(2, 3), x.to(memory_format=torch.channels_last)[:, 1:4]):
        close(native_ops.upfirdn2d(view, *call), torch_kernels.upfirdn2d(view.double(), *call))
    assert native_ops.upfirdn2d(x[:0], *call).shape == (0, 6, 7, 16)
    for image, kwargs in ((x[0], {}), (x, dict(up=[0, 1])), (x, dict(padding=[0, -9, 0, 0])), (x, dict(f=f[None]))):
        arguments = dict(f=f, up=[1, 1], down=[1, 1], padding=[0] * 4, flip_filter=False, gain=1.0) | kwargs
        with pytest.raises(ValueError, match=r'images|least|taps|filter'):
            native_ops.upfirdn2d(image, **arguments)
    with pytest.raises(TypeError, match='bfloat16'):
        native_ops.upfirdn2d(x.half(), *call)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=activations())
@FEW
def test_bias_act(native_ops, dtype, memory_format, case):
    """Values and both derivatives. The reference sees the rounded inputs, and y where its sign and clamp decide."""
    act, *tensors, (dim, alpha, gain, clamp) = case
    x, b, dy, ddx = (None if t is None else t.to(dtype) for t in tensors)
    if x.ndim == 4:
        x, dy, ddx = (t.contiguous(memory_format=memory_format) for t in (x, dy, ddx))
    call = dim, list(activation_funcs).index(act), alpha, gain, clamp
    y = native_ops.bias_act(x, b, *call)
    assert y.dtype == dtype and y.stride() == x.stride()

    x64, dy64 = (t.double().requires_grad_() for t in (x, dy))
    b64 = None if b is None else b.double()
    y64 = torch_kernels.bias_act(x64, b64, dim, act, alpha, gain, None if clamp < 0 else clamp)
    close(y, y64)
    near = x64.detach() if b is None else x64.detach() + b64.reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    at_a_kink = (near.abs() < 0.02) | ((y64.abs() - clamp).abs() < 0.02)  # rounding decides on which side

    unused = x.new_empty(0)
    known = (unused, y) if act in PIECEWISE else (x, unused)
    if act == 'linear' and clamp < 0:
        known = unused, unused
    dx64, = torch.autograd.grad(y64, x64, dy64, create_graph=True)
    dx = native_ops.bias_act_backward(dy, known[0], b, known[1], *call)
    assert dx.dtype == dtype and dx.stride() == x.stride()
    close(dx.masked_fill(at_a_kink, 0), dx64.detach().masked_fill(at_a_kink, 0), 4)

    d_dy, d_x = native_ops.bias_act_backward2(ddx, dy, known[0], b, known[1], *call)
    d_dy64, d_x64 = torch.autograd.grad(dx64, [dy64, x64], ddx.double(), allow_unused=True)
    close(d_dy.masked_fill(at_a_kink, 0), d_dy64.masked_fill(at_a_kink, 0), 4)
    if act in PIECEWISE:
        assert d_x.shape == (0,) and (d_x64 is None or not d_x64.any())
    else:
        close(d_x.masked_fill(at_a_kink, 0), d_x64.masked_fill(at_a_kink, 0), 8)


def test_bias_act_agrees_with_golden_numbers(native_ops, golden, agrees):
    g = golden('op_bias_act')
    for case in g.meta['cases']:
        default = activation_funcs[case['act']]
        alpha, gain, clamp = (case[k] if case[k] is not None else d for k, d in (*default._asdict().items(), ('clamp', -1.0)))
        call = 1, list(activation_funcs).index(case['act']), alpha, gain, clamp
        x, b, key = g['x'], g['b'], case['key']
        y = native_ops.bias_act(x, b, *call)
        dy = 2 * y  # of the sum of squares
        dx = native_ops.bias_act_backward(dy, x, b, y, *call)
        d_dy, d_x = native_ops.bias_act_backward2(2 * dx, dy, x, b, y, *call)
        ggx = 2 * native_ops.bias_act_backward(d_dy, x, b, y, *call)
        for name, value in dict(y=y, gx=dx, gb=dx.sum([0, 2, 3]), ggx=ggx + d_x if d_x.numel() else ggx).items():
            agrees(value, g[f'{key}/{name}'])


def test_bias_act_at_extremes(native_ops):
    """No overflow in between; NaN stays; tensors of any strides."""
    x = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4, float('nan')])
    for number, act in enumerate(activation_funcs):
        y = native_ops.bias_act(x, None, 0, number, 0.2, 1.0, -1.0)
        torch.testing.assert_close(y, torch_kernels.bias_act(x, None, 0, act, 0.2, 1.0, None), equal_nan=True)
        if act not in PIECEWISE:
            derivatives = native_ops.bias_act_backward2(torch.ones(6), torch.ones(6), x, None, x[:0], 0, number, 0.2, 1.0, 50.0)
            assert all(d[:5].isfinite().all() for d in derivatives)
    strided, b = torch.randn(4, 6, 5)[:, ::2], torch.randn(3)
    torch.testing.assert_close(native_ops.bias_act(strided, b, 1, 2, 0.2, 1.5, 0.8),
                               torch_kernels.bias_act(strided, b, 1, 'lrelu', 0.2, 1.5, 0.8))
    y, dy = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    torch.testing.assert_close(native_ops.bias_act_backward(dy, y[:0], None, y, 1, 1, 0.0, 2.0, -1.0), dy * (y > 0) * 2)
    assert native_ops.bias_act(torch.zeros(0, 3), b, 1, 2, 0.2, 1.0, -1.0).shape == (0, 3)


@pytest.mark.parametrize('act', [act for act in activation_funcs if act not in PIECEWISE])
def test_small_and_large_values_keep_their_precision(native_ops, act):
    """The kernels have an exponential of their own: relative to each value it must be as good as the library's."""
    size = torch.logspace(-9, 1.9, 5000, dtype=torch.float64).float()
    x = torch.cat([-size, size, torch.tensor([0.0, -88.0, 88.0, -1000.0, 1000.0])])
    y = native_ops.bias_act(x, None, 0, list(activation_funcs).index(act), 0.0, 1.0, -1.0)
    expected = torch_kernels.bias_act(x.double(), None, 0, act, 0.0, 1.0, None)
    torch.testing.assert_close(y.double(), expected, rtol=5e-7, atol=2e-35)


@pytest.mark.parametrize('memory_format', FORMATS)
def test_the_number_of_threads_changes_no_bit(native_ops, memory_format):
    f, b = setup_filter([1, 3, 3, 1]), torch.randn(37)
    images = [torch.randn(shape).contiguous(memory_format=memory_format) for shape in ((5, 37, 65, 33), (50, 37, 7, 9))]

    def results():
        for x in images:
            yield native_ops.upfirdn2d(x, f, [2, 2], [1, 1], [2, 1, 2, 1], False, 4.0)
            yield native_ops.upfirdn2d(x, torch.arange(12.0).reshape(3, 4) ** 2, [1, 1], [2, 1], [2, 1, 2, 1], False, 4.0)
            yield from (native_ops.bias_act(x, b, 1, act, 0.2, 1.0, 0.5) for act in (2, 8))

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = list(results())
        torch.set_num_threads(3)
        assert all(torch.equal(a, b) for a, b in zip(alone, results(), strict=True))
    finally:
        torch.set_num_threads(threads)
