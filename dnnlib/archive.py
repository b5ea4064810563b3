"""Read and write a folder or a ZIP file through one interface.

Reading: `open_archive(path)` has `.names`, `.read(name)` and `.open(name)`. It can be pickled and survives a fork.
Writing: `with ArchiveWriter(path) as out: out.write(name, data)` writes everything or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dnnlib.errors import UserError
from dnnlib.files import atomic_open, open_regular
from dnnlib.zip_archive import ZipArchive

OTHER_ARCHIVES = ('.tar', '.gz', '.tgz', '.bz2', '.xz', '.7z', '.rar')  # no folder name should end in one of these

__all__ = ['ArchiveWriter', 'FolderArchive', 'ZipArchive', 'open_archive']


def open_archive(path: str | os.PathLike[str]) -> FolderArchive | ZipArchive:
    """Open a folder or a .zip file (any case) for reading. Raises UserError if the path is missing or is neither."""
    path = Path(path)
    if path.is_dir():
        return FolderArchive(path)
    if not path.exists():
        raise UserError(f'{path}: no such file or folder')
    if path.suffix.lower() != '.zip':
        raise UserError(f'{path}: path must point to a directory or zip')
    return ZipArchive(path)


class FolderArchive:
    """All files below a folder, at any depth. Links to folders are followed; a folder is read only once, so loops end.

    path: the folder.
    names: sorted list of relative paths, with `/` on every system. Pipes, sockets and devices are skipped.
    left_out: relative path -> why the path was skipped.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.left_out: dict[str, str] = {}
        self.names = sorted(_files_below(self.path, self.left_out))

    def where(self, name: str) -> str:
        """Describe a member for a message."""
        return str(self.path / name)

    def open(self, name: str) -> BinaryIO:
        """Open one file for reading. Raises UserError if it cannot be opened."""
        try:
            return open_regular(self.path / name)
        except OSError as err:
            raise UserError(f'{self.where(name)}: {(err.strerror or str(err)).lower()}') from err

    def read(self, name: str) -> bytes:
        """All bytes of one file. Raises UserError if it cannot be read."""
        with self.open(name) as f:
            return f.read()

    def fingerprint(self, names: Iterable[str]) -> str:
        """Hex digest of the folder's path and of the files' names, sizes and times. File contents are not read. Raises UserError
        for a missing file."""
        digest = hashlib.sha256(os.path.realpath(self.path).encode(errors='surrogateescape'))
        for name in names:
            try:
                status = os.stat(self.path / name)
            except OSError as err:
                raise UserError(f'{self.where(name)}: {(err.strerror or str(err)).lower()}') from err
            digest.update(f'\0{name}\0{status.st_size}\0{status.st_mtime_ns}'.encode(errors='surrogateescape'))
        return digest.hexdigest()

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def __enter__(self) -> FolderArchive:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def _files_below(root: Path, left_out: dict[str, str]) -> Iterator[str]:
    """Yield the relative paths of all files below a folder, with `/`. Skipped paths go to `left_out`, with the reason. Raises
    UserError if a folder cannot be read."""
    seen, waiting = set(), ['']
    while waiting:
        prefix = waiting.pop()
        folder = root / prefix
        real = os.path.realpath(folder)
        if real in seen:
            left_out[prefix.rstrip('/')] = 'a link to a folder that is read already'
            continue
        seen.add(real)
        subfolders = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if _is(entry.is_dir):
                        subfolders.append(f'{name}/')
                    elif _is(entry.is_file) or not os.path.exists(entry.path):  # a broken link is a file that cannot be read
                        yield name
                    else:
                        left_out[name] = 'a pipe, socket or device'
        except OSError as err:
            raise UserError(f'{err.filename or folder}: {(err.strerror or str(err)).lower()}') from err
        waiting += sorted(subfolders, reverse=True)  # sorted: the same link is followed on every file system


def _is(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a link that leads to itself
        return False


class ArchiveWriter:
    """Write files into a new ZIP file (`path` ends in .zip, any case) or a new folder (any other `path`).

    Use as a context manager. Files are written under a temporary name beside `path`. The result is renamed to `path` when the
    block ends without an exception; until then `path` is unchanged. ZIP members are stored uncompressed with a fixed date, so
    equal content gives equal bytes. An existing ZIP file is replaced. An existing folder must be empty.

    Raises UserError if the destination cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not str(path):
            raise UserError('--dest output filename or directory must not be an empty string')
        self.path = Path(os.path.realpath(path))  # resolve a link, so that the rename keeps it
        self.is_zip = self.path.suffix.lower() == '.zip'
        if self.path.suffix.lower() in OTHER_ARCHIVES:
            raise UserError(f'{self.path}: --dest is a folder or a ZIP file; end the name in .zip')
        self._cleanup = contextlib.ExitStack()
        if self.is_zip and self.path.is_dir():
            raise UserError(f'{self.path}: a folder has this name; choose another name for the ZIP file')
        if not self.is_zip and self.path.exists():
            if not self.path.is_dir():
                raise UserError(f'{self.path}: a file has this name; end the name in .zip, or choose another folder')
            if any(self.path.iterdir()):
                raise UserError(f'{self.path}: --dest folder must be empty; empty it or choose another')
            if os.path.ismount(self.path):
                raise UserError(f'{self.path}: cannot be replaced, being a mount point; choose a folder inside it')

    def __enter__(self) -> ArchiveWriter:
        try:
            if self.is_zip:
                f = self._cleanup.enter_context(atomic_open(self.path))
                self._zip = self._cleanup.enter_context(zipfile.ZipFile(f, 'w', zipfile.ZIP_STORED))
            else:
                self._folder = self.path.parent / f'.{self.path.name}.{secrets.token_hex(4)}.tmp'
                self._folder.mkdir(parents=True)
        except OSError as err:
            raise self._unwritable(err) from err
        return self

    def write(self, name: str, data: bytes) -> None:
        """Add one file; `name` is a relative path with `/`."""
        try:
            if self.is_zip:
                info = zipfile.ZipInfo(name)  # the date is always 1980
                info.create_system, info.external_attr = 3, 0o644 << 16
                self._zip.writestr(info, data)
            else:
                target = self._folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        except OSError as err:
            raise self._unwritable(err) from err

    def __exit__(self, kind: Any, err: BaseException | None, trace: Any) -> None:
        try:
            if self.is_zip:
                self._cleanup.__exit__(kind, err, trace)
            elif err is None:
                self._move_folder()
        except OSError as trouble:
            if trouble is err:
                raise
            raise self._unwritable(trouble) from trouble
        finally:
            if not self.is_zip:
                shutil.rmtree(self._folder, ignore_errors=True)  # gone already after success

    def _move_folder(self) -> None:
        if hasattr(os, 'sync'):
            os.sync()  # one sync for all files: an fsync per file would take longer than the conversion
        if self.path.exists():
            self.path.rmdir()
        os.replace(self._folder, self.path)

    def _unwritable(self, err: OSError) -> UserError:
        return UserError(f'{self.path}: cannot be written ({(err.strerror or str(err)).lower()})')
