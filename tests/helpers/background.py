"""Our programs in processes that can be killed, which start in a moment: they are forked from one that has imported torch."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.signals import let_through

TINY = ['--device=cpu', '--cbase=32', '--cmax=4', '--map-depth=1', '--z-dim=8', '--batch=100', '--workers=1', '--cond=1',
        '--tick=0.2', '--snap=2', '--kimg=2']
METHODS = {'ada': ['--aug=ada', '--target=0.1'],
           'flow': ['--method=cg-gan', '--i-dim=3'],
           'clr': ['--method=clr-gan', '--z-dim=4']}
LAST = 'network-snapshot-000002.pkl'  # of a run with these options
PRELOADED = ['train', 'training.training_loop', 'calc_metrics', 'torch.utils.tensorboard', 'wandb']  # all that takes long
_context = None


class Training:
    """train.py in the background, in a process group of its own; what it prints goes to `log`."""

    def __init__(self, log: Path, *args: object):
        self.log = log
        self.process = _start('train', args, log, log)

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


def run(program: str, *args: object, cwd: Path | None = None, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a program, such as train or calc_metrics, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        process = _start(program, args, out, err, cwd)
        process.join(timeout)
        if process.exitcode is None:
            os.killpg(process.pid, signal.SIGKILL)  # then the status is None
        return subprocess.CompletedProcess([program, *args], process.exitcode, out.read_text(), err.read_text())


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


def _start(program: str, args: Sequence[object], out: Path, err: Path, cwd: Path | None = None) -> multiprocessing.Process:
    global _context
    if _context is None:
        os.environ.setdefault('OMP_NUM_THREADS', '1')
        _context = multiprocessing.get_context('forkserver')
        _context.set_forkserver_preload(PRELOADED)
    for path in (out, err):
        path.write_text('')
    process = _context.Process(target=_main, args=(
        program, [str(arg) for arg in args], str(cwd or os.getcwd()), dict(os.environ), str(out), str(err)))
    process.start()
    return process


def _main(program: str, args: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for fd, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), fd)
    sys.stdout, sys.stderr = (open(fd, 'w', buffering=1, closefd=False) for fd in (1, 2))  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a fork server ignores
    let_through()  # a fork server that torch_utils.launching started in the test's process holds them back
    os.environ['WANDB_MODE'] = 'disabled'
    import torch

    from dnnlib import cli
    torch.set_num_threads(1)
    multiprocessing.set_start_method('fork', force=True)  # for the data loader, as without a fork server
    sys.argv = [f'{program}.py', *args]
    cli.run(importlib.import_module(program).main)
