"""Time of training steps on one device, one switch at a time: python tests/gpu/steps.py --help

A row is one network size with one choice of switches: seconds per kimg and peak memory, from the median time of each phase with
its share of lazy regularisation. A choice that the device cannot run is a row with its error. Rows are printed as JSON lines as
soon as they are measured, so that a time limit loses none of them.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests' / 'benchmarks')]

from training_step import count_flops, make_run, milliseconds  # noqa: E402 (the folder is on the path only now)

from torch_utils import devices, training_stats  # noqa: E402
from torch_utils.ops import backend  # noqa: E402


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
    """The switches of a run, and how its phases are executed."""

    precision: str = 'fp16'  # bf16 instead where the device has no fp16
    tf32: bool = False
    nhwc: bool = False
    ops: str = 'auto'
    execution: str = 'eager'  # or 'compile': first-order phases by torch.compile; 'graphs': each phase as one CUDA graph


PUBLISHED = Choice()
CHOICES = {
    'published': PUBLISHED,
    'fp32': replace(PUBLISHED, precision='fp32'),
    'tf32': replace(PUBLISHED, tf32=True),
    'bf16': replace(PUBLISHED, precision='bf16'),
    'nhwc': replace(PUBLISHED, nhwc=True),
    'torch-ops': replace(PUBLISHED, ops='torch'),
    'compile': replace(PUBLISHED, execution='compile'),
    'graphs': replace(PUBLISHED, execution='graphs'),
    'tf32-nhwc': replace(PUBLISHED, tf32=True, nhwc=True),
    'tf32-nhwc-graphs': replace(PUBLISHED, tf32=True, nhwc=True, execution='graphs'),
    'tf32-nhwc-bf16': replace(PUBLISHED, tf32=True, nhwc=True, precision='bf16'),
}


@click.command()
@click.option('--device', default='auto', show_default=True)
@click.option('--size', default='demo,32,256,512,1024', show_default=True, help='One or several of: ' + ', '.join(SIZES))
@click.option('--choice', default=','.join(CHOICES), show_default=True)
@click.option('--repeats', default=5, show_default=True)
def main(device: str, size: str, choice: str, repeats: int) -> None:
    """Print a JSON line per size and choice."""
    where = devices.resolve_device(device)
    for size_name in size.split(','):
        for choice_name in choice.split(','):
            row = {'size': size_name, 'choice': choice_name, 'batch': SIZES[size_name].batch}
            try:
                row |= measure(where, SIZES[size_name], CHOICES[choice_name], repeats)
            except Exception as err:  # a row of its own: the other choices still count
                row['error'] = f'{type(err).__name__}: {str(err).strip().splitlines()[0][:300]}'
            print(json.dumps(row), flush=True)


def measure(where: torch.device, size: Size, choice: Choice, repeats: int) -> dict[str, Any]:
    """One row: ms of each phase, sec/kimg, img/s, peak GiB, and the model's TFLOP/s."""
    devices.configure(where, cudnn_benchmark=True, allow_tf32=choice.tf32)
    devices.peak_memory_gib(where)
    half = choice.precision == 'fp16' and not devices.computes(torch.float16, where)
    precision = 'bf16' if half else choice.precision
    with backend.using(choice.ops, where):
        phases, inputs = make_run(where, precision, nhwc=choice.nhwc, **vars(size))
        flops = [count_flops(phase, inputs) for phase in phases]  # the first run of each, too
        with executed(choice.execution, where, phases, inputs) as steps:
            started = time.perf_counter()
            medians = []
            for step in steps:
                times = []
                while len(times) < repeats + 1 and (len(times) < 3 or time.perf_counter() - started < 20):
                    times.append(milliseconds(where, step))
                medians.append(statistics.median(times[1:]))
    share = [1 / phase.interval for phase in phases]
    step_ms = sum(ms * s for ms, s in zip(medians, share, strict=True))
    arithmetic = sum(f * s for f, s in zip(flops, share, strict=True))
    return {
        'phases': {phase.name: round(ms, 3) for phase, ms in zip(phases, medians, strict=True)},
        'sec_per_kimg': round(step_ms / size.batch, 4), 'img_per_sec': round(1e3 * size.batch / step_ms, 1),
        'gib': round(devices.peak_memory_gib(where), 2), 'tflops': round(arithmetic / step_ms / 1e9, 2), 'precision': precision,
    }


@contextlib.contextmanager
def executed(execution: str, where: torch.device, phases: list, inputs: dict) -> Iterator[list[Callable[[], object]]]:
    """A function for each phase that runs it once."""
    eager = [lambda phase=phase: phase.run([inputs]) for phase in phases]
    if execution == 'eager':
        yield eager
    elif execution == 'compile':
        with compiled(phases[0].networks) as use:
            yield [lambda step=step, phase=phase: (use(phase.interval == 1), step()) for step, phase in
                   zip(eager, phases, strict=True)]
    else:
        if where.type != 'cuda':
            raise RuntimeError(f'there are no CUDA graphs on {where.type}')
        yield [captured(phase, inputs) for phase in phases]


@contextlib.contextmanager
def compiled(networks: dict) -> Iterator[Callable[[bool], None]]:
    """Synthesis and D by torch.compile, as long as use(True) was the last word: what it makes has no second derivatives."""
    modules = [networks['G'].synthesis, networks['D']]
    torch._dynamo.config.recompile_limit = 64  # one for each resolution and dtype
    fast = [torch.compile(module.forward, dynamic=False) for module in modules]

    def use(on: bool) -> None:
        for module, forward in zip(modules, fast, strict=True):
            if on:
                module.forward = forward
            else:
                module.__dict__.pop('forward', None)

    try:
        yield use
    finally:
        use(False)


def captured(phase: Any, inputs: dict) -> Callable[[], object]:
    """A whole phase, with its step of Adam, as one CUDA graph. The point of style mixing is that of the recording."""
    for group in phase.optimizer.param_groups:
        group['capturable'] = True
    for state in phase.optimizer.state.values():
        state['step'] = state['step'].to(inputs['z'].device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # lazy initialisation must not be recorded
        for _ in range(3):
            phase.run([inputs])
    torch.cuda.current_stream().wait_stream(side)
    training_stats.Collector('none').update()  # drops pending sums, which the graph must not extend
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        phase.run([inputs])
    training_stats.Collector('none')
    return graph.replay


if __name__ == '__main__':
    main()
