"""Reading ZIP files of very many members, from many processes at once."""

from __future__ import annotations

import bisect
import hashlib
import io
import os
import re
import struct
import threading
import zipfile
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from dnnlib.errors import UserError

LARGEST_MEMBER = 1 << 30  # bytes that a member may unpack to: more is an accident, or meant to fill the memory
# Everything that zipfile raises for a damaged, encrypted or exotic archive.
_ZIP_TROUBLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, struct.error)
_LOCAL_HEADER = struct.Struct('<4s22x2H')  # signature; lengths of the name and of the extra field, after which the data come
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipArchive:
    """The members of a ZIP file; folders are left out. A name that stands twice is that of the last one.

    The directory is read once, by zipfile, and kept in a compact form (zipfile's takes 0.6 KB for a member), which crosses
    forks and pickling, so that the processes of a data loader need not read it again. Members are read at their places, without a
    position in the file that processes or threads could share.

    path: the ZIP file.
    names: sorted list of member names.

    Raises UserError if it is none, is incomplete, or has a name that leads out of it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        try:
            with zipfile.ZipFile(self.path) as z:
                members = {info.filename: info for info in z.infolist() if not info.is_dir()}
        except OSError as err:
            raise UserError(f'{self.path}: {(err.strerror or str(err)).lower()}') from err
        except _ZIP_TROUBLE as err:
            raise UserError(f'{self.path}: not a ZIP file, or an incomplete one; copy or create it again') from err
        self.names = sorted(members)
        for name in self.names:
            if _leads_out(name):
                raise UserError(f'{self.path}: has a member {name!r}, which leads out of it; create it again without')
        infos = [members[name] for name in self.names]
        self._offsets = array('Q', (info.header_offset for info in infos))
        self._packed_sizes = array('Q', (info.compress_size for info in infos))
        self._sizes = array('Q', (info.file_size for info in infos))
        self._checksums = array('L', (info.CRC for info in infos))
        self._methods = array('H', (info.compress_type for info in infos))
        self._encrypted = bytes(info.flag_bits & 1 for info in infos)

    def where(self, name: str) -> str:
        """How to name a member in a message."""
        return f'{name} in {self.path}'

    def open(self, name: str) -> BinaryIO:
        """Open one member for reading (seekable). Raises UserError if it is absent or damaged."""
        i = self._position(name)
        if self._methods[i] != zipfile.ZIP_STORED or self._encrypted[i]:
            return io.BytesIO(self.read(name))
        try:
            return io.BufferedReader(_Slice(self, self._data_offset(i), self._packed_sizes[i]))
        except _ZIP_TROUBLE as err:
            raise self._damaged(name, err) from err

    def read(self, name: str) -> bytes:
        """All bytes of one member, its checksum verified. Raises UserError if it is absent or damaged, or too large."""
        i = self._position(name)
        if self._sizes[i] > LARGEST_MEMBER:
            raise UserError(f'{self.where(name)}: unpacks to {self._sizes[i]:,} bytes, too many for a file of a dataset')
        try:
            if self._methods[i] not in _PLAIN or self._encrypted[i]:
                with zipfile.ZipFile(self.path) as z:
                    return z.read(name)
            data = self._read_at(self._data_offset(i), self._packed_sizes[i])
            if self._methods[i] == zipfile.ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self._sizes[i] + 1)
            if len(data) != self._sizes[i] or zlib.crc32(data) != self._checksums[i]:
                raise zipfile.BadZipFile('its checksum is another one')
            return data
        except _ZIP_TROUBLE as err:
            raise self._damaged(name, err) from err

    def fingerprint(self, names: Iterable[str]) -> str:
        """Hex digest of names, sizes and checksums of these members: the same wherever the ZIP file lies."""
        digest = hashlib.sha256()
        for name in names:
            i = self._position(name)
            digest.update(f'{name}\0{self._sizes[i]}\0{self._checksums[i]}\0'.encode(errors='surrogateescape'))
        return digest.hexdigest()

    def _position(self, name: str) -> int:
        i = bisect.bisect_left(self.names, name)
        if i == len(self.names) or self.names[i] != name:
            raise UserError(f'{self.where(name)}: no such file')
        return i

    def _data_offset(self, i: int) -> int:
        header = self._read_at(self._offsets[i], _LOCAL_HEADER.size)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature != b'PK\3\4':
            raise zipfile.BadZipFile('it is not where the directory says')
        return self._offsets[i] + _LOCAL_HEADER.size + name_length + extra_length

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            if self._file is None:
                self._file = open(self.path, 'rb', buffering=0)  # noqa: SIM115 (closed by close)
            if hasattr(os, 'pread'):
                return os.pread(self._file.fileno(), size, offset)
            with self._lock:  # Windows, which doesn't fork
                self._file.seek(offset)
                return self._file.read(size)
        except OSError as err:
            raise UserError(f'{self.path}: {(err.strerror or str(err)).lower()}') from err

    def _damaged(self, name: str, err: Exception) -> UserError:
        reason = str(err) or type(err).__name__
        return UserError(f'{self.where(name)}: cannot be read ({reason}); copy or create the ZIP file again')

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name not in ('_file', '_lock')}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _file=None, _lock=threading.Lock())


class _Slice(io.RawIOBase):
    """A stored member as a file."""

    def __init__(self, archive: ZipArchive, offset: int, size: int):
        self._archive, self._offset, self._size, self._at = archive, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._archive._read_at(self._offset + self._at, max(min(len(buffer), self._size - self._at), 0))
        buffer[:len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at


def _leads_out(name: str) -> bool:
    return (name.startswith(('/', '\\')) or re.match('[A-Za-z]:', name) is not None
            or ('..' in name and '..' in name.replace('\\', '/').split('/')))
