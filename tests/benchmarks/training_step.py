"""Time of a training step, phase by phase, against the limits of the machine: python tests/benchmarks/training_step.py --help

Everything is measured in turn within one process, so that ratios hold where the machine is shared; compare medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from dnnlib.image_size import ImageSize, height_width
from torch_utils import devices
from torch_utils.flops import Flops
from torch_utils.ops import backend
from training.augmentation.pipe import AugmentPipe
from training.augmentation.presets import AUGPIPES
from training.losses import Phase, make_phases
from training.methods import make_terms
from training.networks import Discriminator, Generator
from training.networks.layers import set_half_dtype
from training.start_grid import size_at, top_level


def parse_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Turn `64`, or `64x48`, width x height, into height and width."""
    width, _, height = value.partition('x')
    return int(height or width), int(width)


@click.command()
@click.option('--resolution', default='32', show_default=True, callback=parse_size, help='One number, or width x height.')
@click.option('--cbase', default=512, show_default=True)
@click.option('--cmax', default=64, show_default=True)
@click.option('--batch', default=32, show_default=True)
@click.option('--c-dim', default=2, show_default=True)
@click.option('--repeats', default=7, show_default=True)
@click.option('--device', default='auto', show_default=True)
@click.option('--precision', default='fp32,bf16', show_default=True, help='One or several.')
@click.option('--ops', default='torch,native', show_default=True, help='One or several.')
@click.option('--augment-p', default='0', show_default=True, help='One or several strengths of --augpipe; 0 is without.')
@click.option('--augpipe', default='bgc', show_default=True, type=click.Choice(list(AUGPIPES)))
def main(precision: str, ops: str, augment_p: str, augpipe: str, device: str, repeats: int, **size: Any) -> None:
    """Median milliseconds of each phase with random data, the images/s that a run makes of them, and how much of what the
    machine's convolutions can do that is."""
    where = devices.resolve_device(device)
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)
    runs = {(p, strength): make_run(where, p, augment=make_augment(where, augpipe, float(strength)), **size)
            for p in precision.split(',') for strength in augment_p.split(',')}
    limits = {p: convolution_limit(where, p, **size) for p in precision.split(',')}
    flops = {run: [count_flops(phase, inputs) for phase in phases] for run, (phases, inputs) in runs.items()}
    print(f'{where.type}, {torch.get_num_threads()} threads, {time.strftime("%Y-%m-%d")}; memory {copy_limit(where):.1f} GB/s; '
          + ', '.join(f'convolution {p} {limit / 1e9:.0f} GFLOP/s' for p, limit in limits.items()))

    times: dict[tuple[tuple[str, str], str], list[list[float]]] = {}
    for repeat in range(repeats + 1):  # the first warms up
        for run, (phases, inputs) in runs.items():
            for choice in ops.split(','):
                backend.select(choice, where)
                new = [milliseconds(where, lambda phase=phase, inputs=inputs: phase.run([inputs])) for phase in phases]
                if repeat:
                    times.setdefault((run, choice), []).append(new)

    first = None
    for (run, choice), rows in times.items():
        (p, strength), phases = run, runs[run][0]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        step = sum(t / phase.interval for t, phase in zip(medians, phases, strict=True))
        arithmetic = sum(f / phase.interval for f, phase in zip(flops[run], phases, strict=True))
        first = first or step
        parts = '  '.join(f'{phase.name} {t:.1f}' for phase, t in zip(phases, medians, strict=True))
        name = p if strength == '0' else f'{p} {augpipe} p={strength}'
        print(f'{name} {choice:6s}  {parts} ms  step {step:.1f} ms  {1e3 * size["batch"] / step:.2f} img/s  x{first / step:.2f}  '
              f'{100 * arithmetic / step * 1e3 / limits[p]:.0f}% of the convolution limit')


