"""The synthesis network g: ws -> image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dnnlib.image_size import ImageSize, height_width, shortest
from torch_utils.ops.bias_act import bias_act, default_gain
from torch_utils.ops.conv2d_resample import modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter, upsample2d
from torch_utils.persistence import persistent
from training.networks.layers import (
    BLUR,
    Block,
    Conv2dLayer,
    FullyConnectedLayer,
    channels_at,
    first_fp16_level,
)
from training.start_grid import levels, size_at

NOISE_MODES = ('random', 'const', 'none')
ARCHITECTURES = ('orig', 'skip', 'resnet')


@persistent
class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, activation, clamp.

    Input [N, in_channels, h / up, w / up] and w [N, w_dim] float32; output [N, out_channels, h, w]. resolution: h, w; or one
    number for both.
    conv_clamp: bound on the output's absolute value, times the call's `gain`. channels_last: layout of the weight.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: ImageSize, kernel_size: int = 3, up: int = 1,
                 use_noise: bool = True, activation: str = 'lrelu', resample_filter: Sequence[float] = BLUR,
                 conv_clamp: float | None = None, channels_last: bool = False):
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.act_gain, self.conv_clamp = activation, default_gain(activation), conv_clamp
        self.padding = kernel_size // 2
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = _conv_weight(out_channels, in_channels, kernel_size, channels_last)
        if use_noise:
            self.register_buffer('noise_const', torch.randn(height_width(resolution)))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer('resample_filter', setup_filter(resample_filter))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: str = 'random', fused_modconv: bool = True,
                gain: float = 1, noise_repeat: int = 1) -> torch.Tensor:
        """noise_mode: 'random' draws noise per sample and pixel, 'const' takes the stored one, 'none' adds none.
        noise_repeat: the batch consists of N consecutive parts of equal size, which share their random noise."""
        if noise_mode not in NOISE_MODES:
            raise ValueError(f'noise_mode is one of {", ".join(NOISE_MODES)}, not {noise_mode!r}')
        noise = None
        if self.use_noise and noise_mode == 'random':
            noise = torch.randn(x.shape[0] // noise_repeat, 1, *height_width(self.resolution), device=x.device)
            noise = noise.repeat(noise_repeat, 1, 1, 1) * self.noise_strength
        elif self.use_noise and noise_mode == 'const':
            noise = self.noise_const * self.noise_strength
        x = modulated_conv2d(x, self.weight, self.affine(w), noise, up=self.up, padding=self.padding,
                             resample_filter=self.resample_filter, flip_weight=self.up == 1, fused_modconv=fused_modconv)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return bias_act(x, self.bias.to(x.dtype), act=self.activation, gain=self.act_gain * gain, clamp=clamp)

    def extra_repr(self) -> str:
        return f'{self.weight.shape[1]} -> {self.weight.shape[0]}, resolution={self.resolution}, up={self.up}'


@persistent
class ToRGBLayer(nn.Module):
    """Modulated convolution without demodulation, from features [N, in_channels, h, w] to [N, out_channels, h, w]."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, kernel_size: int = 1,
                 conv_clamp: float | None = None, channels_last: bool = False):
        super().__init__()
        self.conv_clamp, self.padding = conv_clamp, kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size ** 2)
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        self.weight = _conv_weight(out_channels, in_channels, kernel_size, channels_last)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: torch.Tensor, w: torch.Tensor, fused_modconv: bool = True) -> torch.Tensor:
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, padding=self.padding, demodulate=False, fused_modconv=fused_modconv)
        return bias_act(x, self.bias.to(x.dtype), clamp=self.conv_clamp)


