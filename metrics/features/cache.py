"""A cache of features of real images for later programs.

One file for each set of statistics, `<dataset>-<detector>-<digest>.npz`, in `gan-metrics` below dnnlib's cache directory. The
digest covers everything that the statistics depend on: the images (names, sizes, checksums or times; see `identity` of the
dataset), the selection, the detector with its weights and resizing, and the captured statistics. Entries are complete or absent.
Checksums detect damage, and damaged entries are computed again. When all entries exceed the limit, the least recently used ones
are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from dnnlib.download import cache_dir
from dnnlib.errors import UserError
from dnnlib.files import atomic_open
from metrics.features.statistics import FeatureStats

VERSION = 1                        # of the features: raised when a detector's features change
LIMIT = 'DNNLIB_METRICS_CACHE_GIB'  # environment variable
DEFAULT_GIB = 8.0
ABANDONED = 24 * 3600              # seconds after which a temporary file must belong to a killed process
BLOCK = 1 << 22
KEY = 'key'                        # the array with the key of an entry
T = TypeVar('T')


class FeatureCache:
    """directory: by default that of the user. limit: bytes for all entries; by default 8 GiB, or the environment variable
    DNNLIB_METRICS_CACHE_GIB. 0 keeps nothing."""

    def __init__(self, directory: str | os.PathLike[str] | None = None, limit: int | None = None):
        self.directory = Path(directory) if directory is not None else cache_dir('gan-metrics')
        self.limit = _default_limit() if limit is None else limit

    def load(self, key: dict[str, Any]) -> FeatureStats | None:
        """The statistics saved under this key, or None. Damaged ones are removed. Captured features stay in the file and are read
        when they are used."""
        return self._load(key, FeatureStats.from_arrays)

    def load_arrays(self, key: dict[str, Any]) -> dict[str, np.ndarray] | None:
        """The arrays that save_arrays kept under this key; as `load` otherwise."""
        return self._load(key, lambda arrays: arrays)

    def _load(self, key: dict[str, Any], make: Callable[[dict[str, np.ndarray]], T]) -> T | None:
        path = next(iter(self.directory.glob(f'*-{_digest(key)}.npz')), None)
        if path is None:
            return None
        try:
            found = make({name: array for name, array in _read(path).items() if name != KEY})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return found

    def save(self, key: dict[str, Any], stats: FeatureStats, name: str) -> None:
        """Save statistics. name: readable beginning of the file's name. Without space or permission, nothing is saved, because
        the cache only saves time."""
        self.save_arrays(key, stats.arrays(), name)

    def save_arrays(self, key: dict[str, Any], arrays: dict[str, np.ndarray], name: str) -> None:
        """As `save`, for arrays with names other than KEY."""
        if sum(array.nbytes for array in arrays.values()) > self.limit:
            return
        name = ''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)[:100]
        with contextlib.suppress(OSError):
            with atomic_open(self.directory / f'{name}-{_digest(key)}.npz') as f:
                np.savez(f, **cast(dict[str, Any], {KEY: np.array(_text(key)), **arrays}))
            self._make_room()

    def _make_room(self) -> None:
        """Remove the least recently used entries until the limit holds, and files of killed processes."""
        entries = []
        for path in self.directory.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix == '.npz':
                    entries.append((status.st_mtime, status.st_size, path))
                elif path.suffix == '.tmp' and time.time() - status.st_mtime > ABANDONED:
                    path.unlink()
        excess = sum(size for _, size, _ in entries) - self.limit
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            excess -= size


def _default_limit() -> int:
    text = os.environ.get(LIMIT, '')
    try:
        gib = float(text) if text else DEFAULT_GIB
    except ValueError:
        gib = -1.0
    if not 0 <= gib < float('inf'):
        raise UserError(f'{LIMIT}={text}: set it to a number of GiB, 0 to keep no features')
    return int(gib * 2 ** 30)


def _text(key: dict[str, Any]) -> str:
    return json.dumps({**key, 'version': VERSION}, sort_keys=True)


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(_text(key).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of np.savez, checked against their checksums. Large ones are mapped, not read."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as f:
                while f.read(BLOCK):  # to the end, where the checksum is compared
                    pass
            with archive.open(info) as f:
                if info.file_size <= BLOCK:
                    arrays[info.filename.removesuffix('.npy')] = np.lib.format.read_array(f, allow_pickle=False)
                    continue
                version = np.lib.format.read_magic(f)
                if version != (1, 0) or info.compress_type != zipfile.ZIP_STORED:
                    raise ValueError('not as np.savez writes it')
                shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(f)
                offset = _start_of_data(path, info) + f.tell()
            order: Any = 'F' if fortran_order else 'C'
            arrays[info.filename.removesuffix('.npy')] = np.memmap(path, dtype, 'r', offset, shape, order)
    return arrays


def _start_of_data(path: Path, info: zipfile.ZipInfo) -> int:
    """The position of the bytes of a stored member in the file: after its local header of 30 bytes and two texts."""
    with open(path, 'rb') as f:
        f.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(f.read(2), 'little') for _ in range(2))
    return info.header_offset + 30 + name + extra
