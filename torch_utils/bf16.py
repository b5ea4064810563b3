"""Measure whether bfloat16 makes training faster on this CPU. The CPU's flags do not answer this.

Instructions for bfloat16 are a poor predictor. On one CPU with AVX512-BF16, training steps are 1.9 times as fast in bfloat16 as
in float32. On another CPU, convolutions reach 315 GFLOP/s in float32 and 180 in bfloat16.
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

WORTHWHILE = 1.2  # required speedup of convolutions over float32; conversions and float32 layers cost time, too
REPEATS = 7


def has_instructions() -> bool:
    """Whether the CPU has instructions for bfloat16 (AMX or AVX512-BF16). Without them it is many times slower."""
    supported = [getattr(torch.cpu, name, None) for name in ('_is_amx_tile_supported', '_is_avx512_bf16_supported')]
    return any(test is not None and test() for test in supported)


def pays(width: int, native_ops: bool) -> bool:
    """Whether networks should train in bfloat16 on this CPU. width: feature maps of the widest layer.

    Narrow networks gain nothing: below 64 feature maps with the native operators, and below 256 with PyTorch's, which are slow
    in bfloat16. For wider networks, convolutions are measured once per machine, build of PyTorch and number of threads.
    """
    return has_instructions() and width >= (64 if native_ops else 256) and speedup(min(width, 512)) >= WORTHWHILE


def speedup(width: int) -> float:
    """Speedup of a convolution in bfloat16 over float32, forward and backward. The result is cached; measuring takes about a
    second."""
    file, key = cache_dir('bf16.json'), _key(width)
    known = _read(file)
    if key not in known:
        known = {**_read(file), key: _measure(width)}
        try:
            with atomic_open(file, 'w') as f:
                json.dump(known, f, indent=1)
        except OSError:
            pass  # the next process measures again
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
    """Return the median ratio over pairs of runs. float32 and bfloat16 alternate, so other programs slow both down equally."""
    pairs = [_make(width, dtype) for dtype in (torch.float32, torch.bfloat16)]
    ratios = []
    for repeat in range(REPEATS + 2):
        exact, half = (_seconds(*tensors) for tensors in pairs)
        if repeat >= 2:  # the first two let algorithms be chosen
            ratios.append(exact / half)
    return statistics.median(ratios)


def _make(width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)  # a generator of its own: the run's random numbers stay the same
    x = torch.randn(4, width, 16, 16, generator=rng).to(dtype).contiguous(memory_format=torch.channels_last)
    w = torch.randn(width, width, 3, 3, generator=rng).to(dtype).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), w.requires_grad_()


def _seconds(x: torch.Tensor, w: torch.Tensor) -> float:
    start = time.perf_counter()
    y = torch.nn.functional.conv2d(x, w, padding=1)
    torch.autograd.grad(y, (x, w), y.detach())
    return time.perf_counter() - start
