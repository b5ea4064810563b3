"""Many small tensors by few kernels: on a GPU, each launch costs as much as a small tensor's arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torch_utils import devices


def zeros_like(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Zeros of the same shapes, of one dtype and device: parts of one new tensor."""
    if not tensors:
        return []
    return _parts(tensors[0].new_zeros(sum(t.numel() for t in tensors)), tensors)


def replace_nonfinite(tensors: Sequence[torch.Tensor], largest: float) -> torch.Tensor:
    """Replace NaN by 0 and infinities by ±largest, in place. tensors: of one dtype and device. Returns how many of them had any,
    as a tensor []; no device is waited for."""
    kwargs = dict(nan=0.0, posinf=largest, neginf=-largest)
    if not devices.wants_few_kernels(tensors[0].device):
        finite = torch.stack([t.sum() for t in tensors]).isfinite()
        for t in tensors:
            torch.nan_to_num(t, out=t, **kwargs)
    else:
        finite = torch.stack(torch._foreach_norm(list(tensors), float('inf'))).isfinite()
        flat = torch.cat([t.reshape(-1) for t in tensors]).nan_to_num_(**kwargs)
        torch._foreach_copy_(list(tensors), _parts(flat, tensors))
    return (~finite).sum()


def _parts(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [part.view(t.shape) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]
