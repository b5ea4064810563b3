"""The files below a folder; of large ones the list is kept, as it takes long to make."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dnnlib.download import cache_dir
from dnnlib.errors import UserError
from dnnlib.files import atomic_open

WORTH_KEEPING = 20_000  # files
# A folder's time of change has a grain: one that changed as it was read may change once more without that being seen.
GRAIN = 2.0  # seconds
_FORMAT = 1


def list_files(root: str | os.PathLike) -> list[str]:
    """Sorted relative paths of all files below a folder, with `/`; links to folders are followed, loops are not.

    A list of many files is kept beside the folder, as `.<name>.files.json`, or in the user's cache where that cannot be written,
    and is good as long as no folder in it has changed. Raises UserError if a folder cannot be read.
    """
    root = Path(root)
    for place in _places(root):
        names = _kept(root, place)
        if names is not None:
            return names
    begun = time.time()
    folders: dict[str, list[int]] = {}
    names = sorted(_walk(root, folders))
    newest = max(changed for changed, _ in folders.values())
    if len(names) >= WORTH_KEEPING and newest < (begun - GRAIN) * 1e9:
        _keep({'format': _FORMAT, 'root': os.path.realpath(root), 'folders': folders, 'names': names}, _places(root))
    return names


def _places(root: Path) -> list[Path]:
    real = Path(os.path.realpath(root))
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    return [real.parent / f'.{real.name}.files.json', cache_dir('folders') / f'{digest}.json']


def _state(folder: Path) -> list[int]:
    status = os.stat(folder)
    return [status.st_mtime_ns, status.st_ino]


def _kept(root: Path, place: Path) -> list[str] | None:
    """The list, if there is a good one."""
    try:
        index = json.loads(place.read_bytes())
        if (index['format'], index['root']) != (_FORMAT, os.path.realpath(root)):
            return None
        if any(_state(root / folder) != state for folder, state in index['folders'].items()):
            return None
        names = index['names']
        # It may come from others, along with the data, and must not lead anywhere else.
        together = '\n'.join(names)
        if names and not together.startswith('/') and '\n/' not in together and not any(
                part in together for part in ('../', '..\\', '\n\n')):
            return names
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _keep(index: dict, places: list[Path]) -> None:
    data = json.dumps(index, separators=(',', ':')).encode()
    for place in places:
        with contextlib.suppress(OSError):
            with atomic_open(place) as f:
                f.write(data)
            return


def _walk(root: Path, folders: dict[str, list[int]]) -> Iterator[str]:
    """The files; fills in the folders and their states, as they were before they were read."""
    seen = set()
    waiting = ['']
    while waiting:
        folder = waiting.pop()
        path = os.path.join(root, folder) if folder else str(root)
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        prefix = f'{folder}/' if folder else ''
        try:
            folders[folder] = _state(Path(path))
            with os.scandir(path) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        waiting.append(prefix + entry.name)
                    else:
                        yield prefix + entry.name
        except OSError as err:
            raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False
