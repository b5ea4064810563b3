"""Files that can tell whether they are whole: at the end of each, a line with the SHA-256 of all that is before it.

In a pickle the line stands behind the end, where no reader looks; in a ZIP it is the archive's comment. It can also name
the SHA-256 of another file that it belongs to, so that a pair of files can be checked without understanding either.
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
    """End a file, open for reading and writing ('w+b'), by its line. Returns its SHA-256 without it.

    belongs_to: the SHA-256 of another file. zipped: it is a ZIP archive without a comment yet.
    """
    if zipped:  # the last field of an archive is the length of its comment
        file.seek(-2, 2)
        file.write(_LENGTH.to_bytes(2, 'little'))
    size = file.seek(0, 2)
    digest = _sha256(file, size)
    file.write(f'\nsha256 {digest} with {belongs_to or "-" * 64}\n'.encode())
    return digest


def check_seal(file: BinaryIO) -> tuple[bool | None, str | None, str | None]:
    """(whether the file is whole, its SHA-256 without the line, that of the file that it belongs to).

    None for what the file does not say: it was never sealed, or its end is missing. The position is at the start then.
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
    """check_seal of a file that need not be there: it is not whole then."""
    try:
        with open_regular(path) as f:
            return check_seal(f)
    except OSError:
        return False, None, None


def _sha256(file: BinaryIO, size: int) -> str:
    """Of the first `size` bytes; the position is behind them then."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()
