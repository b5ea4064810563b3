"""Decoded images in a file that all processes of a run share, in memory or on disk, so that each is decoded once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.download import cache_dir
from dnnlib.util import OptionError

MODES = ('none', 'auto', 'memory', 'disk')
SHARED_MEMORY = Path('/dev/shm')
PAGE = 4096
_WRITTEN = 1 << 32  # beside the checksum of an image: that of an absent one is 0


class ImageCache:
    """A file with room for `count` images, uint8 [C, H, W], each of which is there or not.

    Every process may read and write it at any time, also after a fork or pickling: writers of an image write the same, and its
    checksum tells whether it is complete, in the file of a run that was killed, too. A place that can't be used, or is full,
    is a cache that stays empty.

    path: of the file, made if it isn't there, with holes in place of images. It must belong to this user.
    """

    def __init__(self, path: str | os.PathLike, count: int, shape: Sequence[int]):
        self.path, self.count, self.shape = Path(path), count, tuple(shape)
        self.image_bytes = int(np.prod(self.shape))
        self._start = -(-8 * count // PAGE) * PAGE  # of the images, after their checksums, uint64 [count]
        self._seen = bytearray(count)  # images whose checksum this process has verified
        self._file = -1
        self._broken = False

    def get(self, i: int) -> np.ndarray | None:
        """Image i, read-only, or None if it isn't there."""
        if not self._opened():
            return None
        try:
            if not self._seen[i]:
                checksum = int.from_bytes(os.pread(self._file, 8, 8 * i), 'little')
                if not checksum & _WRITTEN:
                    return None
            data = os.pread(self._file, self.image_bytes, self._start + i * self.image_bytes)
        except OSError:
            self._give_up()
            return None
        if len(data) != self.image_bytes or (not self._seen[i] and zlib.crc32(data) | _WRITTEN != checksum):
            return None
        self._seen[i] = 1
        return np.frombuffer(data, np.uint8).reshape(self.shape)

    def put(self, i: int, image: np.ndarray) -> None:
        """Keep image i, if there is room."""
        if not self._opened():
            return
        data = np.ascontiguousarray(image).data.cast('B')
        try:
            if os.pwrite(self._file, data, self._start + i * self.image_bytes) == self.image_bytes:
                os.pwrite(self._file, (zlib.crc32(data) | _WRITTEN).to_bytes(8, 'little'), 8 * i)
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT):  # of those that are there one still has use
                self._give_up()

    def remove(self) -> None:
        """Delete the file; who has it open keeps it until the end."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _opened(self) -> bool:
        if self._file < 0 and not self._broken:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0), 0o600)
                status = os.fstat(self._file)
                if not stat.S_ISREG(status.st_mode) or (hasattr(os, 'getuid') and status.st_uid != os.getuid()):
                    self._give_up()
                elif status.st_size != self.size:
                    os.ftruncate(self._file, self.size)
            except OSError:
                self._give_up()
        return not self._broken

    @property
    def size(self) -> int:
        """Bytes of the file when all images are there."""
        return self._start + self.count * self.image_bytes

    def _give_up(self) -> None:
        self._broken = True
        self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_file': -1}

    def __del__(self):
        self.close()


def choose_place(mode: str, dataset: Any) -> Path | None:
    """Where the cache of a dataset is to be, in a file for these very images; or None.

    mode: 'memory': in shared memory. 'disk': in the user's cache, where it stays for other runs. 'auto': in memory, if half of
    what is free is enough; or on disk, if that is; or nowhere.
    dataset: has fingerprint(), num_files and image_shape.
    Raises OptionError if there is not enough room where it was asked for.
    """
    count, shape = dataset.num_files, dataset.image_shape
    needed = ImageCache('', count, shape).size
    digest = hashlib.sha256(f'1 {dataset.fingerprint()} {count} {shape}'.encode()).hexdigest()[:32]
    memory, disk = SHARED_MEMORY / f'images-{_user()}-{digest}', cache_dir('images', digest)
    rooms = {'memory': (memory, _room_in_memory()), 'disk': (disk, _room_on(disk))}
    if not hasattr(os, 'pread'):
        rooms = {kind: (path, 0) for kind, (path, _) in rooms.items()}
    for kind, (path, room) in rooms.items():
        has_it = _taken(path) >= 0.99 * needed
        if mode == 'auto' and (has_it or room >= 2 * needed):
            return path
        if mode == kind:
            if room < needed and not has_it:
                raise OptionError(f'--cache-images={mode}: the decoded images take {needed / 2 ** 30:.1f} GiB, and {path.parent} '
                                  f'has {room / 2 ** 30:.1f}; use --cache-images=auto')
            return path
    return None


def in_memory(path: str | os.PathLike) -> bool:
    """Whether a place is one that should be given back after a run."""
    return Path(path).parent == SHARED_MEMORY


def _user() -> int:
    return os.getuid() if hasattr(os, 'getuid') else 0


def _taken(path: Path) -> int:
    """Bytes that a file takes up, without its holes."""
    try:
        return os.stat(path).st_blocks * 512
    except (OSError, AttributeError):
        return 0


def _room_on(path: Path) -> int:
    """Free bytes where a file would be, whose folder may have to be made."""
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    return shutil.disk_usage(folder).free


def _room_in_memory() -> int:
    """Bytes of shared memory that are free without pushing out programs; of a container, within its limit."""
    import psutil
    if not SHARED_MEMORY.is_dir():
        return 0
    rooms = [shutil.disk_usage(SHARED_MEMORY).free, psutil.virtual_memory().available]
    with contextlib.suppress(OSError, ValueError):
        limit, used = (Path('/sys/fs/cgroup', name).read_text().strip() for name in ('memory.max', 'memory.current'))
        rooms.append(max(int(limit) - int(used), 0))  # 'max' is no limit
    return min(rooms)
