"""The operators of csrc/ on a GPU, without a CUDA toolkit or a C++ compiler.

NVRTC compiles each kernel on first use, in a fraction of a second, and the user's cache keeps it. The operators have the names,
arguments and results of those of the native library (csrc/bindings.cpp, bindings_cuda.cpp).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dnnlib.download import cache_dir
from torch_utils import cuda_driver, nvrtc
from torch_utils.building import CannotBuild
from torch_utils.ops import plans
from torch_utils.ops.plans import BACKWARD, BACKWARD2, FORWARD, LINEAR, LRELU

NAME = 'style_gan_nvrtc'  # name of the operators: torch.ops.style_gan_nvrtc.*
HOW = 'int dim, int act, float alpha, float gain, float clamp'
SCHEMAS = (
    'upfirdn2d(Tensor x, Tensor f, int[2] up, int[2] down, int[4] padding, bool flip_filter, float gain) -> Tensor',
    f'bias_act(Tensor x, Tensor? b, {HOW}) -> Tensor',
    f'bias_act_backward(Tensor dy, Tensor x, Tensor? b, Tensor y, {HOW}) -> Tensor',
    f'bias_act_backward2(Tensor ddx, Tensor dy, Tensor x, Tensor? b, Tensor y, {HOW}) -> (Tensor, Tensor)',
)
LONGEST = 0x7fffffff // 4  # maximum length of an axis, so that sums of a few lengths cannot overflow
# How a kernel is launched: on which device, and its parameters.
Launcher = Callable[[plans.Launch, torch.device, Sequence[cuda_driver.Argument]], None]


@functools.cache
def headers() -> dict[str, bytes]:
    """Files that the kernels' source includes."""
    return {path.name: path.read_bytes() for path in Path(__file__).with_name('csrc').glob('*.h')}


class GpuLauncher:
    """Compiles and loads each kernel on its first launch. Raises CannotBuild if that is impossible here."""

    def __init__(self) -> None:
        if torch.version.cuda is None:
            raise CannotBuild('this PyTorch is not built for CUDA', 'install one that is')
        self._compiler = nvrtc.library(torch.version.cuda)
        self._functions: dict[tuple[int, str], int] = {}  # by GPU and kernel

    def __call__(self, launch: plans.Launch, device: torch.device, parameters: Sequence[cuda_driver.Argument]) -> None:
        with torch.cuda.device(device):
            function = self._functions.get((device.index, launch.kernel))
            if function is None:
                function = self._functions[device.index, launch.kernel] = self._load(launch.kernel, device)
            stream = torch.cuda.current_stream(device).cuda_stream
            cuda_driver.launch(function, launch.blocks, plans.THREADS, launch.shared, stream, parameters, device.index)

    def _load(self, kernel: str, device: torch.device) -> int:
        architecture = nvrtc.architecture(torch.cuda.get_device_capability(device), self._compiler.architectures())
        for fresh in (False, True):  # the cached kernel may be corrupt
            symbol, code = nvrtc.obtain(self._compiler, cache_dir('ops'), plans.SOURCE, headers(), kernel, architecture, fresh)
            try:
                return cuda_driver.load(code, symbol, device.index)
            except cuda_driver.DriverError as err:
                error = err
        version = '.'.join(map(str, self._compiler.version))
        raise CannotBuild(f"the GPU's driver does not load what NVRTC {version} compiles for {architecture} ({error})",
                          'update the driver')


