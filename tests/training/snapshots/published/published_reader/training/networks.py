"""The networks from their definition: slow, and with nothing but the attributes that they are given."""

import torch
import torch.nn.functional as F
from torch import nn

GAINS = {'linear': 1, 'lrelu': 2 ** 0.5, 'relu': 2 ** 0.5}
FUNCTIONS = {'linear': lambda x: x, 'lrelu': lambda x: F.leaky_relu(x, 0.2), 'relu': F.relu}


class Part(nn.Module):
    def __init__(self):
        raise AssertionError('no constructor is called')


def unit(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def resample(x, kernel, up=1, down=1):
    """Insert zeros, convolve with the 4x4 kernel, keep every down-th; so that the size is multiplied by up / down."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, h * up, w * up)
    spread[:, :, ::up, ::up] = x
    pads = {(2, 1): (2, 1), (1, 2): (1, 1)}[up, down]
    filtered = F.conv2d(F.pad(spread.flatten(0, 1)[:, None], pads * 2), kernel.flip(0, 1)[None, None] * up ** 2)
    return filtered.unflatten(0, (n, c))[:, :, 0, ::down, ::down]


def act(x, bias, name, gain, clamp):
    x = FUNCTIONS[name](x if bias is None else x + bias.reshape(1, -1, *[1] * (x.ndim - 2))) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


class FullyConnectedLayer(Part):
    def forward(self, x):
        bias = None if self.bias is None else self.bias * self.bias_gain
        return act(x @ (self.weight * self.weight_gain).T, bias, self.activation, GAINS[self.activation], None)


class Conv2dLayer(Part):
    def forward(self, x, gain=1):
        w = self.weight * self.weight_gain
        if self.up > 1:  # only for 1x1 kernels, with which the filter commutes
            x = resample(x, self.resample_filter, up=self.up)
            x = F.conv2d(x, w)
        elif self.down > 1:
            n = self.padding
            padded = F.pad(x, [n + 1] * 4)
            kernel = self.resample_filter.flip(0, 1)[None, None]
            blurred = F.conv2d(padded.flatten(0, 1)[:, None], kernel).unflatten(0, x.shape[:2])[:, :, 0]
            x = F.conv2d(blurred, w, stride=self.down)
        else:
            x = F.conv2d(x, w, padding=self.padding)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return act(x, self.bias, self.activation, self.act_gain * gain, clamp)


class MappingNetwork(Part):
    def forward(self, z, c, truncation_psi=1):
        parts = [unit(z)] if self.z_dim > 0 else []
        if self.c_dim > 0:
            parts.append(unit(self.embed(c)))
        x = torch.cat(parts, 1)
        for i in range(self.num_layers):
            x = getattr(self, f'fc{i}')(x)
        if self.num_ws is None:
            assert self.w_avg_beta is None
            return x
        x = x[:, None].repeat(1, self.num_ws, 1)
        return x if truncation_psi == 1 or self.w_avg_beta is None else self.w_avg + truncation_psi * (x - self.w_avg)


def modulated(x, weight, styles, demodulate, flip):
    w = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        w = w / (w.square().sum([2, 3, 4], keepdim=True) + 1e-8).sqrt()
    w = w.flip(3, 4) if flip else w
    pad = weight.shape[-1] // 2
    return torch.cat([F.conv2d(x[i:i + 1], w[i], padding=pad) for i in range(len(x))])


class SynthesisLayer(Part):
    def forward(self, x, w, gain=1):
        assert self.padding == self.weight.shape[-1] // 2
        styles = self.affine(w)
        if self.up == 1:
            x = modulated(x, self.weight, styles, True, False)
        else:  # the kernel acts on the image with zeros in between, then comes the blur
            n, c, h, width = x.shape
            spread = torch.zeros(n, c, h * self.up, width * self.up)
            spread[:, :, ::self.up, ::self.up] = x
            spread = F.pad(spread, [3, 2, 3, 2])
            weight = self.weight[None] * styles[:, None, :, None, None]
            weight = weight / (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).sqrt()
            y = torch.cat([F.conv2d(spread[i:i + 1], weight[i].flip(2, 3)) for i in range(n)])
            kernel = self.resample_filter.flip(0, 1)[None, None] * self.up ** 2
            x = F.conv2d(y.flatten(0, 1)[:, None], kernel).unflatten(0, (n, -1))[:, :, 0]
        assert x.shape[2:] == (self.resolution, self.resolution)
        if self.use_noise:
            x = x + self.noise_const * self.noise_strength
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return act(x, self.bias, self.activation, self.act_gain * gain, clamp)


class ToRGBLayer(Part):
    def forward(self, x, w):
        x = modulated(x, self.weight, self.affine(w) * self.weight_gain, False, False)
        return act(x, self.bias, 'linear', 1, self.conv_clamp)


class SynthesisBlock(Part):
    def forward(self, x, img, ws):
        assert not (self.use_fp16 or self.channels_last) and ws.shape[1:] == (self.num_conv + self.num_torgb, self.w_dim)
        ws = iter(ws.unbind(1))
        if self.in_channels == 0:
            x = self.conv1(self.const[None].repeat(len(img), 1, 1, 1), next(ws))
            img = None
        elif self.architecture == 'resnet':
            y = self.skip(x, gain=0.5 ** 0.5)
            x = y + self.conv1(self.conv0(x, next(ws)), next(ws), gain=0.5 ** 0.5)
        else:
            x = self.conv1(self.conv0(x, next(ws)), next(ws))
        img = None if img is None else resample(img, self.resample_filter, up=2)
        if self.is_last or self.architecture == 'skip':
            y = self.torgb(x, next(ws))
            assert y.shape[1:] == (self.img_channels, self.resolution, self.resolution)
            img = y if img is None else img + y
        return x, img


class SynthesisNetwork(Part):
    def forward(self, ws):
        assert ws.shape[1:] == (self.num_ws, self.w_dim) and 2 ** self.img_resolution_log2 == self.img_resolution
        x, img, first = None, ws, 0
        for r in self.block_resolutions:
            block = getattr(self, f'b{r}')
            x, img = block(x, img, ws[:, first:first + block.num_conv + block.num_torgb])
            first += block.num_conv
        assert img.shape[1] == self.img_channels
        return img


class Generator(Part):
    def forward(self, z, c, truncation_psi=1):
        assert (z.shape[1], c.shape[1], self.synthesis.num_ws) == (self.z_dim, self.c_dim, self.num_ws)
        assert self.mapping.w_dim == self.w_dim
        img = self.synthesis(self.mapping(z, c, truncation_psi))
        assert img.shape[1:] == (self.img_channels, self.img_resolution, self.img_resolution)
        return img


class DiscriminatorBlock(Part):
    def forward(self, x, img):
        assert not (self.use_fp16 or self.channels_last) and self.first_layer_idx >= 0 and self.num_layers >= 2
        if self.in_channels == 0 or self.architecture == 'skip':
            assert img.shape[1:] == (self.img_channels, self.resolution, self.resolution)
            y = self.fromrgb(img)
            x = y if x is None else x + y
            img = resample(img, self.resample_filter, down=2) if self.architecture == 'skip' else None
        if self.architecture == 'resnet':
            return self.skip(x, gain=0.5 ** 0.5) + self.conv1(self.conv0(x), gain=0.5 ** 0.5), img
        return self.conv1(self.conv0(x)), img


class MinibatchStdLayer(Part):
    def forward(self, x):
        n, _, h, w = x.shape
        groups = n // min(self.group_size or n, n)
        y = x.unflatten(1, (self.num_channels, -1))
        maps = torch.stack([(y[j::groups].var(0, unbiased=False) + 1e-8).sqrt().mean([1, 2, 3]) for j in range(groups)])
        return torch.cat([x, maps.repeat(n // groups, 1)[:, :, None, None].expand(-1, -1, h, w)], 1)


class DiscriminatorEpilogue(Part):
    def forward(self, x, img, cmap):
        assert x.shape[1:] == (self.in_channels, self.resolution, self.resolution) and self.img_channels > 0
        x = x + self.fromrgb(img) if self.architecture == 'skip' else x
        x = x if self.mbstd is None else self.mbstd(x)
        x = self.out(self.fc(self.conv(x).flatten(1)))
        return x if self.cmap_dim == 0 else (x * cmap).sum(1, keepdim=True) / self.cmap_dim ** 0.5


class Discriminator(Part):
    def forward(self, img, c):
        assert 2 ** self.img_resolution_log2 == self.img_resolution and img.shape[1] == self.img_channels
        x = None
        for r in self.block_resolutions:
            x, img = getattr(self, f'b{r}')(x, img)
        return self.b4(x, img, self.mapping(None, c) if self.c_dim > 0 else None)
