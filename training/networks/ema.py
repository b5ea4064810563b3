"""The exponential moving average of the generator's weights (Karras et al. 2018, sec. 5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def update_ema(ema: nn.Module, module: nn.Module, batch_size: int, cur_nimg: int, ema_kimg: float,
               ema_rampup: float | None) -> None:
    """Move the weights of `ema` towards those of `module` by one batch; buffers are copied.

    ema_kimg: half-life in thousands of images. ema_rampup: limits the half-life to this share of cur_nimg, the images seen before
    the batch; None for no limit.
    """
    half_life = ema_kimg * 1000
    if ema_rampup is not None:
        half_life = min(half_life, cur_nimg * ema_rampup)
    beta = 0.5 ** (batch_size / max(half_life, 1e-8))
    get_ema_multi_avg_fn(beta)(list(ema.parameters()), list(module.parameters()), 0)
    if buffers := list(ema.buffers()):
        with torch.no_grad():
            torch._foreach_copy_(buffers, list(module.buffers()))
