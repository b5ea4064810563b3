"""Random cases for the native operators, and what is expected of them."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from torch_utils.ops.bias_act import activation_funcs
from torch_utils.ops.upfirdn2d import filter_size, setup_filter

FORMATS = [torch.contiguous_format, torch.channels_last]
PIECEWISE = ('linear', 'relu', 'lrelu')  # the activations without a second derivative
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 6e-3, torch.float32: 2e-6, torch.float64: 1e-13}


def close(actual, expected, times=1):
    """Equal up to rounding of the largest value; `expected` is in float64."""
    scale = expected.abs().max().clamp(min=1e-6)
    error = ((actual.double() - expected).abs().max() / scale).item()
    assert actual.shape == expected.shape and error <= times * TOLERANCE[actual.dtype], f'off by {error:.1e}'


@st.composite
def resamplings(draw):
    """Image and arguments of upfirdn2d: odd sizes, filters of both kinds, crops."""
    sizes, small = st.integers(1, 19), st.integers(1, 3)
    shape = [draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 4, 5, 8])), draw(sizes), draw(sizes)]
    torch.manual_seed(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(['usual', 'outer product', 'any', 'separable', 'asymmetric']))
    f = {'usual': setup_filter([1, 3, 3, 1]), 'outer product': setup_filter(torch.rand(draw(st.integers(1, 6)))),
         'any': torch.randn(draw(small), draw(st.integers(1, 5))), 'separable': torch.randn(draw(st.integers(1, 13))),
         'asymmetric': torch.outer(torch.randn(2), torch.randn(4))}[kind]
    up, down = ([draw(small), draw(small)] for _ in range(2))
    if draw(st.booleans()):
        up[1], down[1] = up[0], down[0]
    padding = [draw(st.integers(-4, 6)) for _ in range(4)]
    fw, fh = filter_size(f)
    padding[1] += max(0, fw - (shape[3] * up[0] + padding[0] + padding[1]))  # the filter must fit
    padding[3] += max(0, fh - (shape[2] * up[1] + padding[2] + padding[3]))
    return torch.randn(shape, dtype=torch.float64), f, up, down, padding, draw(st.booleans()), draw(st.sampled_from([1.0, -2.5]))


def by_definition(x, f, up, down, padding, flip, gain):
    """y[m, n] = sum of f[k, l] v[m down + k, n down + l], where v[q] is x[i] if q = i up + padding, in float64."""
    f = f.double()
    f = (torch.outer(f, f) if f.ndim == 1 else f) * gain
    f = f if flip else f.flip([0, 1])
    meets = []
    for axis in (1, 0):
        n, taps, (before, after) = x.shape[3 - axis], f.shape[1 - axis], padding[2 * axis:2 * axis + 2]
        m = torch.arange((n * up[axis] + before + after - taps) // down[axis] + 1)[:, None, None]
        k, i = torch.arange(taps)[:, None], torch.arange(n)
        meets.append((m * down[axis] + k == i * up[axis] + before).double())
    return torch.einsum('bchw,mkh,nlw,kl->bcmn', x, *meets, f)


SHAPES = [((3, 5, 4, 7), 1), ((2, 8, 8, 8), 1), ((700, 3), 1), ((4, 3, 5), 2), ((3, 4, 5), 0), ((2, 3, 40, 40), 1), ((11,), 0)]


@st.composite
def activations(draw):
    """Tensors x, b, dy, ddx in float64 and the numbers of a call."""
    act = draw(st.sampled_from(list(activation_funcs)))
    shape, dim = draw(st.sampled_from(SHAPES))
    torch.manual_seed(draw(st.integers(0, 99)))
    x, dy, ddx = (torch.randn(shape, dtype=torch.float64) * draw(st.sampled_from([1, 4])) for _ in range(3))
    b = torch.randn(shape[dim], dtype=torch.float64) if draw(st.booleans()) else None
    gain = activation_funcs[act].gain if draw(st.booleans()) else 1.7
    return act, x, b, dy, ddx, (dim, 0.2, gain, draw(st.sampled_from([-1.0, 0.8, 3.0])))
