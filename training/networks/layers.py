"""Dense and convolutional layers with equalised learning rate, and what all networks share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from torch_utils.devices import computes, prefers_channels_last
from torch_utils.ops.bias_act import bias_act, default_gain
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.upfirdn2d import setup_filter
from torch_utils.persistence import persistent

BLUR = (1, 3, 3, 1)  # the binomial filter with which StyleGAN2 resamples


def rms_normalize(x: torch.Tensor) -> torch.Tensor:
    """Scale each row of x [N, F] to unit mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def channels_at(level: int, channel_base: int, channel_max: int) -> int:
    """Feature maps of the block at a level (training.start_grid)."""
    return min(channel_base // level, channel_max)


def first_fp16_level(top_level: int, num_fp16_res: int) -> int:
    """Blocks from this level upwards run in half precision: the `num_fp16_res` highest, never below 8."""
    return max(2 * top_level >> num_fp16_res, 8)


class Block(nn.Module):
    """Base class of the blocks of both networks: their working precision.

    use_fp16: work in half precision, `half_dtype`, if the device supports it. Weights are always float32.
    fp16_channels_last: memory layout in half precision.
    """

    half_dtype = torch.float16  # depends on the machine, not on the network: set_half_dtype changes it

    def __init__(self, use_fp16: bool, fp16_channels_last: bool):
        super().__init__()
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last

    def precision(self, device: torch.device, force_fp32: bool) -> dict:
        """Arguments for `Tensor.to` that put the input into the working precision and memory layout."""
        half = self.use_fp16 and not force_fp32 and computes(self.half_dtype, device)
        last = (half and self.channels_last) or prefers_channels_last(device)
        return dict(dtype=self.half_dtype if half else torch.float32,
                    memory_format=torch.channels_last if last else torch.contiguous_format)


def set_half_dtype(network: nn.Module, dtype: torch.dtype) -> None:
    """Choose float16 or bfloat16 for the blocks of `network` that work in half precision. Snapshots do not store it."""
    for module in network.modules():
        if isinstance(module, Block):
            module.half_dtype = dtype


def half_dtype(network: nn.Module) -> torch.dtype | None:
    """The half precision of some blocks of `network`, if the device supports it; None if there are no such blocks."""
    return next((m.half_dtype for m in network.modules() if isinstance(m, Block) and m.use_fp16), None)


def widest(network: nn.Module) -> int:
    """The largest number of feature maps of any convolution; 0 without convolutions."""
    return max((p.shape[0] for p in network.state_dict().values() if p.ndim == 4), default=0)


@persistent
class FullyConnectedLayer(nn.Module):
    """y = act(x Wᵀ m/√in + b m): a dense layer whose weights all learn at the same rate.

    Input [N, in_features], output [N, out_features], of x's dtype. lr_multiplier m: learning rate relative to the
    optimiser's. bias_init: initial value of the bias. Source: equalised learning rate, Karras et al. 2018, sec. 4.1.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, activation: str = 'linear',
                 lr_multiplier: float = 1, bias_init: float = 0):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.activation, self.lr_multiplier = activation, lr_multiplier
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init))) if bias else None
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight.to(x.dtype)
        b = None if self.bias is None else self.bias.to(x.dtype) * self.bias_gain
        x = x * self.weight_gain  # cheaper than scaling w
        if self.activation == 'linear':
            return F.linear(x, w, b)
        return bias_act(F.linear(x, w), b, act=self.activation)

    def extra_repr(self) -> str:
        return f'{self.in_features} -> {self.out_features}, {self.activation}'


@persistent
class Conv2dLayer(nn.Module):
    """Convolution with optional resampling, bias, activation and clamp; equalised learning rate.

    Input [N, in_channels, H, W]; output [N, out_channels, H * up / down, W * up / down], of x's dtype. kernel_size:
    odd. conv_clamp: bound on the output's absolute value, times the call's `gain`; None for none. channels_last:
    layout of the stored weight. trainable: False keeps weight and bias as buffers (Freeze-D, Mo et al. 2020).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True, activation: str = 'linear',
                 up: int = 1, down: int = 1, resample_filter: Sequence[float] = BLUR, conv_clamp: float | None = None,
                 channels_last: bool = False, trainable: bool = True):
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size ** 2)
        self.act_gain = default_gain(activation)
        self.register_buffer('resample_filter', setup_filter(resample_filter))
        weight = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
        if channels_last:
            weight = weight.contiguous(memory_format=torch.channels_last)
        self._register('weight', weight, trainable)
        if bias:
            self._register('bias', torch.zeros(out_channels), trainable)
        else:
            self.bias = None

    def _register(self, name: str, value: torch.Tensor, trainable: bool) -> None:
        if trainable:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    def forward(self, x: torch.Tensor, gain: float = 1) -> torch.Tensor:
        w = (self.weight * self.weight_gain).to(x.dtype)
        b = None if self.bias is None else self.bias.to(x.dtype)
        # Upsampling layers of the published networks convolve, all others correlate.
        x = conv2d_resample(x, w, f=self.resample_filter, up=self.up, down=self.down, padding=self.padding,
                            flip_weight=self.up == 1)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, b, act=self.activation, gain=self.act_gain * gain, clamp=clamp)

    def extra_repr(self) -> str:
        out_channels, in_channels, k, _ = self.weight.shape
        return f'{in_channels} -> {out_channels}, {k}x{k}, {self.activation}, up={self.up}, down={self.down}'
