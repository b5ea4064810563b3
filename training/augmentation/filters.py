"""Image-space filtering and corruptions.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from training.augmentation.draws import Draws

BAND_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images: falls as 1 / f, where bands double in width


def filter_bank() -> torch.Tensor:
    """Four band-pass filters [4, 43], lowest first, that add up to a unit impulse.

    Built from the wavelet sym2: a band is halved by zero insertion and its autocorrelation filter.
    """
    low = np.array([-1, 0, 9, 16, 9, 0, -1]) / 32
    high = np.array([1, 0, -9, 16, -9, 0, 1]) / 32
    bank = np.array([[1.0], [0.0], [0.0], [0.0]])
    for i in (1, 2, 3):
        wide = np.zeros([4, 2 * bank.shape[1] - 1])
        wide[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in wide])
        middle = bank.shape[1] // 2
        bank[i, middle - 3:middle + 4] += high
    return torch.from_numpy(bank.astype(np.float32))


def draw_gains(pipe: Any, draws: Draws) -> torch.Tensor:
    """Amplification of the four bands [N, 4]: each in turn by 2^n, then all such that natural images keep their power."""
    norm: Any = 1.0
    gains = []
    for strength, power in zip(pipe.imgfilter_bands, BAND_POWER, strict=True):
        gain = draws.normal(pipe.imgfilter_std, pipe.p * (pipe.imgfilter * strength)).exp2()
        if strength <= 0:
            gain = torch.ones_like(gain)
        gains.append(gain)
        norm = norm * (1 + power * (gain.square() - 1)).sqrt()  # the powers add up to 1
    return torch.stack(gains, dim=1) / norm[:, None]


def filter_images(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Filter images [N, C, H, W], continued by reflection, with symmetric kernels [N, taps] along both axes.

    Raises ValueError if the images are too small for a reflection of half a kernel.
    """
    N, C, H, W = images.shape
    taps = kernels.shape[1]
    pad = taps // 2
    if min(H, W) <= pad:
        raise ValueError(f'filtering (imgfilter) needs images larger than {pad} pixels, not {H}x{W}')
    weight = kernels.repeat_interleave(C, dim=0)[:, None]  # [N * C, 1, taps]
    x = F.pad(images, [pad] * 4, mode='reflect').reshape(1, N * C, H + 2 * pad, W + 2 * pad)
    x = F.conv2d(x, weight[:, :, None, :], groups=N * C)
    x = F.conv2d(x, weight[:, :, :, None], groups=N * C)
    return x.reshape(N, C, H, W)


def add_noise(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Add white noise of standard deviation sigma [N] to images [N, C, H, W]."""
    return images + torch.randn_like(images) * sigma[:, None, None, None]


def cut_out(images: torch.Tensor, size: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Blank a rectangle of images [N, C, H, W]: relative size [N] along both axes, relative centre (x, y) [N, 2]."""
    outside = []
    for axis, pixels in ((0, images.shape[3]), (1, images.shape[2])):
        x = (torch.arange(pixels, dtype=size.dtype, device=size.device) + 0.5) / pixels
        outside.append((x - centre[:, axis, None]).abs() >= size[:, None] / 2)  # [N, pixels]
    keep = outside[0][:, None, None, :] | outside[1][:, None, :, None]  # [N, 1, H, W]
    return images * keep.to(images.dtype)
