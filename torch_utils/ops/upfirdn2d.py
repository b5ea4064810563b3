"""Upsample, FIR-filter and downsample batches of images. Includes the three usual combinations of these steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torch_utils.ops.backend import kernels

Pair = int | Sequence[int]  # one number for both axes, or [x, y]


def setup_filter(f: Any, device: torch.device | str | None = None, normalize: bool = True, flip_filter: bool = False,
                 gain: float = 1, separable: bool | None = None) -> torch.Tensor:
    """Make a FIR filter for the functions below: float32, [taps] if separable, else [fh, fw].

    f: number, list, or array with one or two axes; None is the identity. normalize: make the taps sum to 1.
    flip_filter: reverse it. gain: factor on the signal's amplitude. separable: None chooses automatically: 1-D filters with 8
    taps or more stay 1-D; shorter ones become their outer product, which is faster.

    Raises ValueError for an empty filter, more than two axes, or a 2-D filter with separable=True.
    """
    taps = torch.as_tensor(1 if f is None else f, dtype=torch.float32, device=device)
    if taps.ndim > 2 or taps.numel() == 0:
        raise ValueError(f'a filter has one or two axes and at least one tap, not shape {list(taps.shape)}')
    taps = taps.reshape(-1) if taps.ndim == 0 else taps
    keep_1d = taps.ndim == 1 and taps.numel() >= 8 if separable is None else separable
    if keep_1d and taps.ndim == 2:
        raise ValueError('a two-dimensional filter cannot be made separable')
    if taps.ndim == 1 and not keep_1d:
        taps = torch.outer(taps, taps)
    scale = gain ** (taps.ndim / 2)  # a separable filter is applied twice: once per axis
    taps = taps * (scale / taps.sum() if normalize else scale)
    return taps.flip(list(range(taps.ndim))) if flip_filter else taps


def upfirdn2d(x: torch.Tensor, f: torch.Tensor | None, up: Pair = 1, down: Pair = 1, padding: Pair = 0,
              flip_filter: bool = False, gain: float = 1) -> torch.Tensor:
    """Upsample by zero insertion, pad, filter and downsample. All channels are treated alike.

    x: [N, C, H, W], floating point. f: from `setup_filter`, or None for the identity.
    up, down: factors, int or [x, y]. padding: of the upsampled image; int, [x, y] or [left, right, top, bottom]; negative
    numbers crop. flip_filter: False convolves, True correlates. gain: factor on the result.

    Returns [N, C, H', W'] of x's dtype with W' = (W * up_x + left + right - fw) // down_x + 1, and H' likewise. The result is
    differentiable any number of times with respect to x. Raises ValueError if the filter does not fit the image.
    """
    if x.ndim != 4:
        raise ValueError(f'images are [N, C, H, W], not of shape {list(x.shape)}')
    f = torch.ones([1, 1], dtype=torch.float32, device=x.device) if f is None else f
    up, down, padding = parse_pair(up), parse_pair(down), parse_padding(padding)
    fw, fh = filter_size(f)
    for axis, size, taps, u, (p0, p1) in (('wide', x.shape[3], fw, up[0], padding[:2]),
                                          ('high', x.shape[2], fh, up[1], padding[2:])):
        if size * u + p0 + p1 < taps:
            raise ValueError(f'the padded image is {size * u + p0 + p1} {axis}, less than the {taps} taps of the filter')
    if min(up) < 1 or min(down) < 1:
        raise ValueError('up and down are at least 1')
    return _UpFirDn2d.apply(x, f, up, down, padding, bool(flip_filter), float(gain))


class _UpFirDn2d(torch.autograd.Function):
    """The linear operator with its gradient.

    The adjoint belongs to the same family: up and down change places, and the filter is reversed. So the gradient is again this
    operator and costs one forward pass, and so does the gradient's gradient. A linear operator maps tangents (forward-mode
    differentiation) as it maps images.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, f: torch.Tensor, up: tuple[int, int], down: tuple[int, int],
                padding: tuple[int, int, int, int], flip_filter: bool, gain: float) -> torch.Tensor:
        y = kernels(x).upfirdn2d(x, f, up, down, padding, flip_filter, gain)
        ctx.save_for_backward(f)
        ctx.save_for_forward(f)
        ctx.call = (up, down, padding, flip_filter, gain)
        ctx.sizes = (x.shape[3], x.shape[2]), (y.shape[3], y.shape[2])
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if not ctx.needs_input_grad[0]:
            return (None,) * 7
        (f,) = ctx.saved_tensors
        up, down, padding, flip_filter, gain = ctx.call
        adjoint_padding = []
        for axis, taps in enumerate(filter_size(f)):
            n, n_out = ctx.sizes[0][axis], ctx.sizes[1][axis]
            before = taps - padding[2 * axis] - 1
            adjoint_padding += [before, n * up[axis] - n_out * down[axis] + padding[2 * axis] - up[axis] + 1]
        dx = _UpFirDn2d.apply(dy, f, down, up, tuple(adjoint_padding), not flip_filter, gain)
        return (dx, *(None,) * 6)

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, *_: Any) -> torch.Tensor:
        (f,) = ctx.saved_tensors
        return _UpFirDn2d.apply(tangent, f, *ctx.call)


