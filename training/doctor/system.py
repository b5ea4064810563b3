"""Python, packages, memory, disks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from training.doctor.findings import MISSING, OK, WARN, Finding, Place, seconds, seen

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
WANTED = {'memory': 4, 'disk': 10, 'shared memory': 1}  # GiB free, below which there is a warning
BLOCK = 4 << 20  # bytes


def python(place: Place) -> Iterator[Finding]:
    """The interpreter and the system."""
    text = f'{platform.python_version()} on {platform.system()} {platform.machine()}'
    tested = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield seen('Python', text, {}, '' if tested else 'tested are 3.10 to 3.13', 'use one of these')


def packages(place: Place) -> Iterator[Finding]:
    """Installed versions of the requirements and the extras, compared with the tested ones."""
    for name, file in (('Packages', 'requirements.txt'), ('Extras', 'requirements-extras.txt')):
        wanted, absent, other = _requirements(ROOT / file), [], []
        for package, version in wanted.items():
            try:
                found = importlib.metadata.version(package).partition('+')[0]  # torch says 2.13.0+cpu
            except importlib.metadata.PackageNotFoundError:
                absent.append(package)
                continue
            if found != version:
                other.append(f'{package} {found} (tested: {version})')
        same = len(wanted) - len(absent) - len(other)
        text = '; '.join([f'{same} of {len(wanted)} as tested', *other] + [f'without {", ".join(absent)}'] * bool(absent))
        status = MISSING if absent else WARN if other else OK
        yield Finding(name, status, text, f'pip install -r {file}' if status != OK else '')


def _requirements(path: Path) -> dict[str, str]:
    """The pinned packages that apply to this Python and system."""
    from packaging.requirements import Requirement
    lines = [line.partition('#')[0].strip() for line in path.read_text(encoding='utf-8').splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {r.name: next(iter(r.specifier)).version for r in found if r.marker is None or r.marker.evaluate()}


def bytecode(place: Place, package: str = 'torch') -> Iterator[Finding]:
    """Whether modules of PyTorch are stored in compiled form. If not, every command compiles them again, which takes seconds."""
    folder = Path(next(iter(importlib.import_module(package).__path__)))
    sources = [file for name, module in sys.modules.copy().items() if name.partition('.')[0] == package
               and (file := getattr(module, '__file__', None) or '').endswith('.py')]
    stored = sum(Path(importlib.util.cache_from_source(source)).is_file() for source in sources)
    yield seen('Bytecode', f'{stored} of {len(sources)} loaded modules of PyTorch are stored compiled', {},
               'every command compiles the others again' if stored < len(sources) / 2 else '',
               f'python -m compileall -q {folder} (pip does not, with PYTHONDONTWRITEBYTECODE)')


def memory(place: Place) -> Iterator[Finding]:
    """Main memory, within the limit of a container, and how fast it is copied."""
    import numpy as np
    import psutil
    found = psutil.virtual_memory()
    total, free = found.total, found.available
    limit = _cgroup_bytes('memory.max')
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - (_cgroup_bytes('memory.current') or 0))
    source = np.ones(32 << 20, np.uint8)
    target = np.empty_like(source)
    speed = 2 * source.nbytes / seconds(lambda: np.copyto(target, source), 0.2) / 1e9
    yield seen('Memory', f'{free / GIB:.1f} of {total / GIB:.1f} GiB free, copied at {speed:.1f} GB/s',
               {'free_gib': free / GIB, 'total_gib': total / GIB, 'copy_gb_per_s': speed},
               f'less than {WANTED["memory"]} GiB' if free < WANTED['memory'] * GIB else '',
               'end other programs, or train with a smaller --batch-gpu and fewer --workers')


def _cgroup_bytes(name: str) -> int | None:
    """A number of the control group of a container, version 2; None if there is none."""
    try:
        return int(Path('/sys/fs/cgroup', name).read_text())
    except (OSError, ValueError):  # 'max'
        return None


def shared_memory(place: Place) -> Iterator[Finding]:
    """/dev/shm, through which reader processes pass images."""
    folder = Path('/dev/shm')
    if not folder.is_dir():
        yield Finding('Shared memory', OK, 'this system has no /dev/shm and needs none')
        return
    yield _folder('Shared memory', folder, 'shared memory', 'give the container more (docker run --shm-size=8g), or --workers=1')


def disks(place: Place) -> Iterator[Finding]:
    """Where runs, downloads and temporary files go."""
    from dnnlib.download import cache_dir
    yield _folder('Disk of runs', place.outdir, 'disk', 'make room, or give another --outdir', essential=True)
    yield _folder('Disk of cache', cache_dir(), 'disk', 'make room, or set DNNLIB_CACHE_DIR to another folder')
    yield _folder('Disk of temporary', Path(tempfile.gettempdir()), 'disk', 'make room, or set TMPDIR to another folder')


def _folder(name: str, folder: Path, kind: str, remedy: str, essential: bool = False) -> Finding:
    """Space and speed of the disk that a folder is on, or would be created on."""
    import psutil
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        free = psutil.disk_usage(str(there)).free / GIB
        speed = _write_speed(there, sync=kind == 'disk')
    except OSError as err:
        return Finding(name, MISSING, f'{folder}: cannot be written ({(err.strerror or str(err)).lower()})', remedy,
                       essential=essential)
    return seen(name, f'{folder}: {free:.1f} GiB free, written at {speed:.0f} MB/s', {'free_gib': free, 'write_mb_per_s': speed},
                f'less than {WANTED[kind]} GiB' if free < WANTED[kind] else '', remedy)


def _write_speed(folder: Path, sync: bool) -> float:
    """MB/s of a file of up to 64 MiB, for up to a second, which is deleted. Raises OSError."""
    block, written, begun = os.urandom(BLOCK), 0, time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as f:
        while written < 16 * BLOCK and time.perf_counter() - begun < 1:
            f.write(block)
            f.flush()
            if sync:
                os.fsync(f.fileno())
            written += BLOCK
    return written / (time.perf_counter() - begun) / 1e6
