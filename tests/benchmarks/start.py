"""Seconds from the start of train.py to the first tick of a tiny run, on one rank and on two.

    python tests/benchmarks/start.py                    # this checkout
    python tests/benchmarks/start.py . ../old-checkout  # paired with another one
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from helpers.background import TINY, write_images  # noqa: E402


def seconds(root: Path, folder: Path, *options: str) -> float:
    """Start a run, kill all its processes at its first tick, and return how long that took."""
    begun = time.monotonic()
    command = [sys.executable, 'train.py', f'--outdir={folder}/runs', f'--data={folder}/images', *TINY, *options]
    program = subprocess.Popen(command, cwd=root, env={**os.environ, 'OMP_NUM_THREADS': '1'}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not any(line.startswith('tick 0 ') for line in program.stdout):
        sys.exit(f'{root}: the run ended before its first tick')
    taken = time.monotonic() - begun
    for process in psutil.Process(program.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    program.kill()
    program.communicate()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkouts', nargs='*', type=Path, default=[Path(__file__).parents[2]], help='which to start, in turn')
    parser.add_argument('--rounds', type=int, default=4, help='starts of each (default: 4)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder, 'images'))
        for ranks in (1, 2):
            options = [f'--gpus={ranks}', '--aug=noaug', '--metrics=none', '--wandb=disabled']
            taken = [[seconds(root, Path(folder), *options) for root in args.checkouts] for _ in range(args.rounds)]
            for root, found in zip(args.checkouts, zip(*taken, strict=True), strict=True):
                print(f'{ranks} rank{"s" * (ranks > 1)}: median {statistics.median(found):.1f} s, '
                      f'{min(found):.1f} to {max(found):.1f} s  {root}')


if __name__ == '__main__':
    main()
