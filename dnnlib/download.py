"""Open a local path, a file: URL or an https URL through one function. pooch downloads; the cache stores each file with its
SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from dnnlib.errors import UserError
from dnnlib.files import atomic_open, lock, open_regular

LARGEST = 16 << 30  # maximum size of a download in bytes: far above any published network, and it protects the disk
BLOCK = 1 << 16
LOOPBACK = ('127.0.0.1', '::1', 'localhost')  # plain http is safe where it stays on this machine


def cache_dir(*parts: str) -> Path:
    """Path of the user's cache: $DNNLIB_CACHE_DIR, or else ~/.cache/dnnlib; with `parts` appended. Does not create it."""
    root = os.environ.get('DNNLIB_CACHE_DIR')
    return Path(root or Path.home() / '.cache' / 'dnnlib', *parts)


def is_url(name: str) -> bool:
    """Whether `name` is an http:// or https:// address."""
    return urllib.parse.urlparse(str(name)).scheme in ('http', 'https')


def open_url(url: str, cache: bool = True, num_attempts: int = 10, verbose: bool = True, sha256: str | None = None) -> BinaryIO:
    """Open `url` for reading in binary.

    url: a path, or a file: or https: address. Downloads go to `cached_path(url)`. The SHA-256 of the first download is recorded
    in a file beside it and checked whenever the file is opened. A corrupt file is downloaded again and must then match the
    recorded digest. A file without a recorded digest was put there by the user and is used unchecked.
    cache: False downloads the address again and replaces the cached file and its digest.
    sha256: expected hex digest of a download, or its first digits. A cached file with another digest is downloaded again.

    Raises UserError if the file is missing, the address is not https, the download fails `num_attempts` times, the server
    refuses it, or the digest is wrong. If several processes ask for the same file, one downloads and the others wait.
    """
    if not is_url(url):
        path = url
        if str(url).startswith('file:'):
            path = urllib.request.url2pathname(urllib.parse.urlparse(url).path)
        elif re.match(r'[a-z0-9]{2,}://', str(url)):
            raise UserError(f'{url}: only https addresses are downloaded; download the file yourself and pass its path')
        try:
            return open_regular(path)
        except OSError as err:
            raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err

    check_secure(url)
    cached = cached_path(url)
    try:
        if cache and (f := _open_intact(cached, sha256, verbose)):
            return f
        cached.parent.mkdir(parents=True, exist_ok=True)
        lock_path = Path(f'{cached}.lock')
        waiting = f'Waiting for another process that downloads {url} ...'
        with lock(lock_path, wait=math.inf, on_wait=(lambda: _say(waiting)) if verbose else None):
            try:
                if cache and (f := _open_intact(cached, sha256, verbose=False)):  # another process has downloaded the file
                    return f
                _download(url, cached, cache, num_attempts, verbose, sha256)
                return open(cached, 'rb')
            finally:
                with contextlib.suppress(OSError):
                    lock_path.unlink()  # in the worst case two processes download, each into a folder of its own
    except OSError as err:
        raise UserError(f'{cached}: cannot be written or read ({(err.strerror or str(err)).lower()}); free some space, '
                        'or set DNNLIB_CACHE_DIR to another folder') from err


def cached_path(url: str) -> Path:
    """Cache path for the download of an address: `downloads/<md5 of the URL>_<name>`."""
    name = re.sub(r'[^0-9a-zA-Z._-]', '_', urllib.parse.urlparse(url).path.rsplit('/', 1)[-1])[-100:]
    return cache_dir('downloads', f'{hashlib.md5(url.encode()).hexdigest()}_{name}')


def check_secure(url: str, source: str = '') -> None:
    """Raise UserError for plain http, which anybody on the network path could alter. source: the address that redirects to
    `url`."""
    address = urllib.parse.urlparse(url)
    if address.scheme != 'https' and address.hostname not in LOOPBACK:
        what = f'{source}: redirects to {url}, which is not https' if source else f'{url}: not https'
        raise UserError(f'{what}; use an https address, or download the file yourself and pass its path')


def sha256_of(f: BinaryIO) -> str:
    """SHA-256 of a whole file, in hex. Leaves the position at the start."""
    digest = hashlib.sha256()
    f.seek(0)
    while block := f.read(1 << 20):
        digest.update(block)
    f.seek(0)
    return digest.hexdigest()


