"""Presets of --cfg."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dnnlib.image_size import ImageSize, height_width


@dataclass(frozen=True)
class Preset:
    """One value of --cfg. ref_gpus: number of GPUs that it was made for. batch: total batch size. lr: learning rate of G and of
    D."""

    ref_gpus: int
    kimg: int
    batch: int
    mbstd: int             # group size of minibatch stddev
    channel_base: int
    lr: float
    gamma: float           # weight of R1
    ema_kimg: float
    ema_rampup: float | None
    map_depth: int
    d_architecture: str = 'resnet'
    pl_weight: float = 2.0
    style_mixing_prob: float = 0.9


PRESETS = {
    #                 ref_gpus  kimg    batch mbstd  base    lr      gamma  ema  rampup map
    'stylegan2': Preset(8,      25000,  32,   4,     32768,  0.002,  10,    10,  None,  8),
    'paper256':  Preset(8,      25000,  64,   8,     16384,  0.0025, 1,     20,  None,  8),
    'paper512':  Preset(8,      25000,  64,   8,     32768,  0.0025, 0.5,   20,  None,  8),
    'paper1024': Preset(8,      25000,  32,   4,     32768,  0.002,  2,     10,  None,  8),
    'cifar':     Preset(2,      100000, 64,   32,    32768,  0.0025, 0.01,  500, 0.05,  2,
                        d_architecture='orig', pl_weight=0.0, style_mixing_prob=0.0),
}
CFG_NAMES = ('auto', *PRESETS)


def auto_preset(resolution: ImageSize, gpus: int) -> Preset:
    """Choose settings by the published heuristics of --cfg=auto (Karras et al. 2020, "Training GANs with Limited Data", released
    code).

    Rectangular images are treated as squares of equal area. The batch size per GPU is a power of two for them, too.
    """
    area = math.prod(height_width(resolution))
    side = math.isqrt(area)
    per_gpu = 1 << (4096 // side).bit_length() >> 1
    batch = max(min(gpus * min(per_gpu, 32), 64), gpus)
    return Preset(
        ref_gpus=gpus, kimg=25000, batch=batch, mbstd=min(batch // gpus, 4),
        channel_base=32768 if side >= 512 else 16384,
        lr=0.002 if side >= 1024 else 0.0025,
        gamma=0.0002 * area / batch,
        ema_kimg=batch * 10 / 32, ema_rampup=0.05, map_depth=2,
    )
