"""The one place where the implementation of an operator is chosen.

A process chooses once, when it starts, by `select`; before that it is PyTorch's own operators that compute, so that
importing anything never compiles anything.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

import torch

from dnnlib.errors import UserError
from torch_utils.ops import torch_kernels

CHOICES = ('auto', 'native', 'torch')
# What the native operators compute: every dtype that networks have on a device.
DTYPES = {
    'cpu':  (torch.float32, torch.float64, torch.bfloat16),
    'cuda': (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}

_native: ModuleType | None = None  # torch_utils.ops.native_kernels, once it is chosen
_native_devices: tuple[str, ...] = ()  # the types of devices on which that is so


def kernels(x: torch.Tensor) -> ModuleType:
    """Return the module whose `upfirdn2d` and `bias_act` compute on tensors like `x`.

    Such a module takes arguments that were checked and completed by torch_utils.ops.upfirdn2d and .bias_act.
    `upfirdn2d` need not be differentiable (its gradient is upfirdn2d itself, see there); `bias_act` must be, twice.
    """
    if _native is not None and x.device.type in _native_devices and x.dtype in DTYPES[x.device.type]:
        return _native
    return torch_kernels


def select(ops: str, device: torch.device, build: bool = True) -> None:
    """Choose who computes in this process, on `device`: 'auto', 'native' or 'torch', as --ops has it.

    'auto' takes the native operators if they can be had, else PyTorch's, with one line on stderr that says why. The first
    time on a machine they are built, which takes half a minute; with build=False, only a build that is there counts.
    Raises UserError if 'native' can't be done.
    """
    global _native, _native_devices
    _native, _native_devices = None, ()
    if ops == 'torch':
        return
    if device.type not in DTYPES:
        if ops == 'native':
            raise UserError(f'--ops=native: there are none for {device.type}; use --ops=auto, or --device=cpu')
        return
    from torch_utils import custom_ops
    try:
        devices = custom_ops.load(device.type, build or ops == 'native')
    except custom_ops.CannotBuild as err:
        if ops == 'native':
            raise UserError(f'--ops=native: {err.reason}; {err.remedy}, or use --ops=auto') from err
        if not err.told:
            err.told = True
            print(f'Computing with the operators of PyTorch, which are slower than our own: {err.reason}; {err.remedy}, or use '
                  '--ops=torch', file=sys.stderr, flush=True)
        return
    if devices:
        from torch_utils.ops import native_kernels
        _native, _native_devices = native_kernels, devices


def selected() -> str:
    """Who computes in this process: 'native' or 'torch'."""
    return 'torch' if _native is None else 'native'


@contextlib.contextmanager
def using(ops: str, device: torch.device | str = 'cpu') -> Iterator[None]:
    """`select` for a while: for tests and comparisons. What was chosen before is chosen again afterwards."""
    global _native, _native_devices
    before = _native, _native_devices
    try:
        select(ops, torch.device(device))
        yield
    finally:
        _native, _native_devices = before
