"""Speed of several workers against one, and their time spent on averaging: python tests/benchmarks/workers.py --help

Runs of each number of workers take turns, so that ratios hold where the machine is shared; compare medians.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.training_step import make_run
from torch_utils import devices, distributed, launching
from training.losses import Phase


@click.command()
@click.option('--resolution', default=32, show_default=True)
@click.option('--cbase', default=512, show_default=True)
@click.option('--cmax', default=64, show_default=True)
@click.option('--batch', default=32, show_default=True, help='Of all workers.')
@click.option('--gpus', default='1,2', show_default=True, help='Numbers of workers.')
@click.option('--steps', default=16, show_default=True)
@click.option('--repeats', default=5, show_default=True)
@click.option('--device', default='auto', show_default=True)
def main(gpus: str, repeats: int, **options: int | str) -> None:
    """Median images/s with random data, share of the time of a step that goes by in all-reduce, and its bytes."""
    where = devices.resolve_device(options['device']).type
    numbers = [int(n) for n in gpus.split(',')]
    found: dict[int, list[dict]] = {n: [] for n in numbers}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for n in numbers:
                launching.launch(measure, [folder, options], n, where)
                found[n].append(json.loads(Path(folder, f'{n}.json').read_text()))
    first = None
    for n, results in found.items():
        rate, share, threads = (statistics.median(r[key] for r in results) for key in ('rate', 'share', 'threads'))
        first = first or rate
        spread = f'{min(r["rate"] for r in results):.1f} to {max(r["rate"] for r in results):.1f}'
        print(f'{n} workers of {threads:g} threads: {rate:.1f} img/s ({spread}), x{rate / first:.2f}; all-reduce '
              f'{100 * share:.1f}% of the time, {results[0]["bytes"] / 1e6:.2f} MB per step and worker')


def measure(folder: str, options: dict) -> None:
    """In each worker: time steps, and what of it is spent in distributed.average."""
    size = {key: options[key] for key in ('resolution', 'cbase', 'cmax')}
    where, n = devices.resolve_device(options['device']), distributed.world_size()
    devices.configure(where, cudnn_benchmark=True, allow_tf32=False)
    phases, inputs = make_run(where, 'fp32', batch=options['batch'] // n, c_dim=2, **size)
    spent = Spent(where)
    average, distributed.average = distributed.average, spent.average
    begun = 0.0
    for step in range(-2, options['steps']):
        if step == 0:
            distributed.barrier()
            spent.seconds, spent.bytes, begun = 0.0, 0, time.perf_counter()
        for phase in phases:
            if step % phase.interval == 0:
                Phase.run(phase, [inputs])
        distributed.any_rank(False)  # as the loop does
    seconds = time.perf_counter() - begun
    distributed.average = average
    if distributed.is_rank0():
        Path(folder, f'{n}.json').write_text(json.dumps(dict(
            rate=options['batch'] * options['steps'] / seconds, share=spent.seconds / seconds,
            bytes=spent.bytes / options['steps'], threads=torch.get_num_threads())))


class Spent:
    """distributed.average, with a count of its time and of what it averages."""

    def __init__(self, where: torch.device):
        self._where, self._average = where, distributed.average
        self.seconds, self.bytes = 0.0, 0

    def average(self, tensors: list[torch.Tensor]) -> None:
        with (watch := devices.Stopwatch(self._where)):
            self._average(tensors)
        self.seconds += watch.milliseconds() / 1e3
        self.bytes += sum(t.nbytes for t in tensors)


if __name__ == '__main__':
    main()
