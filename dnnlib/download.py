"""Reading a local path, a file: URL or an http(s) URL alike; downloads are cached, checked, atomic, and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO

from dnnlib import transfer
from dnnlib.errors import UserError
from dnnlib.files import atomic_open


def cache_dir(*parts: str) -> Path:
    """The user's cache: $DNNLIB_CACHE_DIR, else ~/.cache/dnnlib; with `parts` appended. Not created here."""
    root = os.environ.get('DNNLIB_CACHE_DIR')
    return Path(root or Path.home() / '.cache' / 'dnnlib', *parts)


def is_url(name: str) -> bool:
    """True for http:// and https:// addresses."""
    return urllib.parse.urlparse(str(name)).scheme in ('http', 'https')


def open_url(url: str, cache: bool = True, num_attempts: int = 10, verbose: bool = True, sha256: str | None = None) -> BinaryIO:
    """Open `url` for reading in binary.

    url: a path, file: or http(s): address. Downloads go to `cached_path(url)`, with their SHA-256 in a file beside it that
    is checked whenever it is opened: what was damaged since is downloaded again. A file that was put there by hand, without
    a SHA-256, is taken as it is. What an interrupted download left is gone on from, if the server can do that.
    cache: False reads an http(s) address anew, and replaces what the cache holds.
    sha256: expected hex digest of an http(s) address, or its first digits; anything else is downloaded again, and then is an
    error.

    Raises UserError when the file is missing, the download fails `num_attempts` times, or the server refuses it.
    """
    if not is_url(url):
        path = url
        if str(url).startswith('file:'):
            path = urllib.request.url2pathname(urllib.parse.urlparse(url).path)
        try:
            return open(path, 'rb')
        except OSError as err:
            raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err

    cached = cached_path(url)
    try:
        if cache and (f := _open_intact(cached, sha256, verbose)):
            return f
        _download(url, cached, cache, num_attempts, verbose, sha256)
        if f := _open_intact(cached, sha256, verbose=False):
            return f
        raise UserError(f'{cached}: changed while it was written; check the disk, or try again')
    except OSError as err:
        raise UserError(f'{cached}: cannot be written or read ({(err.strerror or str(err)).lower()}); free some space, '
                        'or set DNNLIB_CACHE_DIR to another folder') from err


def cached_path(url: str) -> Path:
    """Where the cache keeps the download of an http(s) address: `downloads/<md5 of the URL>_<name>`."""
    name = re.sub(r'[^0-9a-zA-Z._-]', '_', urllib.parse.urlparse(url).path.rsplit('/', 1)[-1])[-100:]
    return cache_dir('downloads', f'{hashlib.md5(url.encode()).hexdigest()}_{name}')


def _checksum_path(cached: Path) -> Path:
    return cached.with_name(cached.name + '.sha256')


def _open_intact(cached: Path, sha256: str | None, verbose: bool) -> BinaryIO | None:
    """Open a file of the cache whose content is what was downloaded; None if there is no such file."""
    try:
        f = open(cached, 'rb')  # noqa: SIM115 (closed by the caller)
    except FileNotFoundError:
        return None
    expected = sha256
    if expected is None:
        with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
            expected = _checksum_path(cached).read_text(encoding='utf-8').split()[0]
    if expected is None or sha256_of(f).startswith(expected.lower()):
        return f
    f.close()
    if verbose:
        print(f'{cached} is damaged or not the expected file; it is downloaded again', file=sys.stderr, flush=True)
    return None


def sha256_of(f: BinaryIO) -> str:
    """The SHA-256 of a whole file, in hex. Leaves the file at its beginning."""
    digest = hashlib.sha256()
    f.seek(0)
    while block := f.read(1 << 20):
        digest.update(block)
    f.seek(0)
    return digest.hexdigest()


def _download(url: str, cached: Path, cache: bool, num_attempts: int, verbose: bool, sha256: str | None) -> None:
    part = cached.with_name(cached.name + '.part')
    with transfer.only_process(part, verbose) as f:
        if cache and (done := _open_intact(cached, sha256, verbose=False)):  # by the process that was waited for
            done.close()
            part.unlink()
            return
        for attempt in range(1, num_attempts + 1):
            if verbose:
                print(f'Downloading {url} ...', file=sys.stderr, flush=True)
            try:
                transfer.transfer(url, f, part, verbose)
                break
            except transfer.TransferError as err:
                if err.final or attempt == num_attempts:
                    kept = transfer.validator_path(part).exists()
                    if not kept:
                        part.unlink()
                    remedy = 'check the address' if err.final else 'check the network'
                    resumed = ' (what has arrived is kept, the next try goes on from there)' if kept else ''
                    raise UserError(f'{url}: download failed ({err}); {remedy}{resumed}, pass a local file, '
                                    f'or get the file in another way and put it at {cached}') from err
                transfer.pause(attempt)

        digest = sha256_of(f)
        transfer.validator_path(part).unlink(missing_ok=True)
        if sha256 and not digest.startswith(sha256.lower()):
            part.unlink()
            raise UserError(f'{url}: what arrived is not the expected file (SHA-256 {digest})')
        os.fsync(f.fileno())
        # In this order: whenever this is interrupted, the checksum never vouches for the wrong content.
        with atomic_open(_checksum_path(cached), 'w') as out:
            out.write(f'{digest}  {cached.name}\n')  # as `sha256sum --check` takes it
        os.replace(part, cached)
