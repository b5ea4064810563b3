"""One file over HTTP: goes on where an earlier attempt stopped, and never glues two versions of a file together."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dnnlib.files import atomic_open

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

BLOCK = 1 << 16  # what is lost when the connection breaks


class TransferError(Exception):
    """A transfer that failed. Its text is a reason in a few words; `final` says that asking again does not help."""

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason)
        self.final = final


@contextlib.contextmanager
def only_process(path: Path, verbose: bool) -> Iterator[BinaryIO]:
    """Open `path` for reading and writing, making it and its folder if need be, while no other process has it so.

    Waits for the other one, unless the file system has no locks (some network drives).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, 'a+b') as f:
            _lock(f, path, verbose)
            # The other process may have renamed or removed the file that this one had been waiting for.
            try:
                current = os.path.samestat(path.stat(), os.fstat(f.fileno()))
            except FileNotFoundError:
                current = False
            if not current:
                continue
            yield f
            return


def _lock(f: BinaryIO, path: Path, verbose: bool) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if verbose:
            print(f'Waiting for another process that downloads {path.name} ...', file=sys.stderr, flush=True)
        fcntl.flock(f, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks


def validator_path(part: Path) -> Path:
    """Where it is kept which version of the file on the server `part` is the beginning of."""
    return part.with_name(part.name + '.version')


def discard(f: BinaryIO, part: Path) -> None:
    """Empty an unfinished download."""
    validator_path(part).unlink(missing_ok=True)
    f.seek(0)
    f.truncate()


def transfer(url: str, f: BinaryIO, part: Path, verbose: bool) -> None:
    """Fetch `url` into the file f, opened as `part` by `only_process`; go on where it ends if the server agrees to.

    When this returns, f holds the whole file. Raises TransferError for trouble with the network or the server, after which
    f holds as much as a next call can go on from, and OSError for trouble with the disk.
    """
    import requests  # imported when used: most commands never download

    start, version = f.seek(0, 2), _read_version(part)
    if not version:
        discard(f, part)
        start = 0
    # With If-Range the server sends the rest of the same version, or all of another one. Compressed replies can't be cut.
    headers = {'Accept-Encoding': 'identity'} | ({'Range': f'bytes={start}-', 'If-Range': version} if start else {})
    try:
        with requests.get(url, stream=True, timeout=(5, 60), headers=headers) as reply:
            if reply.status_code == 416:  # there is nothing after `start`: it has all arrived, or the file became shorter
                if reply.headers.get('Content-Range') == f'bytes */{start}':
                    return
                discard(f, part)
                raise TransferError('HTTP status 416')
            reply.raise_for_status()
            if reply.status_code == 206 and start:
                if not re.match(rf'bytes {start}-\d+/', reply.headers.get('Content-Range', '')):
                    discard(f, part)
                    raise TransferError('the server sent another part of the file than it was asked for')
            else:
                discard(f, part)
                start = 0
                _write_version(part, reply)
            _receive(reply, f, start, verbose)
    except requests.RequestException as err:
        status = 0 if err.response is None else err.response.status_code
        refused = 400 <= status < 500 and status not in (408, 416, 429)  # asking again does not help, unless told "later"
        raise TransferError(f'HTTP status {status}' if status else type(err).__name__, final=refused) from err


def _receive(reply, f: BinaryIO, start: int, verbose: bool) -> None:
    from tqdm import tqdm

    length = reply.headers.get('Content-Length', '')
    total = start + int(length) if length.isdigit() and not reply.headers.get('Content-Encoding') else None
    if verbose and start:
        print(f'Going on at {start / 1e6:.1f} MB', file=sys.stderr, flush=True)
    size = start
    with tqdm(total=total, initial=start, unit='B', unit_scale=True, leave=False, dynamic_ncols=True,
              disable=not (verbose and sys.stderr.isatty())) as bar:
        for block in reply.iter_content(BLOCK):
            f.write(block)
            size += len(block)
            bar.update(len(block))
    f.flush()
    if total is not None and size != total:
        raise TransferError(f'only {size} of {total} bytes arrived')


def _write_version(part: Path, reply) -> None:
    """Keep what tells this version of the file from others, if the reply has such a thing; else it can't be resumed."""
    version = reply.headers.get('ETag', '')
    if not version or version.startswith('W/'):  # a weak tag promises the same meaning, not the same bytes
        version = reply.headers.get('Last-Modified', '')
    if version and not reply.headers.get('Content-Encoding'):
        with atomic_open(validator_path(part), 'w') as out:
            out.write(version)


def _read_version(part: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return validator_path(part).read_text(encoding='utf-8')
    return ''


def pause(attempt: int) -> None:
    """Wait before the attempt after `attempt` (1, 2, ...): half a second at first, 7.5 seconds at most."""
    time.sleep(min(2.0 ** attempt, 30) * 0.25)
