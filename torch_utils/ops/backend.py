"""The one place where the implementation of an operator is chosen."""

from __future__ import annotations

from types import ModuleType

import torch

from torch_utils.ops import torch_kernels


def kernels(x: torch.Tensor) -> ModuleType:
    """Return the module whose `upfirdn2d` and `bias_act` compute on tensors like `x`.

    Such a module takes arguments that were checked and completed by torch_utils.ops.upfirdn2d and .bias_act.
    `upfirdn2d` need not be differentiable (its gradient is upfirdn2d itself, see there); `bias_act` must be, twice.
    """
    return torch_kernels
