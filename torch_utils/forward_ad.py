"""Forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import forward_ad


def jvp(fn: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (fn(x), J v), with J = ∂fn/∂x at x and v of x's shape. The result is exact; it costs two to four forward passes.

    Both outputs can be differentiated by backward passes, with respect to x and to the parameters that `fn` uses.
    """
    with forward_ad.dual_level():
        y, tangent = forward_ad.unpack_dual(fn(forward_ad.make_dual(x, v)))
    return y, torch.zeros_like(y) if tangent is None else tangent