@persistent
class SynthesisBlock(Block):
    """All layers at one level: two modulated convolutions (one in the first block), and the block's part of the image.

    in_channels: 0 marks the first block, which starts from a learned constant. resolution: of its output, as in
    SynthesisLayer. is_last: whether the block must output an image. architecture: 'orig' (image from the last block only),
    'skip' (sum of all blocks' images), 'resnet'. use_fp16, fp16_channels_last: see Block. layer_kwargs: to both SynthesisLayers.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: ImageSize, img_channels: int, is_last: bool,
                 architecture: str = 'skip', resample_filter: Sequence[float] = BLUR, conv_clamp: float | None = None,
                 use_fp16: bool = False, fp16_channels_last: bool = False, **layer_kwargs):
        super().__init__(use_fp16, fp16_channels_last)
        if architecture not in ARCHITECTURES:
            raise ValueError(f'architecture is one of {", ".join(ARCHITECTURES)}, not {architecture!r}')
        self.in_channels, self.resolution, self.img_channels = in_channels, resolution, img_channels
        self.architecture, self.is_last, self.w_dim = architecture, is_last, w_dim
        self.register_buffer('resample_filter', setup_filter(resample_filter))
        common: dict[str, Any] = dict(conv_clamp=conv_clamp, channels_last=self.channels_last)

        first = in_channels == 0
        self.num_conv, self.num_torgb = 2 - first, int(is_last or architecture == 'skip')
        if first:
            self.const = nn.Parameter(torch.randn(out_channels, *height_width(resolution)))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, resolution, up=2, resample_filter=resample_filter,
                                        **common, **layer_kwargs)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, **common, **layer_kwargs)
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, **common)
        if architecture == 'resnet' and not first:
            self.skip = Conv2dLayer(in_channels, out_channels, kernel_size=1, bias=False, up=2,
                                    resample_filter=resample_filter, channels_last=self.channels_last)

    def forward(self, x: torch.Tensor | None, img: torch.Tensor | None, ws: torch.Tensor, force_fp32: bool = False,
                fused_modconv: bool | None = None, **layer_kwargs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x [N, in_channels, h/2, w/2] (None in the first block); img [N, img_channels, h/2, w/2] float32 or None;
        ws [N, num_conv + num_torgb, w_dim] -> (x [N, out_channels, h, w], img [N, img_channels, h, w] or None)."""
        precision = self.precision(ws.device, force_fp32)
        if fused_modconv is None:  # per-sample weights pay only for a single sample
            fused_modconv = not self.training and ws.shape[0] == 1
        layer_kwargs['fused_modconv'] = fused_modconv
        w = iter(ws.to(torch.float32).unbind(dim=1))

        if self.in_channels == 0:
            x = self.const.expand(ws.shape[0], -1, -1, -1).to(**precision)
            x = self.conv1(x, next(w), **layer_kwargs)
        else:
            x = x.to(**precision)
            shortcut = self.skip(x, gain=math.sqrt(0.5)) if self.architecture == 'resnet' else None
            x = self.conv0(x, next(w), **layer_kwargs)
            if shortcut is None:
                x = self.conv1(x, next(w), **layer_kwargs)
            else:  # √½ keeps the variance of the sum
                x = shortcut + self.conv1(x, next(w), gain=math.sqrt(0.5), **layer_kwargs)

        if img is not None:
            img = upsample2d(img, self.resample_filter)
        if self.num_torgb:
            rgb = self.torgb(x, next(w), fused_modconv=fused_modconv).to(torch.float32)
            img = rgb if img is None else img + rgb
        return x, img


@persistent
class SynthesisNetwork(nn.Module):
    """Blocks b4, b8, ... up to the size of the image.

    img_resolution: of the images, (H, W) or one number for squares, with a start grid (training.start_grid). channel_base / r
    feature maps at level r, at most channel_max. num_fp16_res: how many of the highest levels run in half precision.
    block_kwargs: to all blocks.
    """

    def __init__(self, w_dim: int, img_resolution: ImageSize, img_channels: int, channel_base: int = 32768,
                 channel_max: int = 512, num_fp16_res: int = 0, **block_kwargs):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, shortest(img_resolution), img_channels
        self.block_resolutions = levels(img_resolution)
        top = self.block_resolutions[-1]
        self.img_resolution_log2 = top.bit_length() - 1
        fp16_from = first_fp16_level(top, num_fp16_res)
        in_channels, self.num_ws = 0, 0
        for r in self.block_resolutions:
            out_channels = channels_at(r, channel_base, channel_max)
            block = SynthesisBlock(in_channels, out_channels, w_dim=w_dim, resolution=size_at(img_resolution, r),
                                   img_channels=img_channels, is_last=r == top, use_fp16=r >= fp16_from, **block_kwargs)
            setattr(self, f'b{r}', block)
            in_channels = out_channels
            self.num_ws += block.num_conv
        self.num_ws += block.num_torgb

    def forward(self, ws: torch.Tensor, **block_kwargs) -> torch.Tensor:
        """ws [N, num_ws, w_dim] -> images [N, img_channels, H, W] float32, unbounded, nominally in [-1, 1].

        block_kwargs: noise_mode ('random', 'const', 'none'), noise_repeat, force_fp32, fused_modconv.
        Raises ValueError for ws of the wrong shape.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f'ws must be [N, {self.num_ws}, {self.w_dim}], not {list(ws.shape)}')
        x = img = None
        first = 0
        for r in self.block_resolutions:
            block = getattr(self, f'b{r}')
            # The toRGB of a block shares its w with the first convolution of the next.
            x, img = block(x, img, ws[:, first:first + block.num_conv + block.num_torgb], **block_kwargs)
            first += block.num_conv
        return img


def _conv_weight(out_channels: int, in_channels: int, kernel_size: int, channels_last: bool) -> nn.Parameter:
    weight = torch.randn(out_channels, in_channels, kernel_size, kernel_size)
    return nn.Parameter(weight.contiguous(memory_format=torch.channels_last) if channels_last else weight)
