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


@click.command()
@click.option('--resolution', default=32, show_default=True)
@click.option('--cbase', default=512, show_default=True)
@click.option('--cmax', default=64, show_default=True)
@click.option('--batch', default=32, show_default=True)
@click.option('--c-dim', default=2, show_default=True)
@click.option('--repeats', default=9, show_default=True)
@click.option('--device', default='auto', show_default=True)
def main(resolution: int, cbase: int, cmax: int, batch: int, c_dim: int, repeats: int, device: str) -> None:
    """Median milliseconds of each phase with random data, and the images/s that a run makes of them."""
    where = devices.resolve_device(device)
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)
    torch.manual_seed(0)
    width = dict(channel_base=cbase, channel_max=cmax)
    networks = {
        'G': Generator(512, c_dim, 512, resolution, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=width),
        'D': Discriminator(c_dim, resolution, 3, **width),
    }
    for net in networks.values():
        net.to(where).train().requires_grad_(False)
    adam = dict(class_name='torch.optim.Adam', lr=0.0025, betas=[0.0, 0.99])
    terms = make_terms({'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {},
                        'D/logistic_real': {}, 'D/r1': dict(weight=0.5, interval=16)})
    phases = make_phases([t.to(where) for t in terms], networks, {'G': adam, 'D': adam}, {'G': 4, 'D': 16}, style_mixing_prob=0.9)
    labels = torch.eye(c_dim, device=where)[torch.arange(batch) % max(c_dim, 1)]
    inputs = dict(z=torch.randn(batch, 512, device=where), c=labels, real_c=labels,
                  real_images=torch.randn(batch, 3, resolution, resolution, device=where))

    per_step = 0.0
    for phase in phases:
        stopwatch, times = devices.Stopwatch(where), []
        for _ in range(repeats + 2):  # the first two warm up
            with stopwatch:
                phase.run([inputs])
            times.append(stopwatch.milliseconds())
        times = times[2:]
        per_step += statistics.median(times) / phase.interval
        spread = f'[{min(times):.1f}..{max(times):.1f}]'
        print(f'{phase.name:6s} {statistics.median(times):8.1f} ms  {spread}  every {phase.interval} steps')
    print(f'step   {per_step:8.1f} ms  {1e3 * batch / per_step:.1f} img/s  ({where.type}, {time.strftime("%Y-%m-%d")})')


if __name__ == '__main__':
    main()