class Operators:
    """The operators: they turn tensors into launches."""

    def __init__(self, launcher: Launcher):
        self._launch = launcher

    def register(self, name: str, kind: str) -> torch.library.Library:
        """Register the operators as torch.ops.<name>.* for tensors on a kind of device, 'CUDA'. They exist while the result
        does."""
        library = torch.library.Library(name, 'DEF')
        for schema in SCHEMAS:
            library.define(schema)
            operator = schema.split('(')[0]
            library.impl(operator, getattr(self, operator), kind)
        return library

    def upfirdn2d(self, x: torch.Tensor, f: torch.Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int],
                  flip_filter: bool, gain: float) -> torch.Tensor:
        _check(x.ndim == 4, f'images are [N, C, H, W], not of shape {list(x.shape)}')
        _check(f.ndim in (1, 2) and f.numel() > 0, f'a filter is [fh, fw] or [taps], not of shape {list(f.shape)}')
        _check(f.device == x.device, f'the filter is on {f.device}, the image on {x.device}')
        _check_dtype(x)
        memory_format = _memory_format(x)
        channels_last = memory_format == torch.channels_last
        x, taps = x.contiguous(memory_format=memory_format), f.float().contiguous()
        n, c, height, width = x.shape
        ax = _axis(width, up[0], down[0], padding[0], padding[1], f.shape[-1])
        ay = _axis(height, up[1], down[1], padding[2], padding[3], f.shape[0])
        y = torch.empty((n, c, ay[1], ax[1]), dtype=x.dtype, device=x.device, memory_format=memory_format)
        if y.numel() == 0:
            return y
        outer, inner = (n, c) if channels_last else (n * c, 1)
        alignment = _alignment(x.data_ptr() | y.data_ptr())
        launch = plans.upfirdn2d(x.dtype, ax, ay, outer, inner, f.ndim == 1, flip_filter, gain, alignment)
        if launch is None:
            # A separable filter that the tiled kernel does not take: one pass per axis. The intermediate result is not rounded
            # to half precision.
            between = torch.float32 if x.dtype.itemsize == 2 else x.dtype
            rows = self.upfirdn2d(x.to(between), taps[None, :], (up[0], 1), (down[0], 1), (*padding[:2], 0, 0), flip_filter, 1.0)
            return self.upfirdn2d(rows, taps[:, None], (1, up[1]), (1, down[1]), (0, 0, *padding[2:]), flip_filter,
                                  gain).to(x.dtype)
        self._launch(launch, x.device, (launch.plan, *(ctypes.c_void_p(t.data_ptr()) for t in (x, taps, y))))
        return y

    def bias_act(self, x: torch.Tensor, b: torch.Tensor | None, dim: int, act: int, alpha: float, gain: float,
                 clamp: float) -> torch.Tensor:
        return self._run(FORWARD, None, None, x, b, None, dim, act, alpha, gain, clamp)[0]

    def bias_act_backward(self, dy: torch.Tensor, x: torch.Tensor, b: torch.Tensor | None, y: torch.Tensor, dim: int, act: int,
                          alpha: float, gain: float, clamp: float) -> torch.Tensor:
        return self._run(BACKWARD, None, dy, x, b, y, dim, act, alpha, gain, clamp)[0]

    def bias_act_backward2(self, ddx: torch.Tensor, dy: torch.Tensor, x: torch.Tensor, b: torch.Tensor | None, y: torch.Tensor,
                           dim: int, act: int, alpha: float, gain: float, clamp: float) -> tuple[torch.Tensor, ...]:
        if act <= LRELU:  # piecewise linear: the derivative is linear in dy, and its derivative by x is zero
            return self.bias_act_backward(ddx, x, b, y, dim, act, alpha, gain, clamp), ddx.new_empty([0])
        return self._run(BACKWARD2, ddx, dy, x, b, y, dim, act, alpha, gain, clamp)

    def _run(self, order: int, ddx: torch.Tensor | None, dy: Any, x: Any, b: torch.Tensor | None, y: Any, dim: int, act: int,
             alpha: float, gain: float, clamp: float) -> tuple[torch.Tensor, ...]:
        """Return the results of one launch: two with BACKWARD2, otherwise one. y may be empty if not needed, and so may x in
        derivatives."""
        _check(0 <= act < 9, f'there is no activation number {act}')
        known = None
        if order == FORWARD or act > LRELU:
            known = _dense(x)
        elif act != LINEAR or clamp >= 0:
            known = _dense(y)
        like = known if known is not None else _dense(dy)
        _check_dtype(like)
        dy, ddx = (None if t is None else _laid_out_as(t, like) for t in (dy, ddx))
        shape, strides = (like.shape, like.stride()) if like.ndim else ((1,), (1,))
        _check(-len(shape) <= dim < len(shape), f'no axis {dim} in a tensor of shape {list(like.shape)}')
        channels = max(shape[dim], 1)
        inner = 1 if channels == 1 else strides[dim]
        if b is not None:
            _check(b.ndim == 1 and b.shape[0] == shape[dim],
                   f'a bias of shape {list(b.shape)} does not fit axis {dim} of {list(shape)}')
            _check(b.device == like.device, f'the bias is on {b.device}, the image on {like.device}')
            b = b.to(like.dtype).contiguous()
        results = tuple(torch.empty_like(like) for _ in range(2 if order == BACKWARD2 else 1))
        if like.numel() > 0:
            tensors = (known, b, dy, ddx, results[0], results[1] if order == BACKWARD2 else None)
            pointers = [0 if t is None else t.data_ptr() for t in tensors]
            aligned = not functools.reduce(int.__or__, pointers) % 16
            sizes = like.numel() // (channels * inner), channels, inner
            launch = plans.bias_act(like.dtype, order, sizes, b is not None, act, alpha, gain, clamp, aligned)
            self._launch(launch, like.device, (launch.plan, plans.BiasActData(*pointers)))
        return results


