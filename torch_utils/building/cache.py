"""Built libraries in the user's cache: each complete and intact, or not there.

    ops/<key>/<library>          what was built
    ops/<key>/build.json         its SHA-256, written last
    ops/build.log                what the compilers said in the latest build
    ops/failed.json              key and reason of the latest build, if it failed
    ops/.lock                    held while building
    ops/.<key>.<random>.tmp/     a build under way, or left by one that was killed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dnnlib.files import atomic_open, lock
from torch_utils.building import CannotBuild, toolchain
from torch_utils.building.toolchain import Recipe

WAIT = BUILD_TIME = 1800.0  # seconds, for another process that builds and for a build; both mean that something hangs


def intact(root: Path, recipe: Recipe) -> Path | None:
    """The library of a recipe, if it is in the cache as it was built. Raises nothing."""
    folder = root / recipe.key
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        expected = json.loads((folder / 'build.json').read_text(encoding='utf-8'))['sha256']
        if _sha256(folder / recipe.file_name) == expected:
            return folder / recipe.file_name
    return None


def obtain(root: Path, recipe: Recipe, duration: str) -> Path:
    """The library of a recipe: from the cache, or built now, by one process while others wait for it.

    duration: how long a build takes, in words. Raises CannotBuild with the reason.
    """
    ninja = toolchain.ninja()
    if (path := intact(root, recipe)) is not None:
        return path
    begun = time.time()
    try:
        with _only_process(root):
            if (path := intact(root, recipe)) is not None:
                return path
            _same_failure(root, recipe, begun)
            _say(f'Compiling the operators for this machine, once; about {duration} ...')
            try:
                _build(root, recipe, ninja)
            except CannotBuild as err:
                with atomic_open(root / 'failed.json', 'w') as f:
                    json.dump(dict(key=recipe.key, time=time.time(), reason=err.reason, remedy=err.remedy), f)
                raise
    except OSError as err:
        raise CannotBuild(f'{root} cannot be written ({(err.strerror or str(err)).lower()})',
                          'make room there, or set DNNLIB_CACHE_DIR to another folder') from err
    path = intact(root, recipe)
    if path is None:
        raise CannotBuild(f'{root / recipe.key} is damaged just after it was written', 'check the disk')
    return path


def clean(root: Path, keep: str | None) -> int:
    """Remove what is in the cache, except for the build with the key `keep`. Returns how many builds were removed."""
    removed = 0
    if root.is_dir():
        with _only_process(root):
            for path in root.iterdir():
                if path.is_dir() and path.name != keep:
                    removed += not path.name.startswith('.')
                    shutil.rmtree(path, ignore_errors=True)
    return removed


def builds(root: Path) -> list[tuple[str, int, float]]:
    """(key, bytes, time) of the builds in the cache, the oldest first."""
    found = []
    for path in root.glob('*/build.json'):
        with contextlib.suppress(OSError):
            found.append((path.parent.name, sum(p.stat().st_size for p in path.parent.iterdir()), path.stat().st_mtime))
    return sorted(found, key=lambda build: build[2])


@contextlib.contextmanager
def _only_process(root: Path) -> Iterator[None]:
    """Hold the lock of the cache, which is given back when the process ends, however it ends."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        held = lock(root / '.lock', wait=WAIT,
                    on_wait=lambda: _say('Waiting for another process that compiles the operators ...'))
    except BlockingIOError:
        raise CannotBuild(f'another process has held {root / ".lock"} for {WAIT / 60:.0f} minutes', 'stop that process') from None
    with held:
        yield


def _same_failure(root: Path, recipe: Recipe, begun: float) -> None:
    """Raise the CannotBuild of the process that was waited for, if it failed: trying again would end alike."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        failed = json.loads((root / 'failed.json').read_text(encoding='utf-8'))
        if failed['key'] == recipe.key and failed['time'] > begun:
            raise CannotBuild(failed['reason'], failed['remedy'])


def _build(root: Path, recipe: Recipe, ninja: str) -> None:
    """Build in a folder beside the place where the result belongs, and rename it: the rename is what counts."""
    for path in (*root.glob('.*.tmp'), root / recipe.key):  # of killed processes; and what is not intact
        shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f'.{recipe.key}.', suffix='.tmp', dir=root))
    try:
        (folder / 'build.ninja').write_text(recipe.ninja_file(), encoding='utf-8')
        _run_ninja(root, folder, ninja)
        for path in folder.iterdir():
            if path.name != recipe.file_name:
                path.unlink()
        os.chmod(folder, 0o755)  # mkdtemp made it private
        with atomic_open(folder / 'build.json', 'w') as f:
            json.dump(dict(sha256=_sha256(folder / recipe.file_name), cxx=recipe.cxx_version, flags=recipe.cxx_flags,
                           nvcc=recipe.nvcc_version, architectures=recipe.architectures), f, indent=2)
        os.rename(folder, root / recipe.key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_ninja(root: Path, folder: Path, ninja: str) -> None:
    jobs = os.environ.get('MAX_JOBS', '')
    command = [ninja, '-C', str(folder), '-v', *(['-j', jobs] if jobs.isdigit() and int(jobs) else [])]
    log = root / 'build.log'
    with open(log, 'wb') as out:
        # In a session of its own, so that all compilers end with it; Ctrl-C still reaches this process.
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            status = process.wait(BUILD_TIME)
        except BaseException as err:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(err, subprocess.TimeoutExpired):
                raise CannotBuild(f'the compiler was not done after {BUILD_TIME / 60:.0f} minutes', f'see {log}') from err
            raise
    if status:
        raise CannotBuild(f'the compiler failed ({_first_error(log)})', f'see {log}')


def _first_error(log: Path) -> str:
    """The line of a log that says what went wrong, cut short."""
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    telling = [line for line in lines if re.search(r'\b(error|fatal|cannot find|No space left)\b', line)]
    text = (telling or [line for line in lines if line.startswith('FAILED')] or lines[-1:] or ['it said nothing'])[0]
    text = re.sub(r'^(?:/[^/:\s]+)+/', '', text.strip())  # the name of the file will do
    return text if len(text) <= 160 else text[:157] + '...'


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
