"""Convolution with built-in resampling, and StyleGAN2's modulated convolution based on it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops.convolution import conv2d, conv_transpose2d
from torch_utils.ops.upfirdn2d import Pair, filter_size, parse_padding, resample_padding, upfirdn2d


def conv2d_resample(x: torch.Tensor, w: torch.Tensor, f: torch.Tensor | None = None, up: int = 1, down: int = 1,
                    padding: Pair = 0, groups: int = 1, flip_weight: bool = True, flip_filter: bool = False) -> torch.Tensor:
    """Upsample by `up` with filter f, convolve with w, downsample by `down` with f; padded once, at the start.

    x: [N, C, H, W]. w: [O, C / groups, kh, kw], of x's dtype. f: from `setup_filter` (float32), or None.
    padding: of the upsampled image; as in `upfirdn2d`. flip_weight: True correlates (as F.conv2d), False convolves.

    Returns [N, O, H', W']; with odd k and padding k // 2, H' = H * up / down. Differentiable any number of times.
    Raises ValueError where up or down is not a positive int.
    """
    if not (isinstance(up, int) and isinstance(down, int) and up >= 1 and down >= 1):
        raise ValueError('up and down are positive integers')
    pads = list(parse_padding(padding))
    if up > 1 or down > 1:
        for i, taps in enumerate(filter_size(f)):
            before, after = resample_padding(taps, up, down)
            pads[2 * i] += before
            pads[2 * i + 1] += after
    kernel = w if flip_weight else w.flip([2, 3])  # as a correlation kernel
    kh, kw = w.shape[2:]

    # Choose the cheapest order of filter and convolution. Each order equals the definition in the docstring.
    if up == 1 and down == 1:
        return _conv_padded(x, kernel, pads, groups)
    if kh == kw == 1 and up == 1:  # decimate first, so that the 1x1 convolution sees fewer pixels
        x = upfirdn2d(x, f, down=down, padding=pads, flip_filter=flip_filter)
        return conv2d(x, kernel, groups=groups)
    if kh == kw == 1 and down == 1:  # and upsample last
        x = conv2d(x, kernel, groups=groups)
        return upfirdn2d(x, f, up=up, padding=pads, gain=up ** 2, flip_filter=flip_filter)
    if up == 1:
        x = upfirdn2d(x, f, padding=pads, flip_filter=flip_filter)
        return conv2d(x, kernel, stride=down, groups=groups)

    # Upsampling and convolving commute. A transposed convolution inserts zeros and convolves in one step, without touching the
    # zeros. It yields (H - 1) * up + kh rows; the filter's padding supplies the rest.
    pads = [pads[0] - (kw - 1), pads[1] - (kw - up), pads[2] - (kh - 1), pads[3] - (kh - up)]
    crop_x, crop_y = (max(min(-pads[i], -pads[i + 1]), 0) for i in (0, 2))
    x = conv_transpose2d(x, _transposed(kernel.flip([2, 3]), groups), stride=up, padding=(crop_y, crop_x), groups=groups)
    pads = [pads[0] + crop_x, pads[1] + crop_x, pads[2] + crop_y, pads[3] + crop_y]
    x = upfirdn2d(x, f, padding=pads, gain=up ** 2, flip_filter=flip_filter)
    return upfirdn2d(x, f, down=down, flip_filter=flip_filter) if down > 1 else x


def _conv_padded(x: torch.Tensor, kernel: torch.Tensor, pads: list[int], groups: int) -> torch.Tensor:
    left, right, top, bottom = pads
    if left == right >= 0 and top == bottom >= 0:
        return conv2d(x, kernel, padding=(top, left), groups=groups)
    return conv2d(F.pad(x, pads), kernel, groups=groups)


def _transposed(w: torch.Tensor, groups: int) -> torch.Tensor:
    """[O, C / groups, kh, kw] -> [C, O / groups, kh, kw], the layout of conv_transpose2d."""
    out_channels, in_per_group, kh, kw = w.shape
    w = w.reshape(groups, out_channels // groups, in_per_group, kh, kw).transpose(1, 2)
    return w.reshape(groups * in_per_group, out_channels // groups, kh, kw)


def modulated_conv2d(x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, noise: torch.Tensor | None = None,
                     up: int = 1, down: int = 1, padding: Pair = 0, resample_filter: torch.Tensor | None = None,
                     demodulate: bool = True, flip_weight: bool = True, fused_modconv: bool = True) -> torch.Tensor:
    """Convolution whose weights are scaled per sample by the style (StyleGAN2, sec. 2.2, eq. 1 and 3).

    x: [N, I, H, W], float32 or half precision. weight: [O, I, kh, kw] and styles: [N, I], float32.
    noise: added at the end, broadcastable to the result. up, down, padding, flip_weight: as in `conv2d_resample`.
    demodulate: scale every output channel to unit expected variance.
    fused_modconv: one grouped convolution with per-sample weights instead of scaling activations; both agree up to
    rounding, and the latter is faster except for tiny batches.

    Returns [N, O, H', W'] of x's dtype.
    """
    batch, in_channels = styles.shape
    out_channels, _, kh, kw = weight.shape
    if x.dtype == torch.float16 and demodulate:
        # Keep products within half precision's range. Demodulation cancels both factors.
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * (in_channels * kh * kw) ** 0.5)
        styles = styles / styles.abs().amax(dim=1, keepdim=True)

    d = None
    if demodulate:  # Σ_ikk (w·s)² = Σ_i s_i² Σ_kk w², a matrix product: no per-sample weight tensor is needed
        d = (styles.square() @ weight.square().sum(dim=(2, 3)).t() + 1e-8).rsqrt()  # [N, O]
    resample: dict[str, Any] = dict(f=resample_filter, up=up, down=down, padding=padding, flip_weight=flip_weight)

    if fused_modconv:
        w = weight * styles[:, None, :, None, None]  # [N, O, I, kh, kw]
        if d is not None:
            w = w * d[:, :, None, None, None]
        w = w.reshape(batch * out_channels, in_channels, kh, kw).to(x.dtype)
        y = conv2d_resample(x.reshape(1, batch * in_channels, *x.shape[2:]), w, groups=batch, **resample)
        y = y.reshape(batch, out_channels, *y.shape[2:])
    elif kh == kw == 1 and up == down == 1 and padding == 0:
        w = weight[None, :, :, 0, 0] * styles[:, None, :]  # [N, O, I]: small, and x is read only once
        if d is not None:
            w = w * d[:, :, None]
        y = _per_sample_1x1(x, w.to(x.dtype))
    else:
        y = conv2d_resample(x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype), **resample)
        if d is not None:
            d = d.to(x.dtype)[:, :, None, None]
            return y * d if noise is None else torch.addcmul(noise.to(x.dtype), y, d)
    return y if noise is None else y + noise.to(x.dtype)


def _per_sample_1x1(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x [N, I, H, W], w [N, O, I] -> [N, O, H, W]: a matrix product per sample, in the memory layout of x."""
    if x.is_contiguous(memory_format=torch.channels_last):
        y = torch.bmm(x.permute(0, 2, 3, 1).flatten(1, 2), w.transpose(1, 2))  # [N, HW, O]
        return y.reshape(x.shape[0], *x.shape[2:], w.shape[1]).permute(0, 3, 1, 2)
    return torch.bmm(w, x.flatten(2)).reshape(x.shape[0], w.shape[1], *x.shape[2:])
