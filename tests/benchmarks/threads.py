"""How the threads of OpenMP share a machine: python tests/benchmarks/threads.py

Trains the demo's network in processes that wait for each other in different ways, alone and beside as many busy programs as asked
for. libgomp's threads spin at every barrier; where another program has taken a core, they spin for one that does not run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
WAYS = {
    'as it comes': dict(GOMP_SPINCOUNT=''),
    'spin 300000': dict(GOMP_SPINCOUNT='300000'),
    'spin 20000': dict(GOMP_SPINCOUNT='20000'),
    'spin 5000': dict(GOMP_SPINCOUNT='5000'),
    'spin 1000': dict(GOMP_SPINCOUNT='1000'),
    'passive': dict(GOMP_SPINCOUNT='', OMP_WAIT_POLICY='passive'),
    'one thread': dict(OMP_NUM_THREADS='1'),
}
STEPS = '''
import sys, time
sys.path[:0] = [{root!r}, {root!r} + '/tests/benchmarks']
import torch
from training_step import make_run
from torch_utils import devices
where = devices.start('cpu')
phases, inputs = make_run(where, 'fp32', resolution=32, cbase=512, cmax=64, batch=32, c_dim=2)
rates, steps = [], 0
begun = time.perf_counter()
while time.perf_counter() - begun < {seconds}:
    start = time.perf_counter()
    for _ in range(2):
        for phase in phases:
            if steps % phase.interval == 0:
                phase.run([inputs])
        steps += 1
    rates.append(64 / (time.perf_counter() - start))
print(sorted(rates)[len(rates) // 2])
'''


@click.command()
@click.option('--seconds', default=8.0, show_default=True, help='For each measurement.')
@click.option('--rounds', default=3, show_default=True)
@click.option('--busy', default=1, show_default=True, help='Programs that want a core each.')
@click.option('--ways', default=','.join(WAYS), show_default=True)
def main(seconds: float, rounds: int, busy: int, ways: str) -> None:
    """Median images per second, alone and beside busy programs; the ways take turns."""
    chosen = ways.split(',')
    rates: dict[tuple[str, bool], list[float]] = {(way, contended): [] for way in chosen for contended in (False, True)}
    for _ in range(rounds):
        for way, contended in rates:
            rates[way, contended].append(rate(WAYS[way], seconds, busy if contended else 0))
    print(f'{"":14s} {"alone":>8s} {f"beside {busy}":>10s}  img/s')
    for way in chosen:
        print(f'{way:14s} {statistics.median(rates[way, False]):8.1f} {statistics.median(rates[way, True]):10.1f}', flush=True)


def rate(environment: dict[str, str], seconds: float, busy: int) -> float:
    """Images per second of one process."""
    others = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(busy)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'GOMP_'))}
    try:
        command = [sys.executable, '-c', STEPS.format(root=str(ROOT), seconds=seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              env={**inherited, **{k: v for k, v in environment.items() if v}})
        return float(done.stdout)
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == '__main__':
    main()
