"""The one place where the implementation of an operator is chosen.

A process chooses once, when it starts, by `select`; before that it is PyTorch's own operators that compute, so that
importing anything never compiles anything.
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
# What our own operators compute: every dtype that networks have on a device.
DTYPES = {
    'cpu':  (torch.float32, torch.float64, torch.bfloat16),
    'cuda': (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}

_own: Any = None  # torch_utils.ops.native_kernels.Kernels, once they are chosen
_own_devices: tuple[str, ...] = ()  # the types of devices on which that is so


def kernels(x: torch.Tensor) -> Any:
    """Return the object whose `upfirdn2d` and `bias_act` compute on tensors like `x`.

    They take arguments that were checked and completed by torch_utils.ops.upfirdn2d and .bias_act.
    `upfirdn2d` need not be differentiable (its gradient is upfirdn2d itself, see there); `bias_act` must be, twice.
    """
    if _own is not None and x.device.type in _own_devices and x.dtype in DTYPES[x.device.type]:
        return _own
    return torch_kernels


def select(ops: str, device: torch.device, build: bool = True) -> None:
    """Choose who computes in this process, on `device`: 'auto', 'native' or 'torch', as --ops has it.

    'native' is the library that a C++ compiler and, for CUDA, nvcc build. 'auto' takes on CUDA the same kernels, compiled by
    NVRTC when they are first used, and elsewhere the library. If they are not available, it takes PyTorch's operators and
    says why in one line on stderr, on rank 0. The first time on a machine a library is built, which takes half a minute; with
    build=False, only a build that is there counts. Raises UserError if 'native' can't be done.
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
    """Do in the process that starts the ranks what `select` does there only once: build. Raises UserError as `select` does.

    On CUDA, nothing is loaded or verified here: this process would hold memory on a GPU as long as the ranks run.
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
    """Who computes in this process: 'native', 'nvrtc' or 'torch'."""
    return 'torch' if _own is None else _own.selected


@contextlib.contextmanager
def using(ops: str, device: torch.device | str = 'cpu') -> Iterator[None]:
    """`select` for a while: for tests and comparisons. What was chosen before is chosen again afterwards."""
    global _own, _own_devices
    before = _own, _own_devices
    try:
        select(ops, torch.device(device))
        yield
    finally:
        _own, _own_devices = before
