"""The discriminator D: (image, c) -> logit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dnnlib.image_size import ImageSize, height_width, shortest
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter
from torch_utils.persistence import persistent
from training.networks.layers import (
    BLUR,
    Block,
    Conv2dLayer,
    FullyConnectedLayer,
    channels_at,
    first_fp16_level,
)
from training.networks.mapping import MappingNetwork
from training.networks.synthesis import ARCHITECTURES
from training.start_grid import levels, size_at


@persistent
class DiscriminatorBlock(Block):
    """All layers at one level; halves height and width.

    in_channels: 0 marks the first block, which reads the image; otherwise equal to tmp_channels. resolution: of its input, (h, w)
    or one number for squares; only for its name. architecture:
    'orig', 'skip' (every block reads the downsampled image), 'resnet'. first_layer_idx: number of layers before this
    block; layers whose index is below freeze_layers keep their weights (Freeze-D).
    """

    def __init__(self, in_channels: int, tmp_channels: int, out_channels: int, resolution: ImageSize, img_channels: int,
                 first_layer_idx: int, architecture: str = 'resnet', activation: str = 'lrelu',
                 resample_filter: Sequence[float] = BLUR, conv_clamp: float | None = None, use_fp16: bool = False,
                 fp16_channels_last: bool = False, freeze_layers: int = 0):
        super().__init__(use_fp16, fp16_channels_last)
        if in_channels not in (0, tmp_channels):
            raise ValueError(f'in_channels is 0 or tmp_channels ({tmp_channels}), not {in_channels}')
        if architecture not in ARCHITECTURES:
            raise ValueError(f'architecture is one of {", ".join(ARCHITECTURES)}, not {architecture!r}')
        self.in_channels, self.resolution, self.img_channels = in_channels, resolution, img_channels
        self.architecture, self.first_layer_idx = architecture, first_layer_idx
        self.register_buffer('resample_filter', setup_filter(resample_filter))
        self.num_layers = 0

        def layer(channels: int, width: int, kernel_size: int, **kwargs) -> Conv2dLayer:
            trainable = first_layer_idx + self.num_layers >= freeze_layers
            self.num_layers += 1
            return Conv2dLayer(channels, width, kernel_size, channels_last=self.channels_last, trainable=trainable, **kwargs)

        acting = dict(activation=activation, conv_clamp=conv_clamp)
        if in_channels == 0 or architecture == 'skip':
            self.fromrgb = layer(img_channels, tmp_channels, 1, **acting)
        self.conv0 = layer(tmp_channels, tmp_channels, 3, **acting)
        self.conv1 = layer(tmp_channels, out_channels, 3, down=2, resample_filter=resample_filter, **acting)
        if architecture == 'resnet':
            self.skip = layer(tmp_channels, out_channels, 1, bias=False, down=2, resample_filter=resample_filter)

    def forward(self, x: torch.Tensor | None, img: torch.Tensor | None,
                force_fp32: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x [N, in_channels, h, w] or None; img [N, img_channels, h, w] or None -> (x [N, out_channels, h/2, w/2], img)."""
        precision = self.precision((img if x is None else x).device, force_fp32)
        if x is not None:
            x = x.to(**precision)
        if self.in_channels == 0 or self.architecture == 'skip':
            img = img.to(**precision)
            y = self.fromrgb(img)
            x = y if x is None else x + y
            img = downsample2d(img, self.resample_filter) if self.architecture == 'skip' else None
        if self.architecture != 'resnet':
            return self.conv1(self.conv0(x)), img
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        return shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), img


