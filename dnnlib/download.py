"""Reading a local path, a file:// URL or an http(s) URL alike; downloads are cached and atomic."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO

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

    url: a path, file:// or http(s):// address. Downloads go to `downloads/<md5 of the URL>_<name>` in the cache.
    cache: False reads an http(s) address anew, and replaces what the cache holds.
    sha256: expected hex digest of a download; a mismatch is an error and nothing is kept.

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

    name = re.sub(r'[^0-9a-zA-Z._-]', '_', urllib.parse.urlparse(url).path.rsplit('/', 1)[-1])[-100:]
    cached = cache_dir('downloads', f'{hashlib.md5(url.encode()).hexdigest()}_{name}')
    if not (cache and cached.is_file()):
        _download(url, cached, num_attempts, verbose, sha256)
    return open(cached, 'rb')


def _download(url: str, target: Path, num_attempts: int, verbose: bool, sha256: str | None) -> None:
    import requests  # imported when used: most commands never download

    for attempt in range(1, num_attempts + 1):
        try:
            if verbose:
                print(f'Downloading {url} ...', file=sys.stderr, flush=True)
            with requests.get(url, stream=True, timeout=(5, 60)) as reply, atomic_open(target) as f:
                reply.raise_for_status()
                digest, size = hashlib.sha256(), 0
                for block in reply.iter_content(1 << 20):
                    f.write(block)
                    digest.update(block)
                    size += len(block)
                expected = reply.headers.get('Content-Length')
                if expected and not reply.headers.get('Content-Encoding') and size != int(expected):
                    raise requests.ConnectionError(f'only {size} of {expected} bytes arrived')
                if sha256 and digest.hexdigest() != sha256:
                    raise UserError(f'{url}: what arrived is not the expected file (SHA-256 {digest.hexdigest()})')
            return
        except requests.RequestException as err:
            status = 0 if err.response is None else err.response.status_code
            refused = 400 <= status < 500 and status not in (408, 429)  # asking again does not help, unless told "later"
            if refused or attempt == num_attempts:
                reason = f'HTTP status {status}' if status else type(err).__name__
                remedy = 'check the address' if refused else 'check the network or pass a local file'
                raise UserError(f'{url}: download failed ({reason}); {remedy}') from err
            time.sleep(min(2.0 ** attempt, 30) * 0.25)
        except OSError as err:
            raise UserError(f'{target}: cannot be written ({(err.strerror or str(err)).lower()}); free some space, '
                            'or set DNNLIB_CACHE_DIR to another folder') from err
