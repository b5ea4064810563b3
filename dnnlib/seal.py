"""Files that reveal whether they are intact: the last line holds the SHA-256 of everything before it.

In a pickle the line follows the end of the pickle, where no reader looks. In a ZIP file it is the archive's comment. The line
can also name the SHA-256 of a second file, so that a pair of files can be checked without parsing either.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from dnnlib.files import open_regular

_LINE = re.compile(rb'\nsha256 ([0-9a-f]{64}) with ([0-9a-f]{64}|-{64})\n')
_LENGTH = len(b'\nsha256  with \n') + 2 * 64


def seal(file: BinaryIO, belongs_to: str | None = None, zipped: bool = False) -> str:
    """Append the line to a file that is open for reading and writing ('w+b'). Returns the file's SHA-256 without the line.

    belongs_to: the SHA-256 of the second file. zipped: the file is a ZIP archive that has no comment yet.
    """
    if zipped:  # the last field of an archive is the length of the comment
        file.seek(-2, 2)
        file.write(_LENGTH.to_bytes(2, 'little'))
    size = file.seek(0, 2)
    digest = _sha256(file, size)
    file.write(f'\nsha256 {digest} with {belongs_to or "-" * 64}\n'.encode())
    return digest


def check_seal(file: BinaryIO) -> tuple[bool | None, str | None, str | None]:
    """Return (whether the file is intact, its SHA-256 without the line, the SHA-256 of the second file).

    An item is None if the file does not say: it was never sealed, or its end is missing. Leaves the position at the start.
    """
    size = file.seek(0, 2)
    file.seek(max(size - _LENGTH, 0))
    end = file.read()
    match = _LINE.fullmatch(end)
    digest = _sha256(file, size - _LENGTH) if match else None
    file.seek(0)
    if match is None:
        return False if b'\nsha256 ' in end else None, None, None
    return digest == match[1].decode(), digest, None if match[2].startswith(b'-') else match[2].decode()


def check_file(path: str | Path) -> tuple[bool | None, str | None, str | None]:
    """check_seal by path. A missing file counts as not intact."""
    try:
        with open_regular(path) as f:
            return check_seal(f)
    except OSError:
        return False, None, None


def _sha256(file: BinaryIO, size: int) -> str:
    """SHA-256 of the first `size` bytes. Leaves the position after them."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()
