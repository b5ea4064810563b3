"""Temporary folders that do not outlive a killed process for long."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = 'lock'  # a file in each folder, locked as long as the folder is in use


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A new folder <name>-<random> in the system's temporary folder, removed at the end.

    First removes folders of this name whose processes were killed. Windows, where files are not locked, keeps those.
    """
    if fcntl is None:
        with tempfile.TemporaryDirectory(prefix=f'{name}-') as plain:
            yield Path(plain)
        return
    place = Path(tempfile.gettempdir())
    _remove_abandoned(place, name)
    # It gets its name only once it is locked, so that no other process takes it for abandoned.
    folder = Path(tempfile.mkdtemp(prefix=f'.{name}-', dir=place))
    try:
        with open(folder / LOCK, 'ab') as held:
            _lock(held)
            folder = folder.rename(place / folder.name.removeprefix('.'))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(place: Path, name: str) -> None:
    for folder in place.glob(f'{name}-*'):
        with contextlib.suppress(OSError), open(folder / LOCK, 'rb+') as held:  # another user's, or just removed
            if _lock(held):
                shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[Any]) -> bool:
    """Whether this process got the lock. Unlike dnnlib.files.lock, it is not shared by two openings in one process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