def make_augment(where: torch.device, augpipe: str, strength: float) -> AugmentPipe | None:
    """The pipe of a run with --aug=fixed --p=strength; None for 0."""
    if strength == 0:
        return None
    pipe = AugmentPipe(**AUGPIPES[augpipe]).to(where).requires_grad_(False)
    pipe.p.fill_(strength)
    return pipe


def make_run(where: torch.device, precision: str, resolution: ImageSize, cbase: int, cmax: int, batch: int, c_dim: int,
              augment: AugmentPipe | None = None, nhwc: bool = False,
             make: Callable[..., Phase] = Phase) -> tuple[list, dict]:
    """The phases of a StyleGAN2 run, and a batch for them. nhwc: channels last in half precision. make: Phase or a subclass."""
    torch.manual_seed(0)
    width, last = dict(channel_base=cbase, channel_max=cmax), dict(fp16_channels_last=nhwc)
    if precision != 'fp32':
        width |= dict(num_fp16_res=4, conv_clamp=256)
    networks = {
        'G': Generator(512, c_dim, 512, resolution, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs={**width, **last}),
        'D': Discriminator(c_dim, resolution, 3, block_kwargs=last, **width),
    }
    for net in networks.values():
        net.to(where).train().requires_grad_(False)
        set_half_dtype(net, devices.half_dtype(where, precision, cmax))
    adam = dict(class_name='torch.optim.Adam', lr=0.0025, betas=[0.0, 0.99])
    terms = make_terms({'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {},
                        'D/logistic_real': {}, 'D/r1': dict(weight=0.5, interval=16)})
    phases = make_phases([t.to(where) for t in terms], networks, {'G': adam, 'D': adam}, {'G': 4, 'D': 16}, style_mixing_prob=0.9,
                         augment=augment, exact_second_order=precision == 'bf16', make=make)
    labels = torch.eye(max(c_dim, 1), device=where)[torch.arange(batch) % max(c_dim, 1), :c_dim]
    inputs = dict(z=torch.randn(batch, 512, device=where), c=labels, real_c=labels,
                  real_images=torch.randn(batch, 3, *height_width(resolution), device=where))
    return phases, inputs


def milliseconds(where: torch.device, work: Callable[[], object]) -> float:
    """Time of one call, as the device sees it."""
    stopwatch = devices.Stopwatch(where)
    with stopwatch:
        work()
    return stopwatch.milliseconds()


def count_flops(phase, inputs: dict) -> float:
    """Floating-point operations of the convolutions and matrix products of a phase; a multiply-add is two."""
    with Flops() as counter:
        phase.run([inputs])
    return counter.total


def convolution_limit(where: torch.device, precision: str, resolution: ImageSize, cbase: int, cmax: int, batch: int,
                      c_dim: int) -> float:
    """Operations per second of a 3x3 convolution, forward and backward, of the widest layer at half the height and width."""
    half = top_level(resolution) // 2
    width, size = min(cbase // half, cmax), height_width(size_at(resolution, half))
    kind = dict(dtype=torch.float32 if precision == 'fp32' else devices.half_dtype(where, precision, cmax), device=where)
    x, w = torch.randn(batch, width, *size, **kind), torch.randn(width, width, 3, 3, **kind)
    x, w = (t.to(memory_format=torch.channels_last).requires_grad_() for t in (x, w))
    y = torch.nn.functional.conv2d(x, w, padding=1)
    dy = torch.randn_like(y)

    def both() -> None:
        torch.autograd.grad(torch.nn.functional.conv2d(x, w, padding=1), (x, w), dy)

    times = [milliseconds(where, both) for _ in range(9)][2:]
    return 3 * 2 * y.numel() * width * 9 / (statistics.median(times) / 1e3)


def copy_limit(where: torch.device) -> float:
    """Gigabytes per second, read and written, of copying 256 MiB."""
    source = torch.ones(64 << 20, device=where)
    target = torch.empty_like(source)
    times = [milliseconds(where, lambda: target.copy_(source)) for _ in range(7)][2:]
    return 2 * source.nbytes / statistics.median(times) / 1e6


if __name__ == '__main__':
    main()
