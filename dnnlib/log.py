"""A log file of everything that a program prints."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from dnnlib.files import must_write


class TeeOutput:
    """While active, everything printed to stdout or stderr is also appended to a file immediately, unless the disk is full.

    An exception that passes through is written to the file and raised again. Raises UserError if the file cannot be opened.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> TeeOutput:
        with must_write(self.path, 'make room, or make the directory writable'):
            self._file = open(self.path, 'a', encoding='utf-8')
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (cast(TextIO, _Tee(s, self._file)) for s in self._streams)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stdout, sys.stderr = self._streams
        with contextlib.suppress(OSError):
            if kind is not None and not issubclass(kind, SystemExit):
                self._file.write(''.join(traceback.format_exception(kind, error, trace)))
            self._file.close()


class _Tee:
    def __init__(self, stream: TextIO, file: TextIO):
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        with contextlib.suppress(OSError):  # disk full: more important writes may still succeed
            if not self._file.closed:  # a logger that kept this stream may write after the end
                self._file.write(text)
        self.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()
        with contextlib.suppress(OSError):
            if not self._file.closed:
                self._file.flush()

    def __getattr__(self, name: str) -> Any:  # isatty, fileno, encoding, ...
        return getattr(self._stream, name)
