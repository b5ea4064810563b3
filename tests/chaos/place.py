"""Where disturbed runs live: a small disk, shared memory and temporary folder of their own, and a clock that can be set."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

INSIDE = 'CHAOS_IN_NAMESPACE'  # environment variable: this process may mount, and nobody else sees it
DISK = 96 << 20                # bytes
SHM = Path('/dev/shm')


def enter_namespace() -> None:
    """Start this program again in a mount namespace, if the kernel lets us; otherwise it carries on as it is."""
    probe = ['unshare', '-m', 'mount', '-t', 'tmpfs', 'tmpfs', str(SHM)]
    if INSIDE in os.environ or shutil.which('unshare') is None or subprocess.run(probe, capture_output=True).returncode:
        return
    os.environ[INSIDE] = '1'
    os.execvp('unshare', ['unshare', '-m', sys.executable, *sys.argv])


class Place:
    """`with Place() as place`. Sets environment variables for the processes that start in it.

    disk: folder for the runs, on a disk of its own if `mounts`. has_clock: whether `set_clock` has an effect.
    """

    def __enter__(self) -> Place:
        self.mounts = INSIDE in os.environ
        self.root = Path(tempfile.mkdtemp(prefix='chaos-'))
        self.disk, self._temporary = self.root / 'disk', self.root / 'tmp'
        self.disk.mkdir()
        self._temporary.mkdir()
        if self.mounts:
            _mount('-t', 'tmpfs', '-o', f'size={DISK}', 'tmpfs', self.disk)
            _mount('-t', 'tmpfs', 'tmpfs', SHM)
        self._clock = self.root / 'clock'
        self.has_clock = self._build_clock()
        os.environ.update(TMPDIR=str(self._temporary), OMP_NUM_THREADS='1', WANDB_MODE='disabled', STYLEGAN_OPS='torch')
        return self

    def __exit__(self, *_) -> None:
        if self.mounts:
            subprocess.run(['umount', '-l', self.disk], check=True)

    def _build_clock(self) -> bool:
        """Processes started from now on see the time of day that set_clock sets."""
        library = self.root / 'clock.so'
        command = ['g++', '-shared', '-fPIC', '-O2', '-o', library, Path(__file__).with_name('clock.cpp'), '-ldl']
        if shutil.which('g++') is None or subprocess.run(command).returncode:
            return False
        self._clock.write_bytes(bytes(8))
        os.environ.update(LD_PRELOAD=str(library), CHAOS_CLOCK=str(self._clock))
        return True

    def set_clock(self, hours: float) -> None:
        """How far the time of day is off."""
        with open(self._clock, 'r+b', buffering=0) as f:
            f.write(struct.pack('=q', int(hours * 3600)))

    @contextlib.contextmanager
    def full_disk(self, session: int) -> Iterator[None]:
        """Nothing more can be written on the disk; without one of our own, by a session's processes into any file."""
        if not self.mounts:
            with _limited_files(session):
                yield
            return
        filler = self.disk / 'filler'
        try:
            with contextlib.suppress(OSError), open(filler, 'wb', buffering=0) as f:
                while f.write(bytes(1 << 16)):
                    pass
            with contextlib.suppress(OSError), open(filler, 'ab', buffering=0) as f:
                while f.write(bytes(512)):
                    pass
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Iterator[None]:
        """No file in the folder can be opened for writing; those that are open stay so. Needs `mounts`."""
        view = self.root / 'read-only'  # moved when it is complete: the folder is busy as soon as a file in it is written
        view.mkdir(exist_ok=True)
        _mount('--bind', folder, view)
        _mount('-o', 'remount,bind,ro', view)
        _mount('--move', view, folder)
        try:
            yield
        finally:
            subprocess.run(['umount', '-l', folder], check=True)

    def remains(self) -> list[str]:
        """Shared memory and temporary files that processes left. Shared memory is known only where it is our own. The cache of
        PyTorch's compiler does not count: there is one per user, and it is made to stay."""
        return [str(path) for folder in [self._temporary] + [SHM] * self.mounts for path in folder.iterdir()
                if not path.name.startswith('torchinductor_')]


def _mount(*args: object) -> None:
    subprocess.run(['mount', *map(str, args)], check=True)


@contextlib.contextmanager
def _limited_files(session: int) -> Iterator[None]:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for process in processes_of(session):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        yield
    finally:
        for process in processes_of(session):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)


def processes_of(session: int) -> list[psutil.Process]:
    """The living processes that began in a session, in the order of their ids, also those whose parents are gone."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(psutil.Process(pid))
    return found


def send(processes: list[psutil.Process], which: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(which)