def _digest_path(cached: Path) -> Path:
    return Path(f'{cached}.sha256')


def _expected(cached: Path, sha256: str | None) -> str:
    """Required start of a cached file's SHA-256: the recorded digest, if it agrees with the caller's. Returns '' if none is
    known."""
    known = (sha256 or '').lower()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if cached.is_file():  # without the file, its recorded digest no longer counts
            recorded = _digest_path(cached).read_text(encoding='utf-8')[:64]
            if re.fullmatch(r'[0-9a-f]{64}', recorded) and recorded.startswith(known):
                return recorded
    return known


def _open_intact(cached: Path, sha256: str | None, verbose: bool) -> BinaryIO | None:
    """Open a cached file if its content has the expected digest. Returns None otherwise, also if the file is missing."""
    try:
        f = open(cached, 'rb')  # noqa: SIM115 (closed by the caller)
    except FileNotFoundError:
        return None
    expected = _expected(cached, sha256)
    if not expected or sha256_of(f).startswith(expected):
        return f
    f.close()
    if verbose:
        _say(f'{cached} is corrupt or not the expected file; downloading it again')
    return None


def _download(url: str, cached: Path, cache: bool, num_attempts: int, verbose: bool, sha256: str | None) -> None:
    """Download to a temporary file, compare the digest, record it, and rename the file to `cached`."""
    import pooch  # imported here: most commands never download
    import requests

    def failed(reason: str, remedy: str) -> UserError:
        return UserError(f'{url}: download failed ({reason}); {remedy}, pass a local file, '
                         f'or get the file in another way and put it at {cached}')

    def vet(reply: requests.Response, **_: Any) -> None:
        """Check a reply before a redirect is followed or content is read. Raises UserError for faults that a retry cannot
        cure."""
        if reply.is_redirect:
            check_secure(urllib.parse.urljoin(reply.url, reply.headers['Location']), source=url)
        if 400 <= reply.status_code < 500 and reply.status_code not in (408, 429):
            raise failed(f'HTTP status {reply.status_code}', 'check the address')

    def receive(_url: str, path: str, _pooch: pooch.Pooch) -> None:
        if verbose:
            _say(f'Downloading {url} ...')
        with open(path, 'wb') as f:
            get = pooch.HTTPDownloader(progressbar=verbose and sys.stderr.isatty(), chunk_size=BLOCK, timeout=(5, 60),
                                       headers={'Accept-Encoding': 'identity'}, hooks={'response': vet})
            get(url, _Limited(f, url), None)

    pooch.get_logger().setLevel('ERROR')
    with tempfile.TemporaryDirectory(prefix='.', dir=cached.parent) as folder:
        store = pooch.create(folder, base_url='', registry={cached.name: None}, urls={cached.name: url},
                             retry_if_failed=num_attempts - 1)
        try:
            new = store.fetch(cached.name, downloader=receive)
        except requests.RequestException as err:
            status = None if err.response is None else err.response.status_code
            raise failed(f'HTTP status {status}' if status else type(err).__name__, 'check the network') from err
        with open(new, 'rb') as f:
            digest = sha256_of(f)
        known = (sha256 or '').lower()
        expected = _expected(cached, sha256) if cache else known
        if not digest.startswith(expected):
            remedy = 'pass a local file' if expected == known else f'remove {cached} to accept another version'
            raise UserError(f'{url}: what arrived is not the expected file (SHA-256 {digest}, expected {expected}); {remedy}')
        # The order matters: wherever an interruption happens, the recorded digest never vouches for the wrong content.
        with atomic_open(_digest_path(cached), 'w') as out:
            out.write(f'{digest}  {cached.name}\n')  # the format of `sha256sum --check`
        os.chmod(new, _digest_path(cached).stat().st_mode)  # pooch had made the file private
        os.replace(new, cached)


class _Limited:
    """A writable file that refuses more than LARGEST bytes."""

    def __init__(self, f: BinaryIO, url: str):
        self._f, self._url = f, url
        self.flush = f.flush

    def write(self, block: bytes) -> None:
        if self._f.tell() + len(block) > LARGEST:
            raise UserError(f'{self._url}: larger than {LARGEST >> 30} GiB; check the address, '
                            'or download the file yourself and pass its path')
        self._f.write(block)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
