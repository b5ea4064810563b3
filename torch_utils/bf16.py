"""Whether bfloat16 makes training faster on this CPU: measured, not read off its flags.

Instructions for bfloat16 say little. On one CPU with AVX512-BF16, training steps are 1.9 times as fast in bfloat16 as in
float32; on another one, convolutions reach 315 GFLOP/s in float32 and 180 in bfloat16.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import torch

from dnnlib.download import cache_dir
from dnnlib.files import atomic_open
from dnnlib.processor import model_name

WORTHWHILE = 1.2  # times as fast as float32 must convolutions be: what remains in float32, and conversions, cost something
REPEATS = 7


def has_instructions() -> bool:
    """Whether the CPU has instructions for bfloat16 (AMX or AVX512-BF16). Without them it is many times slower."""
    supported = [getattr(torch.cpu, name, None) for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported')]
    return any(test is not None and test() for test in supported)


def pays(width: int, native_ops: bool) -> bool:
    """Whether networks whose widest layer has `width` feature maps should train in bfloat16 on this CPU.

    Narrow networks gain nothing: below 64 feature maps with the native operators, and below 256 with PyTorch's, which are slow in
    it. Convolutions of wider ones are measured, once for each machine, build of PyTorch and number of threads.
    """
    return has_instructions() and width >= (64 if native_ops else 256) and speedup(min(width, 512)) >= WORTHWHILE


def speedup(width: int) -> float:
    """How many times as fast a convolution is in bfloat16 as in float32, forward and backward. Cached; about a second if not."""
    file, key = cache_dir('bf16.json'), _key(width)
    known = _read(file)
    if key not in known:
        known = {**_read(file), key: _measure(width)}
        try:
            with atomic_open(file, 'w') as f:
                json.dump(known, f, indent=1)
        except OSError:
            pass  # it is measured again next time
        print(f'bfloat16: convolutions of {width} feature maps are {known[key]:.2f} times as fast as in float32 on this CPU')
    return known[key]


def _key(width: int) -> str:
    return f'{model_name()}; torch {torch.__version__}; {torch.get_num_threads()} threads; {width}'


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
        return {k: float(v) for k, v in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _measure(width: int) -> float:
    """The median ratio of pairs, in turn, so that other programs on the machine slow both down."""
    pairs = [_make(width, dtype) for dtype in (torch.float32, torch.bfloat16)]
    ratios = []
    for repeat in range(REPEATS + 2):
        exact, half = (_seconds(*tensors) for tensors in pairs)
        if repeat >= 2:  # the first choose algorithms
            ratios.append(exact / half)
    return statistics.median(ratios)


def _make(width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)  # the run's own numbers stay as they are
    x = torch.randn(4, width, 16, 16, generator=rng).to(dtype).contiguous(memory_format=torch.channels_last)
    w = torch.randn(width, width, 3, 3, generator=rng).to(dtype).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), w.requires_grad_()


def _seconds(x: torch.Tensor, w: torch.Tensor) -> float:
    start = time.perf_counter()
    y = torch.nn.functional.conv2d(x, w, padding=1)
    torch.autograd.grad(y, (x, w), y.detach())
    return time.perf_counter() - start
