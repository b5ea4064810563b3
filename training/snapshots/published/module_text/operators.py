"""PyTorch's operators, which replace our choice of operators and devices in exported pickles. PyTorch differentiates them. Each
name replaces that of our modules (module_text/__init__.py)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from torch_utils.ops.torch_kernels import CURVED, resample


def computes(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` computes networks in half precision."""
    return device.type == 'cuda'


def prefers_channels_last(device: torch.device) -> bool:
    """Whether float32 convolutions on `device` are faster with channels last."""
    return device.type == 'cpu'


def conv2d(x: torch.Tensor, w: torch.Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1) -> torch.Tensor:
    """Convolution without a bias."""
    return F.conv2d(x, w, stride=stride, padding=padding, groups=groups)


def conv_transpose2d(x: torch.Tensor, w: torch.Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0),
                     groups: int = 1) -> torch.Tensor:
    """Transposed convolution without a bias."""
    return F.conv_transpose2d(x, w, stride=stride, padding=padding, groups=groups)


def kernels(x: torch.Tensor) -> type:
    """The operators for tensors like x."""
    return _Kernels


class _Kernels:
    @staticmethod
    def bias_act(x: torch.Tensor, b: torch.Tensor | None, dim: int, act: str, alpha: float, gain: float,
                 clamp: float | None) -> torch.Tensor:
        """clamp(gain * act(x + b)). b is 1-D, along axis `dim` of x."""
        if b is not None:
            x = x + b.reshape([-1 if axis == dim else 1 for axis in range(x.ndim)])
        if act in CURVED:
            x = CURVED[act](x)
        elif act != 'linear':
            x = F.leaky_relu(x, alpha if act == 'lrelu' else 0.0)
        if gain != 1:
            x = x * gain
        return x if clamp is None else x.clamp(-clamp, clamp)


class _UpFirDn2d:
    apply = staticmethod(resample)
