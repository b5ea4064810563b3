"""Convolutions whose gradients can be differentiated quickly on a GPU.

PyTorch's gradient of a gradient with respect to the weight is a convolution with a kernel as large as the image. On a GPU, R1
of 256x256 images then took three times as long as the main loss. Here, gradients of gradients are convolutions and weight
gradients of the usual sizes again. The idea is that of conv2d_gradfix in StyleGAN2-ADA (Karras et al. 2020).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from torch_utils import devices


def conv2d(x: torch.Tensor, w: torch.Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1) -> torch.Tensor:
    """F.conv2d without a bias. x: [N, C, H, W]. w: [O, C / groups, kh, kw]. padding: rows, columns. Returns [N, O, H', W']."""
    if not devices.wants_own_convolution_gradients(x.device):
        return F.conv2d(x, w, stride=stride, padding=padding, groups=groups)
    return _Convolution.apply(x, w, _Kind(stride, padding, groups))


def conv_transpose2d(x: torch.Tensor, w: torch.Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0),
                     groups: int = 1) -> torch.Tensor:
    """F.conv_transpose2d without a bias. x: [N, C, H, W]. w: [C, O / groups, kh, kw]. Returns [N, O, H', W']."""
    if not devices.wants_own_convolution_gradients(x.device):
        return F.conv_transpose2d(x, w, stride=stride, padding=padding, groups=groups)
    return _Convolution.apply(x, w, _Kind(stride, padding, groups, transposed=True))


class _Kind(NamedTuple):
    """A convolution, a bilinear map of images and weights. output_padding: rows and columns, for transposed ones."""

    stride: int
    padding: tuple[int, int]
    groups: int
    transposed: bool = False
    output_padding: tuple[int, int] = (0, 0)

    def __call__(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.convolution(x, w, None, (self.stride,) * 2, self.padding, (1, 1), self.transposed, self.output_padding,
                                 self.groups)

    def weight_gradient(self, dy: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Gradient for w, of which only the shape and the dtype matter."""
        return torch.ops.aten.convolution_backward(dy, x, w, None, (self.stride,) * 2, self.padding, (1, 1), self.transposed,
                                                   self.output_padding, self.groups, [False, True, False])[1]

    def adjoint(self, size: torch.Size, kernel: torch.Size) -> _Kind:
        """The convolution that maps gradients of the output to those of the input, which has this size [H, W]."""
        if self.transposed:
            return self._replace(transposed=False, output_padding=(0, 0))
        rows, columns = ((n + 2 * p - k) % self.stride for n, p, k in zip(size, self.padding, kernel, strict=True))
        return self._replace(transposed=True, output_padding=(rows, columns))


class _Convolution(torch.autograd.Function):
    """kind(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, kind: _Kind) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        ctx.save_for_forward(x, w)
        ctx.kind = kind
        return kind(x, w)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        x, w = ctx.saved_tensors
        dx = _Convolution.apply(dy, w, ctx.kind.adjoint(x.shape[2:], w.shape[2:])) if ctx.needs_input_grad[0] else None
        dw = _WeightGradient.apply(dy, x, w.detach(), ctx.kind) if ctx.needs_input_grad[1] else None
        return dx, dw, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor | None, weight_tangent: torch.Tensor | None, _: Any) -> torch.Tensor | None:
        x, w = (forward_ad.unpack_dual(t).primal for t in ctx.saved_tensors)
        along_x = None if tangent is None else _Convolution.apply(tangent, w, ctx.kind)
        along_w = None if weight_tangent is None else _Convolution.apply(x, weight_tangent, ctx.kind)
        return along_w if along_x is None else along_x if along_w is None else along_x + along_w


class _WeightGradient(torch.autograd.Function):
    """Gradient of kind(x, w) for w, given the gradient dy of the output: bilinear in dy and x."""

    @staticmethod
    def forward(ctx: Any, dy: torch.Tensor, x: torch.Tensor, w: torch.Tensor, kind: _Kind) -> torch.Tensor:
        ctx.save_for_backward(dy, x)
        ctx.kind = kind
        return kind.weight_gradient(dy, x, w)

    @staticmethod
    def backward(ctx: Any, ddw: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        dy, x = ctx.saved_tensors
        d_dy = _Convolution.apply(x, ddw, ctx.kind) if ctx.needs_input_grad[0] else None
        dx = _Convolution.apply(dy, ddw, ctx.kind.adjoint(x.shape[2:], ddw.shape[2:])) if ctx.needs_input_grad[1] else None
        return d_dy, dx, None, None
