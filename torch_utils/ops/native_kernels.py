"""Derivatives of the operators in a library: the native one (C++ and CUDA), or the one compiled by NVRTC."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable

from torch_utils.ops import torch_kernels
from torch_utils.ops.activations import activation_funcs

NUMBERS = {act: number for number, act in enumerate(activation_funcs)}  # numbers of activations in the library
LINEAR = NUMBERS['linear']
STRAIGHT = (LINEAR, NUMBERS['relu'], NUMBERS['lrelu'])  # piecewise linear: the derivative follows from the result


class Kernels:
    """The operators torch.ops.<library>.*, which must be loaded.

    selected: name of the implementation, as in `log.txt`.
    """

    def __init__(self, library: str, selected: str):
        self.library, self.selected = library, selected
        describe(library)

    def upfirdn2d(self, x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
                  padding: tuple[int, int, int, int], flip_filter: bool, gain: float) -> torch.Tensor:
        """Zero-insert, pad or crop, filter and decimate: see torch_kernels.upfirdn2d. Do not differentiate through it."""
        return getattr(torch.ops, self.library).upfirdn2d(x, f, up, down, padding, flip_filter, gain)

    def bias_act(self, x: torch.Tensor, b: torch.Tensor | None, dim: int, act: str, alpha: float, gain: float,
                 clamp: float | None) -> torch.Tensor:
        """clamp(gain * act(x + b)): see torch_kernels.bias_act. Twice differentiable; any number of times for STRAIGHT."""
        if b is not None and b.dtype != x.dtype:
            return torch_kernels.bias_act(x, b, dim, act, alpha, gain, clamp)
        return _BiasAct.apply(x, b, _How(self.library, dim, NUMBERS[act], alpha, gain, -1.0 if clamp is None else clamp))


class _How(NamedTuple):
    """Arguments of the library's functions that are not tensors, preceded by the library's name."""

    library: str
    dim: int
    act: int
    alpha: float
    gain: float
    clamp: float

    @property
    def ops(self) -> Any:
        return getattr(torch.ops, self.library)


def _uses_y(act: int, clamp: float) -> bool:
    """Whether the derivative follows from y. Otherwise it is computed from x and b, or is constant for a plain line."""
    return act in STRAIGHT and (act != LINEAR or clamp >= 0)


class _BiasAct(torch.autograd.Function):
    """y = clamp(gain * act(x + b)).

    Keeps only what the derivative needs of x and y.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, b: torch.Tensor | None, how: _How) -> torch.Tensor:
        y = how.ops.bias_act(x, b, *how[1:])
        kept = (None, None, y if _uses_y(how.act, how.clamp) else None) if how.act in STRAIGHT else (x, b, None)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.how, ctx.shape, ctx.has_bias = how, x.shape, b is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        dx = _Slope.apply(dy, *ctx.saved_tensors, ctx.how)
        db = _sum_to_bias(dx, ctx.how.dim) if ctx.has_bias and ctx.needs_input_grad[1] else None
        return dx, db, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor | None, bias_tangent: torch.Tensor | None, *_: Any) -> torch.Tensor:
        """A tangent is multiplied by the same slope as a gradient."""
        x, b, y = _primals(ctx)
        return _Slope.apply(_along(tangent, bias_tangent, ctx.shape, ctx.how.dim), x, b, y, ctx.how)