def _check(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


def _check_dtype(x: torch.Tensor) -> None:
    if x.dtype not in plans.TYPES:
        raise TypeError(f'{NAME} take floating point tensors, not {x.dtype}')


def _axis(size: int, up: int, down: int, before: int, after: int, taps: int) -> tuple[int, ...]:
    """Fields of Axis in upfirdn2d.h."""
    _check(up >= 1 and down >= 1, 'up and down are at least 1')
    padded = size * up + before + after
    _check(padded >= taps, f'the padded image has {padded} pixels along an axis, less than the {taps} taps')
    _check(max(size * up, abs(before), padded, up, down, taps) < LONGEST, 'an axis is too long')
    return size, (padded - taps) // down + 1, up, down, before, taps


def _alignment(address: int) -> int:
    """Largest power of two, up to 16, that divides an address."""
    return min(address & -address, 16) if address else 16


def _memory_format(t: torch.Tensor) -> torch.memory_format:
    """Like Tensor::suggest_memory_format: channels_last if strides grow from channels over columns and rows to images, even with
    gaps.

    PyTorch's Python function (torch._prims_common) agrees, but imports sympy, which takes seconds.
    """
    if t.ndim != 4 or t.numel() == 0 or t.stride(1) == 0:
        return torch.contiguous_format
    least = 0
    for axis in (1, 3, 2, 0):
        ambiguous = axis == 0 and least == t.stride(1)  # one channel, or one pixel
        if t.stride(axis) < least or ambiguous:
            return torch.contiguous_format
        least = t.stride(axis) * t.shape[axis]
    return torch.channels_last


def _dense(t: torch.Tensor) -> torch.Tensor:
    """Return the tensor, copied if its memory has gaps or overlaps."""
    if t.is_contiguous():
        return t
    size = 1
    for stride, length in sorted(zip(t.stride(), t.shape, strict=True)):
        if length != 1 and stride != size:
            return t.contiguous(memory_format=_memory_format(t))
        size *= length
    return t


def _laid_out_as(t: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return t with the strides of `reference`, copied only if its strides differ."""
    _check(t.shape == reference.shape, f'shapes differ: {list(t.shape)} and {list(reference.shape)}')
    _check(t.device == reference.device, f'devices differ: {t.device} and {reference.device}')
    if t.dtype != reference.dtype:
        raise TypeError(f'dtypes differ: {t.dtype} and {reference.dtype}')
    if t.stride() == reference.stride():
        return t
    return torch.empty_strided(reference.shape, reference.stride(), dtype=t.dtype, device=t.device).copy_(t)
