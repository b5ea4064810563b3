"""The operators in plain PyTorch, for every device and every dtype that its convolutions support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def resample(x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
             padding: tuple[int, int, int, int], flip_filter: bool, gain: float) -> torch.Tensor:
    """Zero-insert, pad or crop, filter and decimate. x [N,C,H,W]; f [fh,fw] or, separable, [taps].

    up, down: (x, y). padding: (left, right, top, bottom); negative numbers crop. Callers must not differentiate through it.
    """
    f = f.to(x.dtype) * gain ** (f.ndim / 2)
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))  # PyTorch's convolutions are correlations
    if f.ndim == 2:
        return _fir(x, f, up, down, padding)
    x = _fir(x, f[None, :], (up[0], 1), (down[0], 1), (*padding[:2], 0, 0))
    return _fir(x, f[:, None], (1, up[1]), (1, down[1]), (0, 0, *padding[2:]))


upfirdn2d = resample  # name of the operator in every backend


def _fir(x: torch.Tensor, k: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
         padding: tuple[int, int, int, int]) -> torch.Tensor:
    """One depthwise pass with the correlation kernel k [fh,fw]."""
    channels = x.shape[1]
    left, right, top, bottom = padding
    if up == (1, 1):
        symmetric = (top, left) if left == right >= 0 and top == bottom >= 0 else (0, 0)
        if symmetric != (top, left) or (right, bottom) != (left, top):
            x = _pad(x, padding)
        weight = k.expand(channels, 1, *k.shape)
        return F.conv2d(x, weight, stride=down[::-1], padding=symmetric, groups=channels)

    # A transposed convolution never touches the inserted zeros. With stride u it gives the full convolution t of the
    # zero-inserted signal, without the u-1 zeros after its last sample. The wanted y[m] is t[m + F - 1 - p0].
    fh, fw = k.shape
    weight = k.flip([0, 1]).expand(channels, 1, fh, fw)
    grow = [left - (fw - 1), right - (fw - up[0]), top - (fh - 1), bottom - (fh - up[1])]
    crop = [max(min(-grow[2 * i], -grow[2 * i + 1]), 0) for i in (0, 1)]  # what the operator itself can crop, x and y
    y = F.conv_transpose2d(x, weight, stride=up[::-1], padding=crop[::-1], groups=channels)
    rest = [g + crop[i // 2] for i, g in enumerate(grow)]
    if any(rest):
        y = _pad(y, rest)
    return y if down == (1, 1) else y[:, :, ::down[1], ::down[0]].contiguous()


def _pad(x: torch.Tensor, padding: Sequence[int]) -> torch.Tensor:
    """Pad images with zeros. Negative numbers crop, even by more than the image if zeros on the other side make up for it."""
    if min(padding) < 0 < max(padding):
        x = F.pad(x, [max(p, 0) for p in padding])
        padding = [min(p, 0) for p in padding]
    return F.pad(x, padding)


CURVED = {  # activations with a second derivative, which autograd handles
    'tanh':     torch.tanh,
    'sigmoid':  torch.sigmoid,
    'elu':      F.elu,
    'selu':     lambda x: SELU_SCALE * torch.where(x > 0, x, SELU_ALPHA * torch.expm1(x.clamp(max=0))),
    'softplus': F.softplus,
    'swish':    F.silu,
}


def bias_act(x: torch.Tensor, b: torch.Tensor | None, dim: int, act: str, alpha: float, gain: float,
             clamp: float | None) -> torch.Tensor:
    """clamp(gain * act(x + b)). b is 1-D, along axis `dim` of x. Twice differentiable."""
    if b is not None:
        b = b.reshape([-1 if axis == dim else 1 for axis in range(x.ndim)])
    if act not in CURVED:  # linear, relu and lrelu are piecewise linear
        slope = {'linear': 1.0, 'relu': 0.0, 'lrelu': alpha}[act]
        return _PiecewiseLinear.apply(x, b, slope, gain, clamp)
    y = CURVED[act](x if b is None else x + b)  # type: ignore[operator]  # mypy finds no common type of these functions
    if gain != 1:
        y = y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)


class _PiecewiseLinear(torch.autograd.Function):
    """y = clamp(gain * max(x + b, slope * (x + b))), computed in place in one buffer instead of four.

    dy/dx takes three values and follows from y: gain, gain * slope, or 0 where y is clamped. The second derivative is zero. The
    backward pass and forward-mode differentiation are therefore differentiable as written.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, b: torch.Tensor | None, slope: float, gain: float,
                clamp: float | None) -> torch.Tensor:
        y = x.clone() if b is None else x + b
        if slope != 1:
            F.leaky_relu_(y, slope)
        if gain != 1:
            y.mul_(gain)
        if clamp is not None:
            y.clamp_(-clamp, clamp)
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)
        ctx.constants = slope, gain, clamp
        ctx.bias_shape = None if b is None else b.shape
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dx = dy * _PiecewiseLinear._factor(ctx)
        db = dx.sum_to_size(ctx.bias_shape) if ctx.bias_shape is not None and ctx.needs_input_grad[1] else None
        return dx, db, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Any, bias_tangent: Any, *_: Any) -> torch.Tensor:
        total = tangent if bias_tangent is None else bias_tangent if tangent is None else tangent + bias_tangent
        return total * _PiecewiseLinear._factor(ctx)

    @staticmethod
    @torch.no_grad()
    def _factor(ctx: Any) -> torch.Tensor | float:
        """Compute dy/dx."""
        (y,) = ctx.saved_tensors
        slope, gain, clamp = ctx.constants
        if slope == 1:
            factor = gain
        else:  # one of the two must carry the dtype: two plain numbers would give float32
            factor = torch.where(y > 0, gain, torch.full([], gain * slope, dtype=y.dtype, device=y.device))
        return factor if clamp is None else (y.abs() < clamp).to(y.dtype).mul_(factor)
