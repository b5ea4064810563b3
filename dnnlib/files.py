"""Files that are either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from dnnlib.errors import UserError

SILENT_WAIT = 3.0  # seconds to wait for another process before saying so


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = 'wb') -> Iterator[Any]:
    """Open a file for writing under a temporary name beside `path`. On success, flush it to disk and rename it to `path`.

    After a failure (an exception, a full disk, kill -9), `path` keeps its previous content or stays absent. Missing parent
    directories are created. `mode` is 'wb', 'w+b' or 'w' (UTF-8). The file's `name` is the temporary one, so that other programs
    can write to it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = str(path.parent / f'.{path.name}.{secrets.token_hex(4)}.tmp')
    # tempfile would make the file private. Correcting that means reading the umask, which changes it for all threads.
    file = open(temporary, mode.replace('w', 'x'), encoding=None if 'b' in mode else 'utf-8')  # noqa: SIM115 (closed below)
    try:
        with file as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        _flush_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str], mode: str = 'wb') -> Iterator[Any]:
    """Like atomic_open, for a file that the user asked for. Raises UserError that names the file if it cannot be written."""
    with must_write(path, 'free some space, or choose another folder'), atomic_open(path, mode) as f:
        yield f


@contextlib.contextmanager
def must_write(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Raise UserError that names `path`, a file or folder, and the remedy if something inside this context cannot be written."""
    try:
        yield
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({(err.strerror or str(err)).lower()}); {remedy}') from err


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading in binary. Raises OSError for a pipe, socket or device, where reading could block forever."""
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # for a folder, open() raises a clear error
        raise OSError(errno.EINVAL, 'not a regular file, but a pipe, socket or device', str(path))
    return open(path, 'rb')


def _flush_directory(path: Path) -> None:
    """Flush a directory to disk, where the system can. A rename in it then survives a power failure."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def lock(path: str | os.PathLike[str], wait: float = 0, on_wait: Callable[[], None] | None = None) -> IO[Any]:
    """Lock a file for this process until the process ends in any way. The file stays. Keep the returned object alive.

    wait: seconds to wait for another process to release the file. on_wait: called once, after a while of waiting.
    Raises BlockingIOError if another process holds the lock. Child processes don't inherit it. Where the system or the file
    system has no such locks, nothing is locked.
    """
    file = open(path, 'ab')  # noqa: SIM115 (held on purpose)
    begun = time.monotonic()
    while True:
        try:
            import fcntl
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as err:
            waited = time.monotonic() - begun
            if waited >= wait:
                file.close()
                raise BlockingIOError(f'{path} is taken by another process') from err
            if on_wait is not None and waited >= SILENT_WAIT:
                on_wait()
                on_wait = None
            time.sleep(0.1)
            continue
        except (ImportError, OSError):
            pass
        return file


def remove_leftovers(directory: str | os.PathLike[str], name: str = '') -> None:
    """Remove temporary files of atomic_open that killed processes left behind. No process may be writing in the directory.

    name: remove only temporary files of targets whose names start with this.
    """
    for path in Path(directory).glob(f'.{name}*.tmp'):
        with contextlib.suppress(OSError):
            path.unlink()