def filter2d(x: torch.Tensor, f: torch.Tensor | None, padding: Pair = 0, flip_filter: bool = False,
             gain: float = 1) -> torch.Tensor:
    """Filter and keep the size: [N, C, H, W] -> [N, C, H, W] plus `padding`. Arguments as in `upfirdn2d`."""
    return upfirdn2d(x, f, padding=_added(padding, *(resample_padding(t) for t in filter_size(f))),
                     flip_filter=flip_filter, gain=gain)


def upsample2d(x: torch.Tensor, f: torch.Tensor | None, up: Pair = 2, padding: Pair = 0, flip_filter: bool = False,
               gain: float = 1) -> torch.Tensor:
    """Upsample and keep the brightness: [N, C, H, W] -> [N, C, H * up, W * up] plus `padding` of the output."""
    ux, uy = parse_pair(up)
    fw, fh = filter_size(f)
    pads = _added(padding, resample_padding(fw, up=ux), resample_padding(fh, up=uy))
    return upfirdn2d(x, f, up=up, padding=pads, flip_filter=flip_filter, gain=gain * ux * uy)


def downsample2d(x: torch.Tensor, f: torch.Tensor | None, down: Pair = 2, padding: Pair = 0, flip_filter: bool = False,
                 gain: float = 1) -> torch.Tensor:
    """Filter and downsample: [N, C, H, W] -> [N, C, H / down, W / down]. `padding` applies to the input."""
    dx, dy = parse_pair(down)
    fw, fh = filter_size(f)
    pads = _added(padding, resample_padding(fw, down=dx), resample_padding(fh, down=dy))
    return upfirdn2d(x, f, down=down, padding=pads, flip_filter=flip_filter, gain=gain)


def resample_padding(taps: int, up: int = 1, down: int = 1) -> tuple[int, int]:
    """Zeros before and after an axis that keep the image in place when it is resampled with a filter of `taps`.

    With up and down both 1, the padding is that of a plain filter. If an operation upsamples and downsamples, add both amounts.
    """
    if up > 1 or down > 1:
        before = (taps + up - 1) // 2 * (up > 1) + (taps - down + 1) // 2 * (down > 1)
        after = (taps - up) // 2 * (up > 1) + (taps - down) // 2 * (down > 1)
        return before, after
    return taps // 2, (taps - 1) // 2


def parse_pair(value: Pair) -> tuple[int, int]:
    """Convert int or [x, y] to (x, y)."""
    x, y = (value, value) if isinstance(value, int) else value
    return int(x), int(y)


def parse_padding(padding: Pair) -> tuple[int, int, int, int]:
    """Convert int, [x, y] or [left, right, top, bottom] to (left, right, top, bottom)."""
    if not isinstance(padding, int) and len(padding) == 4:
        left, right, top, bottom = padding
        return int(left), int(right), int(top), int(bottom)
    px, py = parse_pair(padding)
    return px, px, py, py


def filter_size(f: torch.Tensor | None) -> tuple[int, int]:
    """(width, height) of a filter; (1, 1) for None."""
    return (1, 1) if f is None else (int(f.shape[-1]), int(f.shape[0]))


def _added(padding: Pair, x: tuple[int, int], y: tuple[int, int]) -> list[int]:
    left, right, top, bottom = parse_padding(padding)
    return [left + x[0], right + x[1], top + y[0], bottom + y[1]]
