"""Profile of a training step on one device: python tests/gpu/shares.py --device=cuda --size=256

Profiles whole steps with torch.profiler and sorts the time of the device's kernels into kinds: convolutions and matrix products,
our operators, other elementwise kernels, copies. `busy` is the share of the wall-clock time in which the device computed; what is
missing there is waiting for launches. Prints one JSON line per size.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from pathlib import Path

import click
import torch
from torch.profiler import ProfilerActivity, profile

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / 'benchmarks'), str(Path(__file__).parents[2])]

from steps import SIZES  # noqa: E402 (the folder is on the path only now)
from training_step import make_run  # noqa: E402

from torch_utils import cuda_graphs, devices  # noqa: E402
from torch_utils.ops import backend  # noqa: E402
from training.losses import Phase, RecordedPhase  # noqa: E402
from training.losses.recorded_phase import REHEARSALS  # noqa: E402

# What the names of kernels and operators tell, in this order.
KINDS = {
    'convolution': r'conv|cudnn|xmma|cutlass|fprop|dgrad|wgrad|gem[mv]|addmm|bmm|\bmm\b|matmul|splitK|winograd|nchwToNhwc',
    'own operators': r'upfirdn|bias_act|style_gan',
    'Adam and averages': r'multi_tensor|foreach|adam|lerp',
    'copies': r'memcpy|memset|copy',
    'random numbers': r'distribution|philox|normal_|uniform_|rand',
    'elementwise': r'.',
}


@click.command()
@click.option('--device', default='auto', show_default=True)
@click.option('--size', default='demo,256,1024', show_default=True, help='One or several of: ' + ', '.join(SIZES))
@click.option('--precision', default='fp16', show_default=True)
@click.option('--steps', default=16, show_default=True, help='So many iterations, each phase as often as in a run.')
def main(device: str, size: str, precision: str, steps: int) -> None:
    """Print a JSON line per size."""
    where = devices.resolve_device(device)
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)
    backend.select('auto', where)
    if precision == 'fp16' and not devices.computes(torch.float16, where):
        precision = 'bf16'
    for name in size.split(','):
        print(json.dumps({'size': name, **shares(where, name, precision, steps)}), flush=True)


def shares(where: torch.device, name: str, precision: str, steps: int) -> dict:
    """Seconds per step, kernels launched per step, share of the time in which the device computed, and shares of that by kind."""
    on_card = where.type == 'cuda'
    make = functools.partial(RecordedPhase, memory=cuda_graphs.shared_memory()) if on_card else Phase
    phases, inputs = make_run(where, precision, make=make, **vars(SIZES[name]))
    for _ in range(REHEARSALS + 1 if on_card else 1):
        for phase in phases:
            phase.run([inputs])

    def iterate(count: int) -> None:
        for i in range(count):
            for phase in phases:
                if i % phase.interval == 0:
                    phase.run([inputs])

    wait = torch.cuda.synchronize if on_card else lambda: None
    wait()
    start = time.perf_counter()
    iterate(steps)
    wait()
    wall = time.perf_counter() - start  # without the profiler, which slows launches down
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_card) as profiler:
        iterate(steps)
        wait()
    times, launches = {}, 0
    for event in profiler.key_averages():
        if on_card and event.device_type == torch.autograd.DeviceType.CPU:
            continue
        seconds = (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1e6
        kind = next(kind for kind, pattern in KINDS.items() if re.search(pattern, event.key, re.IGNORECASE))
        times[kind] = times.get(kind, 0.0) + seconds
        launches += event.count
    total = sum(times.values())
    return {
        'batch': SIZES[name].batch, 'precision': precision, 'sec_per_step': round(wall / steps, 5),
        'kernels_per_step': round(launches / steps), 'busy': round(min(total / wall, 1.0), 3),
        'shares': {kind: round(t / total, 3) for kind, t in sorted(times.items(), key=lambda item: -item[1])},
    }


if __name__ == '__main__':
    main()
