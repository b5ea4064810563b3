"""Time of training steps on one device, one switch at a time: python tests/gpu/steps.py --help

A row is one network size with one choice of switches: seconds per kimg and peak memory, from the median time of each phase with
its share of lazy regularisation, without data, augmentation and averages. A choice that the device cannot run is a row with its
error. Rows are printed as JSON lines as soon as they are measured, so that a time limit loses none of them.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'benchmarks')]

from training_step import count_flops, make_run, milliseconds  # noqa: E402 (the folder is on the path only now)

from torch_utils import cuda_graphs, devices  # noqa: E402
from torch_utils.ops import backend  # noqa: E402
from training.losses import Phase, RecordedPhase  # noqa: E402
from training.losses.recorded_phase import REHEARSALS  # noqa: E402


@dataclass(frozen=True)
class Size:
    """What is trained: the published widths unless `cmax` says otherwise."""

    resolution: int
    cbase: int
    batch: int
    cmax: int = 512
    c_dim: int = 0


SIZES = {
    'demo': Size(32, 512, 64, cmax=64, c_dim=2),
    '32': Size(32, 16384, 64),
    '256': Size(256, 16384, 32),
    '512': Size(512, 32768, 16),
    '1024': Size(1024, 32768, 8),
    'tiny': Size(16, 256, 8, cmax=16, c_dim=2),  # for CPUs: shows that the script works
}


@dataclass(frozen=True)
class Choice:
    """The switches of a run."""

    precision: str = 'fp16'  # bf16 instead where the device has no fp16
    tf32: bool = False
    nhwc: bool = False
    ops: str = 'auto'
    graphs: bool = True  # phases are recorded, where the device can repeat recordings


GRAPHS = Choice()
CHOICES = {
    'eager': replace(GRAPHS, graphs=False),
    'eager, PyTorch operators': replace(GRAPHS, graphs=False, ops='torch'),
    'graphs': GRAPHS,
    'graphs, PyTorch operators': replace(GRAPHS, ops='torch'),
    'graphs, float32': replace(GRAPHS, precision='fp32'),
    'graphs, TF32': replace(GRAPHS, tf32=True),
    'graphs, channels last': replace(GRAPHS, nhwc=True),
    'graphs, TF32, channels last': replace(GRAPHS, tf32=True, nhwc=True),
    'graphs, TF32, bf16': replace(GRAPHS, tf32=True, precision='bf16'),
}
# The most telling rows first: each takes a quarter of a minute, mostly for cuDNN's search, and time may run out.
ROWS = [('256', 'graphs, TF32'), ('1024', 'graphs, TF32'), ('512', 'graphs'), ('256', 'graphs, TF32, channels last'),
        ('1024', 'graphs, TF32, channels last'), ('256', 'graphs'), ('demo', 'graphs'), ('1024', 'graphs'), ('32', 'graphs'),
        ('512', 'graphs, TF32'), *((size, 'eager') for size in ('demo', '256', '1024', '32', '512')),
        ('demo', 'graphs, TF32'), ('256', 'graphs, channels last'), ('256', 'graphs, TF32, bf16'), ('demo', 'graphs, float32'),
        ('256', 'graphs, PyTorch operators'), ('demo', 'graphs, PyTorch operators'), ('demo', 'eager, PyTorch operators')]


@click.command()
@click.option('--device', default='auto', show_default=True)
@click.option('--size', default=','.join(SIZES), show_default=True, help='Only rows of these sizes.')
@click.option('--repeats', default=5, show_default=True)
def main(device: str, size: str, repeats: int) -> None:
    """Print a JSON line per size and choice."""
    where = devices.resolve_device(device)
    for size_name, choice_name in [*ROWS, *(('tiny', name) for name in CHOICES)]:
        if size_name not in size.split(','):
            continue
        row = {'size': size_name, 'choice': choice_name, 'batch': SIZES[size_name].batch}
        try:
            row |= measure(where, SIZES[size_name], CHOICES[choice_name], repeats)
        except Exception as err:  # a row of its own: the other choices still count
            row['error'] = f'{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}'
        print(json.dumps(row), flush=True)


def measure(where: torch.device, size: Size, choice: Choice, repeats: int) -> dict[str, Any]:
    """One row: ms of each phase, sec/kimg, img/s, peak GiB, the model's TFLOP/s, and seconds until everything is recorded."""
    devices.configure(where, cudnn_benchmark=True, allow_tf32=choice.tf32)
    devices.free_memory(where)
    devices.peak_memory_gib(where)
    half = choice.precision == 'fp16' and not devices.computes(torch.float16, where)
    precision = 'bf16' if half else choice.precision
    recorded = choice.graphs and cuda_graphs.works_on(where)
    make = functools.partial(RecordedPhase, memory=cuda_graphs.shared_memory()) if recorded else Phase
    with backend.using(choice.ops, where):
        started = time.perf_counter()
        phases, inputs = make_run(where, precision, nhwc=choice.nhwc, make=make, **vars(size))
        flops = [count_flops(phase, inputs) for phase in phases]  # the first run of each, too
        for _ in range(REHEARSALS if recorded else 1):
            for phase in phases:
                phase.run([inputs])
        start_up = time.perf_counter() - started
        medians = [statistics.median(milliseconds(where, lambda phase=phase: phase.run([inputs])) for _ in range(repeats))
                   for phase in phases]
    share = [1 / phase.interval for phase in phases]
    step_ms = sum(ms * s for ms, s in zip(medians, share, strict=True))
    arithmetic = sum(f * s for f, s in zip(flops, share, strict=True))
    return {
        'phases': {phase.name: round(ms, 3) for phase, ms in zip(phases, medians, strict=True)},
        'sec_per_kimg': round(step_ms / size.batch, 4), 'img_per_sec': round(1e3 * size.batch / step_ms, 1),
        'gib': round(devices.peak_memory_gib(where), 2), 'tflops': round(arithmetic / step_ms / 1e9, 2), 'precision': precision,
        'start_up_s': round(start_up, 1),
    }


if __name__ == '__main__':
    main()
