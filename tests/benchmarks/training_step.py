"""Time of a training step, phase by phase: python tests/benchmarks/training_step.py --help

Run it before and after a change, in turn, on an otherwise idle machine; compare medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from torch_utils import devices
from training.losses import make_phases, make_terms
from training.networks import Discriminator, Generator
from training.networks.layers import set_half_dtype


@click.command()
@click.option('--resolution', default=32, show_default=True)
@click.option('--cbase', default=512, show_default=True)
@click.option('--cmax', default=64, show_default=True)
@click.option('--batch', default=32, show_default=True)
@click.option('--c-dim', default=2, show_default=True)
@click.option('--repeats', default=9, show_default=True)
@click.option('--device', default='auto', show_default=True)
@click.option('--precision', default='fp32,bf16', show_default=True, help='One or several, measured in turn.')
def main(precision: str, device: str, **size: int) -> None:
    """Median milliseconds of each phase with random data, and the images/s that a run makes of them."""
    where = devices.resolve_device(device)
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)
    runs = {p: make_run(where, p, **size) for p in precision.split(',')}
    times = {p: {phase.name: [] for phase in phases} for p, (phases, _) in runs.items()}
    for repeat in range(size['repeats'] + 2):  # the first two warm up
        for p, (phases, inputs) in runs.items():
            for phase in phases:
                stopwatch = devices.Stopwatch(where)
                with stopwatch:
                    phase.run([inputs])
                if repeat >= 2:
                    times[p][phase.name].append(stopwatch.milliseconds())
    for p, (phases, _) in runs.items():
        per_step = 0.0
        for phase in phases:
            t = times[p][phase.name]
            per_step += statistics.median(t) / phase.interval
            spread = f'[{min(t):.1f}..{max(t):.1f}]'
            print(f'{p:5s} {phase.name:6s} {statistics.median(t):8.1f} ms  {spread}  every {phase.interval} steps')
        speed = 1e3 * size['batch'] / per_step
        print(f'{p:5s} step   {per_step:8.1f} ms  {speed:.1f} img/s  ({where.type}, {time.strftime("%Y-%m-%d")})')


def make_run(where: torch.device, precision: str, resolution: int, cbase: int, cmax: int, batch: int, c_dim: int,
             repeats: int) -> tuple[list, dict]:
    """The phases of a StyleGAN2 run, and a batch for them."""
    torch.manual_seed(0)
    width = dict(channel_base=cbase, channel_max=cmax)
    if precision != 'fp32':
        width |= dict(num_fp16_res=4, conv_clamp=256)
    networks = {
        'G': Generator(512, c_dim, 512, resolution, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=width),
        'D': Discriminator(c_dim, resolution, 3, **width),
    }
    for net in networks.values():
        net.to(where).train().requires_grad_(False)
        set_half_dtype(net, devices.half_dtype(where, precision, cmax))
    adam = dict(class_name='torch.optim.Adam', lr=0.0025, betas=[0.0, 0.99])
    terms = make_terms({'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {},
                        'D/logistic_real': {}, 'D/r1': dict(weight=0.5, interval=16)})
    phases = make_phases([t.to(where) for t in terms], networks, {'G': adam, 'D': adam}, {'G': 4, 'D': 16}, style_mixing_prob=0.9,
                         exact_second_order=precision == 'bf16')
    labels = torch.eye(max(c_dim, 1), device=where)[torch.arange(batch) % max(c_dim, 1), :c_dim]
    inputs = dict(z=torch.randn(batch, 512, device=where), c=labels, real_c=labels,
                  real_images=torch.randn(batch, 3, resolution, resolution, device=where))
    return phases, inputs


if __name__ == '__main__':
    main()
