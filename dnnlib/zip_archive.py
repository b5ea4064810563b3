"""Read a ZIP file from many processes and threads at the same time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from dnnlib.errors import UserError
from dnnlib.files import open_regular

try:
    from lzma import LZMAError
except ImportError:  # a Python without lzma, in which zipfile refuses such members
    LZMAError = zlib.error  # type: ignore[misc, assignment]

LARGEST_MEMBER = 1 << 30  # maximum unpacked size of a member in bytes: a larger one is an accident or an attack
_CORRUPT = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError)  # what zipfile raises for a corrupt archive
# And for an encrypted or exotic one.
_ZIP_TROUBLE = (*_CORRUPT, RuntimeError, NotImplementedError, ValueError, OverflowError)


class ZipArchive:
    """The members of a ZIP file, without folders. If a name occurs twice, the last entry wins.

    Forked processes share the directory in memory and read independently. After unpickling, the first access opens the file.
    Several threads may read at the same time. Do not fork while another thread reads: the child would hold a locked lock
    forever.

    path: the ZIP file.
    names: sorted list of member names.
    left_out: names that occur more than once -> why some of their entries are not read.

    Raises UserError if the file is not a ZIP file, is incomplete, or has a member name that points outside the archive.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        count = Counter(info.filename for info in self._opened().infolist() if not info.filename.endswith('/'))
        self.names = sorted(count)
        self.left_out = {name: 'an earlier entry of the same name' for name in self.names if count[name] > 1}
        for name in self.names:
            parts = name.replace('\\', '/').split('/')
            if parts[0] == '' or '..' in parts or re.match('[A-Za-z]:', name):
                raise UserError(f'{self.path}: has a member {name!r}, which leads out of it; create it again without')

    def where(self, name: str) -> str:
        """Describe a member for a message."""
        return f'{name} in {self.path}'

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open one member as a seekable file, as a context manager. Raises UserError if it is absent, or if reading finds it
        corrupt."""
        info = self._info(name)
        with self._naming(name, _CORRUPT), contextlib.ExitStack() as stack:
            with self._naming(name, _ZIP_TROUBLE):
                f = stack.enter_context(self._opened().open(info))
            yield f

    def read(self, name: str) -> bytes:
        """Return all bytes of one member, after verifying its checksum. Raises UserError if it is absent, corrupt or too
        large."""
        info = self._info(name)
        if info.file_size > LARGEST_MEMBER:
            raise UserError(f'{self.where(name)}: unpacks to {info.file_size:,} bytes, too many for a file of a dataset')
        with self._naming(name, _ZIP_TROUBLE), self._opened().open(info) as f:
            data = f.read(info.file_size)  # the size limits the unpacking; read() alone does not
            if len(data) != info.file_size:
                raise zipfile.BadZipFile('it is shorter than the directory says')
            return data

    def fingerprint(self, names: Iterable[str]) -> str:
        """Hex digest of the names, sizes and checksums of these members. It does not depend on the path of the ZIP file."""
        digest = hashlib.sha256()
        for name in names:
            info = self._info(name)
            digest.update(f'{name}\0{info.file_size}\0{info.CRC}\0'.encode(errors='surrogateescape'))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._zip is not None:
            self._zip.close()
        self._zip = None

    def _opened(self) -> zipfile.ZipFile:
        opened = self._zip
        if opened is None:
            try:
                opened = self._zip = zipfile.ZipFile(io.BufferedReader(_OwnPosition(self.path)))
            except OSError as err:
                raise UserError(f'{self.path}: {(err.strerror or str(err)).lower()}') from err
            except _ZIP_TROUBLE as err:
                raise UserError(f'{self.path}: not a ZIP file, or an incomplete one; copy or create it again') from err
        return opened

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._opened().getinfo(name)
        except KeyError as err:
            raise UserError(f'{self.where(name)}: no such file') from err

    @contextlib.contextmanager
    def _naming(self, name: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
        """Turn these errors into one line that names the member."""
        try:
            yield
        except OSError as err:
            raise UserError(f'{self.where(name)}: {(err.strerror or str(err)).lower()}') from err
        except errors as err:
            reason = str(err) or type(err).__name__
            raise UserError(f'{self.where(name)}: cannot be read ({reason}); copy or create the ZIP file again') from err

    def __enter__(self) -> ZipArchive:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_zip': None}


class _OwnPosition(io.RawIOBase):
    """A file that keeps its position in this object. Forked processes share the system's position and would move each other's."""

    def __init__(self, path: Path):
        with open_regular(path):  # raises OSError for a pipe
            self._file = open(path, 'rb', buffering=0)  # noqa: SIM115 (closed by close)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._file.fileno()).st_size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, 'a position before the start of the file')  # like the system; zipfile expects it
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if hasattr(os, 'pread'):
            data = os.pread(self._file.fileno(), len(buffer), self._at)
        else:  # Windows: no fork, and zipfile's lock keeps threads apart
            self._file.seek(self._at)
            data = self._file.read(len(buffer))
        buffer[:len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
