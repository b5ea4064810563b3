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
from typing import Any, BinaryIO, NamedTuple

from dnnlib.errors import UserError

LARGEST_MEMBER = 1 << 30  # bytes that a member may unpack to: more is an accident, or meant to fill the memory
# Everything that is raised for a damaged, encrypted or exotic archive.
_ZIP_TROUBLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OverflowError,
                struct.error)
_LOCAL_HEADER = struct.Struct('<4s22x2H')  # signature; lengths of the name and of the extra field, after which the data come
_END = struct.Struct('<12x2L2x')  # length and offset of the directory
_LOCATOR = struct.Struct('<4s16x')
_END_64 = struct.Struct('<4s36x2Q')
# Signature; flags, method; checksum, sizes packed and unpacked; lengths of name, extra field and comment; offset.
_ENTRY = struct.Struct('<4s4x2H4x3L3H8xL')
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipArchive:
    """The members of a ZIP file; folders are left out. A name that stands twice is that of the last one.

    The directory is read once and kept in a compact form, which crosses forks and pickling, so that the processes of a data
    loader need not read it again; zipfile would take 0.6 KB and 8 us for each member. Members are read at their places, without
    a position in the file that processes or threads could share.

    path: the ZIP file.
    names: sorted list of member names.

    Raises UserError if it is none, is incomplete, or has a name that leads out of it.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        try:
            with open(self.path, 'rb') as f:
                directory = read_directory(f)
        except OSError as err:
            raise UserError(f'{self.path}: {(err.strerror or str(err)).lower()}') from err
        except _ZIP_TROUBLE as err:
            raise UserError(f'{self.path}: not a ZIP file, or an incomplete one; copy or create it again') from err
        self.names, self._columns = directory
        for name in self.names:
            if '..' in name or ':' in name or name[:1] in ('/', '\\'):
                self._check_name(name)

    def _check_name(self, name: str) -> None:
        drive = re.match('[A-Za-z]:', name) is not None
        if name.startswith(('/', '\\')) or drive or '..' in name.replace('\\', '/').split('/'):
            raise UserError(f'{self.path}: has a member {name!r}, which leads out of it; create it again without')

    def where(self, name: str) -> str:
        """How to name a member in a message."""
        return f'{name} in {self.path}'

    def open(self, name: str) -> BinaryIO:
        """Open one member for reading (seekable). Raises UserError if it is absent or damaged."""
        i = self._position(name)
        if self._columns.methods[i] != zipfile.ZIP_STORED or self._columns.flags[i] & 1:
            return io.BytesIO(self.read(name))
        try:
            return io.BufferedReader(_Slice(self, self._data_offset(i), self._columns.packed_sizes[i]))
        except _ZIP_TROUBLE as err:
            raise self._damaged(name, err) from err

    def read(self, name: str) -> bytes:
        """All bytes of one member, its checksum verified. Raises UserError if it is absent or damaged, or too large."""
        i = self._position(name)
        if self._columns.sizes[i] > LARGEST_MEMBER:
            raise UserError(f'{self.where(name)}: unpacks to {self._columns.sizes[i]:,} bytes, too many for a file of a dataset')
        try:
            if self._columns.methods[i] not in _PLAIN or self._columns.flags[i] & 1:  # rare, or encrypted
                with zipfile.ZipFile(self.path) as z:
                    return z.read(name)
            data = self._read_at(self._data_offset(i), self._columns.packed_sizes[i])
            if self._columns.methods[i] == zipfile.ZIP_DEFLATED:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, self._columns.sizes[i] + 1)
            if len(data) != self._columns.sizes[i] or zlib.crc32(data) != self._columns.checksums[i]:
                raise zipfile.BadZipFile('its checksum is another one')
            return data
        except _ZIP_TROUBLE as err:
            raise self._damaged(name, err) from err

    def fingerprint(self, names: Iterable[str]) -> str:
        """Hex digest of names, sizes and checksums of these members: the same wherever the ZIP file lies."""
        digest = hashlib.sha256()
        for name in names:
            i = self._position(name)
            digest.update(f'{name}\0{self._columns.sizes[i]}\0{self._columns.checksums[i]}\0'.encode(errors='surrogateescape'))
        return digest.hexdigest()

    def _position(self, name: str) -> int:
        i = bisect.bisect_left(self.names, name)
        if i == len(self.names) or self.names[i] != name:
            raise UserError(f'{self.where(name)}: no such file')
        return i

    def _data_offset(self, i: int) -> int:
        header = self._read_at(self._columns.offsets[i], _LOCAL_HEADER.size)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature != b'PK\3\4':
            raise zipfile.BadZipFile('it is not where the directory says')
        return self._columns.offsets[i] + _LOCAL_HEADER.size + name_length + extra_length

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


class Columns(NamedTuple):
    """Of the members of a ZIP file, in the order of their names: where their headers are, and what the directory says of them."""

    offsets: array
    packed_sizes: array
    sizes: array
    checksums: array
    methods: array
    flags: array


def read_directory(f: BinaryIO) -> tuple[list[str], Columns]:
    """Read the directory at the end of a ZIP file, also of more than 4 GB: sorted names of the files, and the rest.

    Format: PKWARE's APPNOTE 6.3, sections 4.3.12 to 4.3.16 and 4.5.3. Raises BadZipFile or struct.error if there is none.
    """
    size = f.seek(0, io.SEEK_END)
    f.seek(max(size - _END.size - 0xffff, 0))
    tail = f.read()
    at = tail.rfind(b'PK\5\6')
    if at < 0:
        raise zipfile.BadZipFile('no directory')
    length, offset = _END.unpack_from(tail, at)
    end = size - len(tail) + at
    if end >= _LOCATOR.size:
        f.seek(end - _LOCATOR.size)
        signature, = _LOCATOR.unpack(f.read(_LOCATOR.size))
        if signature == b'PK\6\7':  # which a record of 64-bit numbers stands before
            end -= _LOCATOR.size + _END_64.size
            f.seek(end)
            signature, length, offset = _END_64.unpack(f.read(_END_64.size))
            if signature != b'PK\6\6':
                raise zipfile.BadZipFile('no directory of 64 bits')
    start = end - length  # further than `offset` where something was put before the whole file
    if start < offset:
        raise zipfile.BadZipFile('a part is missing')
    f.seek(start)
    return _entries(f.read(length), start - offset)


def _entries(directory: bytes, shift: int) -> tuple[list[str], Columns]:
    names, columns, at = [], Columns(*map(array, 'QQQLHH')), 0
    while at < len(directory):  # rather than so many times: 65,536 members are 0 in an old file
        signature, flags, method, checksum, packed, size, name_length, extra_length, comment_length, offset = _ENTRY.unpack_from(
            directory, at)
        at += _ENTRY.size
        if signature != b'PK\1\2' or at + name_length + extra_length + comment_length > len(directory):
            raise zipfile.BadZipFile('a damaged directory')
        name = directory[at:at + name_length].decode('utf-8' if flags & 0x800 else 'cp437')
        if 0xffffffff in (packed, size, offset):
            size, packed, offset = _64_bits(directory[at + name_length:at + name_length + extra_length], size, packed, offset)
        at += name_length + extra_length + comment_length
        if not name.endswith('/'):
            names.append(name)
            for column, value in zip(columns, (offset + shift, packed, size, checksum, method, flags), strict=True):
                column.append(value)
    order = sorted(range(len(names)), key=names.__getitem__)
    order = [i for k, i in enumerate(order) if k + 1 == len(order) or names[i] != names[order[k + 1]]]  # of the same, the last
    return [names[i] for i in order], Columns(*(array(column.typecode, map(column.__getitem__, order)) for column in columns))


def _64_bits(extra: bytes, *values: int) -> list[int]:
    """The values, those that don't fit into 32 bits being in the extra field 1, in this order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from('<2H', extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f'<{length // 8}Q', extra, at + 4))
            values = [next(wide, value) if value == 0xffffffff else value for value in values]
        at += 4 + length
    return list(values)


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

