"""Choose the implementation of the operators. No other module does.

A process chooses once, at its start, with `select`. Until then PyTorch's own operators compute, so an import never compiles
anything.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch

from dnnlib.errors import UserError
from torch_utils import distributed
from torch_utils.ops import torch_kernels

CHOICES = ('auto', 'native', 'torch')
# Dtypes that our own operators support: every dtype of the networks on a device.
DTYPES = {
    'cpu':  (torch.float32, torch.float64, torch.bfloat16),
    'cuda': (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}

_own: Any = None  # torch_utils.ops.native_kernels.Kernels, once chosen
_own_devices: tuple[str, ...] = ()  # types of devices on which _own computes


def kernels(x: torch.Tensor) -> Any:
    """Return the object whose `upfirdn2d` and `bias_act` compute on tensors like `x`.

    The arguments must be checked and completed by torch_utils.ops.upfirdn2d and .bias_act. `upfirdn2d` need not be
    differentiable, because its gradient is again an upfirdn2d (see there). `bias_act` must be twice differentiable.
    """
    if _own is not None and x.device.type in _own_devices and x.dtype in DTYPES[x.device.type]:
        return _own
    return torch_kernels


def select(ops: str, device: torch.device, build: bool = True) -> None:
    """Choose the operators of this process on `device`: 'auto', 'native' or 'torch', as in --ops.

    'native' is the library built by a C++ compiler and, for CUDA, nvcc. On CUDA, 'auto' takes the same kernels, compiled by
    NVRTC on first use; elsewhere it takes the library. If they are not available, it takes PyTorch's operators, and rank 0
    prints the reason in one line on stderr. The first use on a machine builds the library, which takes half a minute.
    build=False accepts only an existing build. Raises UserError if 'native' is impossible.
    """
    global _own, _own_devices
    _own, _own_devices = None, ()
    if ops == 'torch':
        return
    if device.type not in DTYPES:
        if ops == 'native':
            raise UserError(f'--ops=native: there are none for {device.type}; use --ops=auto, or --device=cpu')
        return
    from torch_utils import custom_ops
    kind = 'nvrtc' if (device.type, ops) == ('cuda', 'auto') else device.type
    try:
        devices = custom_ops.load(kind, build or ops == 'native')
    except custom_ops.CannotBuild as err:
        if ops == 'native':
            raise UserError(f'--ops=native: {err.reason}; {err.remedy}, or use --ops=auto') from err
        if not err.told and distributed.is_rank0():
            err.told = True
            print(f'Computing with the operators of PyTorch, which are slower than our own: {err.reason}; {err.remedy}, or use '
                  '--ops=torch', file=sys.stderr, flush=True)
        return
    if devices:
        _own, _own_devices = custom_ops.kernels(kind), devices


def prepare(ops: str, device: torch.device) -> None:
    """Build ahead of `select`, once, in the process that starts the ranks. Raises UserError like `select`.

    On CUDA, nothing is loaded or verified here: this process would hold memory on a GPU while the ranks run.
    """
    if device.type != 'cuda':
        select(ops, device)
    elif ops == 'native':
        from torch_utils import custom_ops
        try:
            custom_ops.build('cuda')
        except custom_ops.CannotBuild as err:
            raise UserError(f'--ops=native: {err.reason}; {err.remedy}, or use --ops=auto') from err


def selected() -> str:
    """Name of the operators that compute in this process: 'native', 'nvrtc' or 'torch'."""
    return 'torch' if _own is None else _own.selected


@contextlib.contextmanager
def using(ops: str, device: torch.device | str = 'cpu') -> Iterator[None]:
    """`select` inside this context, for tests and comparisons. The previous choice is restored at the end."""
    global _own, _own_devices
    before = _own, _own_devices
    try:
        select(ops, torch.device(device))
        yield
    finally:
        _own, _own_devices = before
