"""Functions of the CUDA driver that load and launch compiled kernels and list the GPUs. Calls go through ctypes.

Around calls of `load` and `launch`, PyTorch must work on the same GPU (torch.cuda.device).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

LIBRARY = 'libcuda.so.1'
CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class DriverError(RuntimeError):
    """A function of the driver failed."""

    def __init__(self, function: str, status: int, text: str):
        super().__init__(f'{function}: {text}')
        self.status = status


@functools.cache
def _driver() -> ctypes.CDLL:
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as err:
        raise DriverError('loading the driver of the GPU', -1, str(err)) from err
    # Handles are pointers. Without declared types, ctypes would truncate them to 32 bits.
    driver.cuModuleGetFunction.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p]
    driver.cuLaunchKernel.argtypes = [ctypes.c_void_p, *[ctypes.c_uint] * 7, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    driver.cuCtxSetCurrent.argtypes = [ctypes.c_void_p]
    driver.cuGetErrorString.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return driver


Argument = Any  # argument of a kernel: a ctypes number or structure


def _call(function: str, *arguments: Any) -> None:
    driver = _driver()
    if status := getattr(driver, function)(*arguments):
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        raise DriverError(function, status, (text.value or b'unknown error').decode())


def load(code: bytes, symbol: str, gpu: int) -> int:
    """Load compiled code on a GPU until this process ends. Returns the kernel named `symbol`.

    Raises DriverError if the code is corrupt, for another GPU, or newer than the driver.
    """
    _call('cuCtxSetCurrent', _context(gpu))
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _call('cuModuleLoadData', ctypes.byref(module), code)
    _call('cuModuleGetFunction', ctypes.byref(function), module, symbol.encode())
    assert function.value is not None  # the call has succeeded
    return function.value


def launch(function: int, blocks: int, threads: int, shared: int, stream: int, arguments: Sequence[Argument],
           gpu: int) -> None:
    """Launch a kernel on a GPU. shared: bytes of shared memory. arguments: as the kernel declares them."""
    _call('cuCtxSetCurrent', _context(gpu))  # this thread may not have used the GPU yet
    pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
    _call('cuLaunchKernel', function, blocks, 1, 1, threads, 1, 1, shared, stream, pointers, None)


@functools.cache
def _context(gpu: int) -> int:
    """Context that PyTorch uses on a GPU."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call('cuDeviceGet', ctypes.byref(device), gpu)
    _call('cuDevicePrimaryCtxRetain', ctypes.byref(context), device)
    assert context.value is not None  # the call has succeeded
    return context.value


def capabilities() -> list[tuple[int, int]]:
    """Compute capabilities of all visible GPUs. Asks the driver, because PyTorch's query may take memory on a GPU.

    Raises DriverError if there is no driver or it does not work.
    """
    _call('cuInit', 0)
    count = ctypes.c_int()
    _call('cuDeviceGetCount', ctypes.byref(count))
    return [(_attribute(index, CAPABILITY[0]), _attribute(index, CAPABILITY[1])) for index in range(count.value)]


def version() -> tuple[int, int]:
    """Newest CUDA version that the driver supports. Raises DriverError if there is no driver."""
    number = ctypes.c_int()
    _call('cuDriverGetVersion', ctypes.byref(number))
    return number.value // 1000, number.value % 1000 // 10


def _attribute(index: int, number: int) -> int:
    device, value = ctypes.c_int(), ctypes.c_int()
    _call('cuDeviceGet', ctypes.byref(device), index)
    _call('cuDeviceGetAttribute', ctypes.byref(value), number, device)
    return value.value
