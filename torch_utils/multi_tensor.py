"""Process many small tensors with few kernels. On a GPU, a launch costs as much as the arithmetic of a small tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torch_utils import devices


def zeros_like(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Make zeros of the same shapes, all of one dtype and device. They are views of one new tensor."""
    if not tensors:
        return []
    return _parts(tensors[0].new_zeros(sum(t.numel() for t in tensors)), tensors)


def replace_nonfinite(tensors: Sequence[torch.Tensor], largest: float) -> torch.Tensor:
    """Replace NaN by 0 and infinities by ±largest, in place. All tensors share one dtype and device.

    Returns the number of affected tensors as a tensor []. Does not wait for the device.
    """
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