class _Slope(torch.autograd.Function):
    """dy * dy/dx. x, b, y: as kept by _BiasAct; None if not needed."""

    @staticmethod
    def forward(ctx: Any, dy: torch.Tensor, x: torch.Tensor | None, b: torch.Tensor | None, y: torch.Tensor | None,
                how: _How) -> torch.Tensor:
        kept = (None if how.act in STRAIGHT else dy, x, b, y)  # the slope of a piecewise linear activation does not depend on x
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.how, ctx.shape = how, dy.shape
        return how.ops.bias_act_backward(dy, _or_empty(x, dy), b, _or_empty(y, dy), *how[1:])

    @staticmethod
    def backward(ctx: Any, ddx: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dy, x, b, y = ctx.saved_tensors
        if ctx.how.act in STRAIGHT:
            return _Slope.apply(ddx, x, b, y, ctx.how), None, None, None, None
        return (*_Slope._curved(ctx, ddx, dy, x, b), None, None)

    @staticmethod
    @once_differentiable
    def _curved(ctx: Any, ddx: torch.Tensor, dy: torch.Tensor, x: torch.Tensor,
                b: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Gradients with respect to dy, x and b."""
        d_dy, d_x = ctx.how.ops.bias_act_backward2(ddx, dy, x, b, _or_empty(None, dy), *ctx.how[1:])
        return d_dy, d_x, _sum_to_bias(d_x, ctx.how.dim) if b is not None and ctx.needs_input_grad[2] else None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor | None, x_tangent: torch.Tensor | None, b_tangent: torch.Tensor | None,
            *_: Any) -> torch.Tensor | None:
        dy, x, b, y = _primals(ctx)
        result = None if tangent is None else _Slope.apply(tangent, x, b, y, ctx.how)
        if ctx.how.act not in STRAIGHT and not (x_tangent is None and b_tangent is None):
            # The x-gradient of backward2 is symmetric in the incoming gradient and the direction in which x moves.
            v = _along(x_tangent, b_tangent, ctx.shape, ctx.how.dim)
            curved = ctx.how.ops.bias_act_backward2(v, dy, x, b, _or_empty(None, dy), *ctx.how[1:])[1]
            result = curved if result is None else result + curved
        return result


def _primals(ctx: Any) -> list[Any]:
    """Saved tensors, without the tangents that they may have in forward mode."""
    return [None if t is None else forward_ad.unpack_dual(t).primal for t in ctx.saved_tensors]


def _along(tangent: Any, bias_tangent: torch.Tensor | None, shape: torch.Size, dim: int) -> torch.Tensor:
    """Tangent of x + b. At least one of them has a tangent; None is the tangent of a constant."""
    if bias_tangent is None:
        return tangent
    bias_tangent = bias_tangent.reshape([-1 if axis == dim else 1 for axis in range(len(shape))])
    return bias_tangent.expand(shape) if tangent is None else tangent + bias_tangent


def _sum_to_bias(dx: torch.Tensor, dim: int) -> torch.Tensor:
    return dx.sum([axis for axis in range(dx.ndim) if axis != dim]) if dx.ndim > 1 else dx


def _or_empty(tensor: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """Mark a tensor as not needed, in the library's way: an empty tensor."""
    return like.new_empty([0]) if tensor is None else tensor


@functools.cache
def describe(library: str) -> None:
    """Describe results to torch.compile and torch.export. They match the library's results, memory formats included."""
    for fake in (_fake_upfirdn2d, _fake_bias_act, _fake_bias_act_backward, _fake_bias_act_backward2):
        torch.library.register_fake(f'{library}::{fake.__name__.removeprefix("_fake_")}', fake)


def _fake_upfirdn2d(x: torch.Tensor, f: torch.Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int],
                    flip_filter: bool, gain: float) -> torch.Tensor:
    width, height = (x.shape[3 - axis] * up[axis] + padding[2 * axis] + padding[2 * axis + 1] for axis in (0, 1))
    size = [x.shape[0], x.shape[1], (height - f.shape[0]) // down[1] + 1, (width - f.shape[-1]) // down[0] + 1]
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch._prims_common.suggest_memory_format(x))


def _fake_bias_act(x: torch.Tensor, b: torch.Tensor | None, dim: int, act: int, alpha: float, gain: float,
                   clamp: float) -> torch.Tensor:
    return torch.empty_like(x)


def _fake_bias_act_backward(dy: torch.Tensor, x: torch.Tensor, b: torch.Tensor | None, y: torch.Tensor, dim: int, act: int,
                            alpha: float, gain: float, clamp: float) -> torch.Tensor:
    return torch.empty_like(_known(dy, x, y, act, clamp))


def _fake_bias_act_backward2(ddx: torch.Tensor, dy: torch.Tensor, x: torch.Tensor, b: torch.Tensor | None, y: torch.Tensor,
                             dim: int, act: int, alpha: float, gain: float, clamp: float) -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.empty_like(_known(ddx, x, y, act, clamp))
    return first, ddx.new_empty([0]) if act in STRAIGHT else torch.empty_like(first)


def _known(gradient: torch.Tensor, x: torch.Tensor, y: torch.Tensor, act: int, clamp: float) -> torch.Tensor:
    """Tensor whose memory format a derivative takes."""
    return x if act not in STRAIGHT else y if _uses_y(act, clamp) else gradient
