"""Everything that depends on the kind of device: choice, seeds, timing, memory. No other module names devices."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from dnnlib.processor import model_name
from dnnlib.util import OptionError, UserError
from torch_utils import bf16, gpu_trouble

DEVICES = ('auto', 'cuda', 'cpu', 'mps')
SHAPES_ONLY = torch.device('meta')  # as a context: tensors without memory
HOST = torch.device('cpu')  # main memory: reading a tensor here never waits for a device


def resolve_device(name: str) -> torch.device:
    """Resolve a device name. 'auto' takes CUDA if available, then MPS, then the CPU.

    Raises OptionError for a device that this machine lacks or that PyTorch cannot use.
    """
    trouble = gpu_trouble.trouble() if name in ('auto', 'cuda') else None
    available = {'cuda': torch.cuda.is_available() and not trouble, 'mps': torch.backends.mps.is_available(), 'cpu': True}
    if name == 'auto':
        name = next(n for n in ('cuda', 'mps', 'cpu') if available[n])
    if not available.get(name, False):
        raise OptionError(f'--device={name}: {trouble}' if trouble else
                          f'--device={name} is not available here; use --device=auto or --device=cpu')
    return torch.device(name)


def name_of(device: torch.device) -> str:
    """Return the maker's name of a device, or its type if the name is unknown."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else model_name() if device.type == 'cpu' else ''
    return name or device.type


def most_ranks(device_type: str) -> float:
    """Maximum number of ranks on devices of this type on this machine: one per GPU; unlimited on a CPU."""
    return torch.cuda.device_count() if device_type == 'cuda' else math.inf


def start(name: str, cudnn_benchmark: bool = False, allow_tf32: bool = False) -> torch.device:
    """Return the device of that name, ready for use. Every command calls this first. Raises OptionError like resolve_device.

    With 'auto', rank 0 prints why an existing GPU is not used.
    """
    device = resolve_device(name)
    if name == 'auto' and os.environ.get('RANK', '0') == '0' and (trouble := gpu_trouble.trouble()):
        print(f'Warning: {trouble}. Computing on the {device.type.upper()}.')
    configure(device, cudnn_benchmark, allow_tf32)
    return device


def configure(device: torch.device, cudnn_benchmark: bool = False, allow_tf32: bool = False) -> None:
    """Set the process-wide switches of speed and precision for `device`. Only `full_precision` sets them elsewhere.

    cudnn_benchmark: let cuDNN try out algorithms for each shape. allow_tf32: multiply float32 in TF32. Sums of products in half
    precision are always accumulated in float32.
    """
    if device.type == 'cpu':
        _keep_freed_memory()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.benchmark, cudnn.allow_tf32 = cudnn_benchmark, allow_tf32
    matmul.allow_tf32 = allow_tf32
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Inside this context, float32 matrix products and convolutions use full float32, not TF32."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = False
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside this context, the CPU uses one thread. Sums are then rounded the same way for any number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_float64(device: torch.device) -> bool:
    """Whether `device` supports float64."""
    return device.type != 'mps'


def _keep_freed_memory() -> None:
    """Tell glibc's allocator, if present, to keep freed memory between steps.

    Every step needs the same buffers again, and the first touch of a fresh page is expensive: about 10% of the time of a step of
    a small network.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2 ** 31 - 1)
        mallopt(top_pad, 64 << 20)


def computes(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` can run networks in the half precision `dtype`.

    On CPUs, float16 is hundreds of times slower than float32. bfloat16 works on all CPUs; torch_utils.bf16 measures whether it
    is fast.
    """
    return device.type == 'cuda' or (dtype == torch.bfloat16 and device.type == 'cpu')


def half_dtype(device: torch.device, precision: str, width: int, native_ops: bool = False) -> torch.dtype:
    """Choose the dtype of the half-precision blocks (num_fp16_res) for --precision=auto|fp32|fp16|bf16.

    If the device does not support the dtype (`computes`), blocks stay in float32. With 'fp32' no blocks use half precision.
    width: feature maps of the widest layer. native_ops: whether our own operators compute. On CPUs, 'auto' is bf16 if it was
    measured to be faster (torch_utils.bf16).
    Raises OptionError for a choice that is wrong for the device.
    """
    if precision == 'fp16' and device.type != 'cuda':
        raise OptionError(f'--precision=fp16 is for CUDA, and this run is on {device.type}; use --precision=bf16, fp32 or auto')
    if precision == 'bf16' and not computes(torch.bfloat16, device):
        raise OptionError(f'--precision=bf16 is not available on {device.type}; use --precision=fp32 or auto')
    if precision == 'bf16' and device.type == 'cuda' and not torch.cuda.is_bf16_supported():
        raise OptionError('--precision=bf16 needs a GPU of compute capability 8.0 or newer; use --precision=fp16 or auto')
    brief = precision == 'bf16' or (precision == 'auto' and device.type == 'cpu' and bf16.pays(width, native_ops))
    return torch.bfloat16 if brief else torch.float16


