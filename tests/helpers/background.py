"""train.py in processes that can be killed, which start in a moment: they are forked from one that has imported torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.signals import let_through

TINY = ['--device=cpu', '--cbase=32', '--cmax=4', '--map-depth=1', '--z-dim=8', '--batch=40', '--workers=1', '--cond=1',
        '--tick=0.2', '--snap=2', '--kimg=2']
METHODS = {'ada': ['--aug=ada', '--target=0.1'],
           'flow': ['--method=cg-gan', '--i-dim=3'],
           'clr': ['--method=clr-gan', '--z-dim=4']}
LAST = 'network-snapshot-000002.pkl'  # of a run with these options
PRELOADED = ['train', 'training.training_loop', 'torch.utils.tensorboard', 'wandb']  # all that takes long
_context = None


class Training:
    """train.py in the background, in a process group of its own; what it prints goes to `log`."""

    def __init__(self, log: Path, *args: object):
        global _context
        if _context is None:
            os.environ.setdefault('OMP_NUM_THREADS', '1')
            _context = multiprocessing.get_context('forkserver')
            _context.set_forkserver_preload(PRELOADED)
        self.log = log
        log.write_text('')
        self.process = _context.Process(target=_main, args=(str(log), [str(arg) for arg in args]))
        self.process.start()

    def wait(self, timeout: float = 300) -> int:
        """Until it ends; returns its status, or minus the signal that ended it."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, self.output()
        return self.process.exitcode

    def wait_for(self, text: str, timeout: float = 240) -> None:
        """Until it has printed a text."""
        end = time.monotonic() + timeout
        while text not in self.output():
            assert self.process.is_alive() and time.monotonic() < end, self.output()
            time.sleep(0.005)

    def signal(self, signum: int, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.process.pid, signum)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            self.signal(signal.SIGKILL)
        self.process.join()

    def output(self) -> str:
        return self.log.read_text()


def train(log: Path, *args: object) -> tuple[int, str]:
    """Run train.py to its end; returns its status and output."""
    training = Training(log, *args)
    return training.wait(), training.output()


def write_images(path: Path, count: int = 12, size: int = 8) -> Path:
    """A folder of random grey images in two classes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        folder = path / f'class{i % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(folder / f'{i:02d}.png')
    labels = ', '.join(f'["class{i % 2}/{i:02d}.png", {i % 2}]' for i in range(count))
    (path / 'dataset.json').write_text(f'{{"labels": [{labels}]}}')
    return path


def digest(run_dir: Path, name: str = LAST) -> str:
    """What tells a file of a run from others."""
    return hashlib.sha256((run_dir / name).read_bytes()).hexdigest()


def kimgs(run_dir: Path) -> list[float]:
    """When the ticks of a run were."""
    return [json.loads(line)['Progress/kimg']['mean'] for line in (run_dir / 'stats.jsonl').read_text().splitlines()]


def _main(log: str, args: list[str]) -> None:
    os.setsid()
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    sys.stdout, sys.stderr = (open(fd, 'w', buffering=1, closefd=False) for fd in (1, 2))  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a fork server ignores
    let_through()  # a fork server that torch_utils.launching started in the test's process holds them back
    os.environ['WANDB_MODE'] = 'disabled'
    import torch

    import train
    from dnnlib import cli
    torch.set_num_threads(1)
    multiprocessing.set_start_method('fork', force=True)  # for the data loader, as without a fork server
    sys.argv = ['train.py', *args]
    cli.run(train.main)
