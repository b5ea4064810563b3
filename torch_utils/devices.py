"""The only place that knows devices by name: choosing one, seeding, timing, memory."""

from __future__ import annotations

import contextlib
import ctypes
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
HOST = torch.device('cpu')  # main memory: what is here can be read without waiting for a device


def resolve_device(name: str) -> torch.device:
    """'auto' takes CUDA, then MPS, then the CPU.

    Raises OptionError for a device that this machine does not have, or that PyTorch can't use.
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
    """What a device is called by its maker, or by its type where nothing more is known."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else model_name() if device.type == 'cpu' else ''
    return name or device.type


def most_ranks(device_type: str) -> float:
    """How many ranks this machine can run on devices of this type: one per GPU, any number on a CPU."""
    return torch.cuda.device_count() if device_type == 'cuda' else math.inf


def start(name: str, cudnn_benchmark: bool = False, allow_tf32: bool = False) -> torch.device:
    """The device of that name, ready to compute: what every command calls first. Raises OptionError as resolve_device does.

    With 'auto', the first rank prints why a GPU that is there is not used.
    """
    device = resolve_device(name)
    if name == 'auto' and os.environ.get('RANK', '0') == '0' and (trouble := gpu_trouble.trouble()):
        print(f'Warning: {trouble}. Computing on the {device.type.upper()}.')
    configure(device, cudnn_benchmark, allow_tf32)
    return device


def configure(device: torch.device, cudnn_benchmark: bool = False, allow_tf32: bool = False) -> None:
    """Process-wide switches of speed and precision for work on `device`; nothing else sets them, but for `full_precision`.

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
    """Matrix products and convolutions of float32 within are computed as such, not in TF32."""
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
    """Within, the CPU computes with one thread: sums are then rounded in the same way however many threads a process has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_float64(device: torch.device) -> bool:
    """Whether `device` computes in float64."""
    return device.type != 'mps'


def _keep_freed_memory() -> None:
    """Tell glibc's allocator not to give memory back to the system between steps, where there is a glibc.

    Every step needs the same buffers again, and the first touch of a fresh page is expensive: about 10% of the time
    of a step of a small network.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2 ** 31 - 1)
        mallopt(top_pad, 64 << 20)


def computes(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` computes networks in the half precision `dtype`. float16 is hundreds of times slower than float32
    on CPUs; bfloat16 works on all of them; torch_utils.bf16 tells where it is fast."""
    return device.type == 'cuda' or (dtype == torch.bfloat16 and device.type == 'cpu')


def half_dtype(device: torch.device, precision: str, width: int, native_ops: bool = False) -> torch.dtype:
    """The dtype of the blocks in half precision (those of num_fp16_res) for --precision=auto|fp32|fp16|bf16.

    Where the device does not compute it (`computes`), blocks stay in float32; with 'fp32' there are no such blocks.
    width: feature maps of the widest layer. native_ops: who computes. On CPUs, 'auto' is bf16 where that was measured to be
    faster (torch_utils.bf16).
    Raises OptionError where the choice is wrong for the device.
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
    """Whether what takes minutes on a GPU takes hours on `device`."""
    return device.type == 'cpu'


def prefers_channels_last(device: torch.device) -> bool:
    """Whether float32 convolutions on `device` are faster with channels last: up to 3.6 times on CPUs with oneDNN."""
    return device.type == 'cpu'


def wants_few_shapes(device: torch.device) -> bool:
    """Whether each new shape of a tensor costs time on `device`: cuDNN searches an algorithm, memory comes in other blocks."""
    return device.type == 'cuda'


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on `device` of a tensor in main memory; the same tensor if that is the device. Nobody waits for the copy."""
    if tensor.device == device:
        return tensor
    return (tensor.pin_memory() if pins_memory(device) else tensor).to(device, non_blocking=True)


def wants_few_kernels(device: torch.device) -> bool:
    """Whether starting to compute costs much on `device`, so that many small tensors had better be one, if by a copy."""
    return device.type == 'cuda'


def suffers_from_fork(device: torch.device) -> bool:
    """Whether a process that uses `device` should not be forked: it has threads and memory that the new one would lack."""
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
    """Most memory held on `device` since the last call, in GiB; 0 where it is not counted."""
    if device.type != 'cuda':
        return 0.0
    peak = torch.cuda.max_memory_allocated(device) / 2 ** 30
    torch.cuda.reset_peak_memory_stats(device)
    return peak


@contextlib.contextmanager
def explaining_out_of_memory(advice: str) -> Iterator[None]:
    """Raises UserError with this advice if the GPU, or the computer, runs out of memory within."""
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
    """Time of the latest `with` block, as the device sees it, without waiting for the device in between."""

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
        """Duration in ms; None if never used. Waits until the device has finished the block."""
        if not self._used:
            return None
        if self._events:
            self._events[1].synchronize()
            return self._events[0].elapsed_time(self._events[1])
        return (self._span[1] - self._span[0]) * 1e3