def is_slow(device: torch.device) -> bool:
    """Whether work that takes minutes on a GPU takes hours on `device`."""
    return device.type == 'cpu'


def prefers_channels_last(device: torch.device) -> bool:
    """Whether float32 convolutions on `device` are faster with channels last: up to 3.6 times on CPUs with oneDNN."""
    return device.type == 'cpu'


def wants_few_shapes(device: torch.device) -> bool:
    """Whether each new tensor shape costs time on `device`: cuDNN searches for an algorithm, and memory blocks differ in size."""
    return device.type == 'cuda'


def wants_own_convolution_gradients(device: torch.device) -> bool:
    """Whether PyTorch's gradients of gradients of convolutions are slow on `device`; see torch_utils.ops.convolution."""
    return device.type == 'cuda'


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from main memory to `device`, without waiting. Returns the same tensor if it is already there."""
    if tensor.device == device:
        return tensor
    return (tensor.pin_memory() if pins_memory(device) else tensor).to(device, non_blocking=True)


def wants_few_kernels(device: torch.device) -> bool:
    """Whether launching a computation is expensive on `device`, so that merging many small tensors pays, even at the cost of a
    copy."""
    return device.type == 'cuda'


def suffers_from_fork(device: torch.device) -> bool:
    """Whether forking is unsafe in a process that uses `device`, because the child would lack its threads and memory."""
    return device.type == 'cuda'


def pins_memory(device: torch.device) -> bool:
    """Whether copies to `device` are faster from pinned memory."""
    return device.type == 'cuda'


def seed_everything(*key: int) -> np.random.Generator:
    """Seed torch's generators on all devices from a key of non-negative ints, such as (seed, images seen, rank).

    Returns a NumPy generator seeded from the same key.
    """
    sequence = np.random.SeedSequence(key)
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
    return np.random.default_rng(sequence)


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory on `device` since the last call, in GiB; 0 if it is not counted."""
    if device.type != 'cuda':
        return 0.0
    peak = torch.cuda.max_memory_allocated(device) / 2 ** 30
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def free_memory(device: torch.device) -> None:
    """Give memory that PyTorch keeps for later back to `device`."""
    if device.type == 'cuda':
        gc.collect()
        torch.cuda.empty_cache()


@contextlib.contextmanager
def explaining_out_of_memory(advice: str) -> Iterator[None]:
    """Raise UserError with this advice if the GPU or the computer runs out of memory inside this context."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as err:
        wanted, there = (re.search(pattern, str(err)) for pattern in (r'allocate ([\d.]+ \w+)', r'capacity of ([\d.]+ \w+)'))
        numbers = f' ({wanted[1]} more were asked for, of {there[1]})' if wanted and there else ''
        raise UserError(f'the GPU is out of memory{numbers}; {advice}') from err
    except RuntimeError as err:
        wanted = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", str(err))
        if wanted is None:
            raise
        raise UserError(f'the computer is out of memory ({int(wanted[1]) / 2 ** 30:,.2f} GiB more were asked for); {advice}'
                        ) from err


class Stopwatch:
    """Device time of the latest `with` block. Does not wait for the device in between."""

    def __init__(self, device: torch.device):
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == 'cuda' else None
        self._span = (0.0, 0.0)
        self._used = False

    def __enter__(self) -> None:
        self._used = True
        if self._events:
            self._events[0].record()
        self._span = (time.perf_counter(), 0.0)

    def __exit__(self, *_: object) -> None:
        if self._events:
            self._events[1].record()
        self._span = (self._span[0], time.perf_counter())

    def milliseconds(self) -> float | None:
        """Duration in ms; None if no block was timed. Waits until the device has finished the block."""
        if not self._used:
            return None
        if self._events:
            self._events[1].synchronize()
            return self._events[0].elapsed_time(self._events[1])
        return (self._span[1] - self._span[0]) * 1e3
