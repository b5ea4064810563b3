"""Two hosts on this machine: network namespaces with names of their own, joined by a cable that can be cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PORT = 29411


class Hosts:
    """Hosts number 0 and 1; `with Hosts() as hosts`. Skips the test where namespaces can't be made."""

    def __enter__(self) -> Hosts:
        self._names = [f'stylegan-{os.getpid()}-{i}' for i in (0, 1)]
        self._made = []
        if shutil.which('ip') is None or os.geteuid():
            pytest.skip('making network namespaces takes root and iproute2')
        try:
            for name in self._names:
                self._ip('netns', 'add', name)
                self._made.append(name)
            self._ip('link', 'add', 'cable', 'netns', self._names[0], 'type', 'veth', 'peer', 'cable', 'netns', self._names[1])
            for i, name in enumerate(self._names):
                self._ip('-n', name, 'addr', 'add', f'{self.address(i)}/24', 'dev', 'cable')
                for device in ('lo', 'cable'):
                    self._ip('-n', name, 'link', 'set', device, 'up')
        except subprocess.CalledProcessError as err:
            self.__exit__()
            pytest.skip(f'network namespaces cannot be made here: {err.stderr.strip()}')
        return self

    def __exit__(self, *_) -> None:
        for name in self._made:
            self._ip('netns', 'del', name)

    def address(self, host: int) -> str:
        return f'10.77.0.{host + 1}'

    def cut(self) -> None:
        self._ip('-n', self._names[0], 'link', 'set', 'cable', 'down')

    def mend(self) -> None:
        self._ip('-n', self._names[0], 'link', 'set', 'cable', 'up')

    def torchrun(self, host: int, log: Path, *args: object, **environment: str) -> Torchrun:
        names = log.with_suffix('.hosts')
        names.write_text('127.0.0.1 localhost\n' + ''.join(f'{self.address(i)} host{i}\n' for i in (0, 1)))
        become = f'hostname host{host} && mount --bind {names} /etc/hosts && exec "$@"'  # the mount is of this namespace only
        command = ['ip', 'netns', 'exec', self._names[host], 'unshare', '--uts', 'sh', '-c', become, 'sh',
                   sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc-per-node=1', '--max-restarts=5',
                   '--monitor-interval=0.2', '--rdzv-backend=c10d', f'--rdzv-endpoint={self.address(0)}:{PORT}', '--rdzv-id=test',
                   f'--local-addr={self.address(host)}', *map(str, args)]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'WANDB_MODE': 'disabled', 'STYLEGAN_OPS': 'torch',
                       'GLOO_SOCKET_IFNAME': 'cable', **environment}
        return Torchrun(command, log, environment)

    @staticmethod
    def _ip(*args: str) -> None:
        subprocess.run(['ip', *args], check=True, capture_output=True, text=True)


class Torchrun:
    """torchrun in the background, on one of the hosts; what it and its rank print goes to `log`."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]):
        self.log = log
        with open(log, 'a') as f:
            self.process = subprocess.Popen(command, stdout=f, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)

    def __enter__(self) -> Torchrun:
        return self

    def __exit__(self, *_) -> None:
        for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process] if self._runs() else []:
            process.kill()
        self.process.wait()

    def _runs(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def wait_for(self, text: str, count: int = 1, timeout: float = 240) -> None:
        """Until it has printed a text so many times."""
        end = time.monotonic() + timeout
        while self.output().count(text) < count:
            assert time.monotonic() < end and self._runs(), self.output()
            time.sleep(0.05)

    def kill_rank(self) -> None:
        rank, = (child for child in psutil.Process(self.process.pid).children() if 'train.py' in child.cmdline())
        rank.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 240) -> int:
        """Until it ends; returns its status."""
        return self.process.wait(timeout)