@persistent
class MinibatchStdLayer(nn.Module):
    """Append feature maps that hold the spread among groups of samples (Karras et al. 2018, sec. 3).

    group_size: samples per group, None for the whole batch. If it does not divide the batch, the next smaller divisor of the
    batch is used. num_channels F: number of maps, must divide C.
    """

    def __init__(self, group_size: int | None, num_channels: int = 1):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C + F, H, W]."""
        n, c, h, w = x.shape
        maps = self.num_channels
        size = n if self.group_size is None else max(g for g in range(1, min(self.group_size, n) + 1) if n % g == 0)
        # Sample i belongs to group i mod (n / size): groups are strided, not contiguous.
        grouped = x.reshape(size, n // size, maps, c // maps, h, w)
        # The mean is subtracted explicitly, because the second derivative of Tensor.var cancels badly in float32.
        std = ((grouped - grouped.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt()  # [n / size, F, C / F, H, W]
        spread = std.mean(dim=(2, 3, 4))  # [n / size, F]
        return torch.cat([x, spread.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)], dim=1)

    def extra_repr(self) -> str:
        return f'group_size={self.group_size}, num_channels={self.num_channels}'


@persistent
class DiscriminatorEpilogue(nn.Module):
    """From features on the start grid to the logit, or to the vector that is projected on the label (Miyato & Koyama 2018).

    resolution: of the start grid, (h, w) or one number for squares. cmap_dim: width of the mapped label, 0 for an
    unconditional network. mbstd_num_channels: 0 disables the layer. Always float32.
    """

    def __init__(self, in_channels: int, cmap_dim: int, resolution: ImageSize, img_channels: int, architecture: str = 'resnet',
                 mbstd_group_size: int | None = 4, mbstd_num_channels: int = 1, activation: str = 'lrelu',
                 conv_clamp: float | None = None):
        super().__init__()
        self.in_channels, self.cmap_dim, self.resolution = in_channels, cmap_dim, resolution
        self.img_channels, self.architecture = img_channels, architecture
        if architecture == 'skip':
            self.fromrgb = Conv2dLayer(img_channels, in_channels, kernel_size=1, activation=activation)
        self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels) if mbstd_num_channels > 0 else None
        self.conv = Conv2dLayer(in_channels + mbstd_num_channels, in_channels, kernel_size=3, activation=activation,
                                conv_clamp=conv_clamp)
        height, width = height_width(resolution)
        self.fc = FullyConnectedLayer(in_channels * height * width, in_channels, activation=activation)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x: torch.Tensor, img: torch.Tensor | None,
                cmap: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """x [N, in_channels, h, w]; img [N, img_channels, h, w] if 'skip'; cmap [N, cmap_dim] -> logits [N, 1], and the features
        [N, in_channels] from which a linear layer computes them."""
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        if self.architecture == 'skip':
            x = x + self.fromrgb(img.to(torch.float32, memory_format=torch.contiguous_format))
        if self.mbstd is not None:
            x = self.mbstd(x)
        features = self.fc(self.conv(x).flatten(1))
        x = self.out(features)
        if self.cmap_dim > 0:
            x = (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)
        return x, features


@persistent
class Discriminator(nn.Module):
    """Blocks from the size of the image down to level 8, then the epilogue at level 4, the start grid.

    c_dim: width of the label, 0 for none. img_resolution: of the images, (H, W) or one number for squares, with a start grid
    (training.start_grid) and at least 8 pixels on the longer side. cmap_dim: width of the mapped label, None for that of the
    features at level 4. block_kwargs, mapping_kwargs, epilogue_kwargs: to the parts.
    """

    def __init__(self, c_dim: int, img_resolution: ImageSize, img_channels: int, architecture: str = 'resnet',
                 channel_base: int = 32768, channel_max: int = 512, num_fp16_res: int = 0, conv_clamp: float | None = None,
                 cmap_dim: int | None = None, block_kwargs: dict | None = None, mapping_kwargs: dict | None = None,
                 epilogue_kwargs: dict | None = None):
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, shortest(img_resolution), img_channels
        self.block_resolutions = levels(img_resolution)[:0:-1]
        if not self.block_resolutions:
            raise ValueError('the discriminator needs images of at least 8x8')
        top = self.block_resolutions[0]
        self.img_resolution_log2 = top.bit_length() - 1
        width = {r: channels_at(r, channel_base, channel_max) for r in [*self.block_resolutions, 4]}
        self.latent_dim = width[4]
        cmap_dim = (width[4] if cmap_dim is None else cmap_dim) if c_dim > 0 else 0
        fp16_from = first_fp16_level(top, num_fp16_res)
        common: dict[str, Any] = dict(img_channels=img_channels, architecture=architecture, conv_clamp=conv_clamp)

        layers = 0
        for r in self.block_resolutions:
            block = DiscriminatorBlock(width[r] if r < top else 0, width[r], width[r // 2],
                                       resolution=size_at(img_resolution, r), first_layer_idx=layers,
                                       use_fp16=r >= fp16_from, **common, **(block_kwargs or {}))
            setattr(self, f'b{r}', block)
            layers += block.num_layers
        if c_dim > 0:
            self.mapping = MappingNetwork(z_dim=0, c_dim=c_dim, w_dim=cmap_dim, num_ws=None,
                                          **{'w_avg_beta': None, **(mapping_kwargs or {})})
        self.b4 = DiscriminatorEpilogue(width[4], cmap_dim=cmap_dim, resolution=size_at(img_resolution, 4), **common,
                                        **(epilogue_kwargs or {}))

    def forward(self, img: torch.Tensor, c: torch.Tensor | None, return_latent: bool = False,
                **block_kwargs) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """img [N, img_channels, H, W], nominally in [-1, 1]; c [N, c_dim] -> logits [N, 1] float32.

        return_latent: return (logits, latent [N, latent_dim] float32), the features behind the logits, which CLR-GAN
        trains to be the z of a generated image. They don't depend on c.
        block_kwargs: force_fp32. Raises ValueError for images or labels of the wrong shape.
        """
        expected = (self.img_channels, *height_width(self.img_resolution))
        if img.ndim != 4 or img.shape[1:] != expected:
            raise ValueError(f'images must be [N, {expected[0]}, {expected[1]}, {expected[2]}], not {list(img.shape)}')
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        x = None
        for r in self.block_resolutions:
            x, img = getattr(self, f'b{r}')(x, img, **block_kwargs)
        logits, latent = self.b4(x, img, cmap)
        return (logits, latent) if return_latent else logits
