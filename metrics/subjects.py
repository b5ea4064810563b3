"""The networks of --network: files, URLs, exported generators, and all snapshots of a run directory or a pattern. No torch
here."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dnnlib.download import is_url
from dnnlib.errors import OptionError

SNAPSHOTS = 'network-snapshot-*.pkl'


@dataclass(frozen=True)
class Subject:
    """A network to evaluate. network: path or URL. run_dir: the run directory that contains it, or None. kimg: from its file
    name, or None. name: a short, unique name."""

    network: str
    run_dir: Path | None
    kimg: int | None
    name: str

    def relative_to(self, folder: Path) -> str:
        """Its name in the records of a folder: a relative path, if it is a file."""
        return os.path.relpath(self.network, folder) if Path(self.network).is_file() else self.network


def find_subjects(networks: Sequence[str]) -> list[Subject]:
    """The networks of all values of --network, each once. Those of a folder or pattern are sorted by folder and kimg.

    Raises OptionError for a value without networks.
    """
    found = list(dict.fromkeys(path for network in networks for path in _expand(network)))
    return [Subject(path, _run_dir(path), _kimg(path), name)
            for path, name in zip(found, distinct_names(found), strict=True)]


def _expand(network: str) -> list[str]:
    if is_url(network) or _is_network(network):
        return [network]
    path = Path(network)
    if path.is_dir():
        snapshots = _sorted(path.glob(SNAPSHOTS))
        if not snapshots:
            raise OptionError(f'--network={network}: there is no {SNAPSHOTS} in this folder; pass a run directory, or a file')
        return snapshots
    if glob.has_magic(network):
        matches = [Path(match) for match in glob.glob(network, recursive=True)]
        paths = [p for match in matches
                 for p in (match.glob(SNAPSHOTS) if match.is_dir() and not _is_network(match) else [match])]
        if not paths:
            raise OptionError(f'--network={network}: no file has a name like this')
        return _sorted(paths)
    raise OptionError(f'--network must point to a file or URL, or to a run directory: there is no {network}')


def _is_network(path: str | Path) -> bool:
    """Whether a path, or a file: URL, is a file, or the folder of an exported generator."""
    path = Path(url2pathname(urlsplit(str(path)).path) if str(path).startswith('file:') else path)
    return path.is_file() or (path / 'config.json').is_file()


def _sorted(paths) -> list[str]:
    return [str(p) for p in sorted(paths, key=lambda p: (str(p.parent), _kimg(p) if _kimg(p) is not None else -1, p.name))]


def _kimg(path: str | Path) -> int | None:
    found = re.search(r'network-snapshot-(\d{1,9})\.\w+$', str(path))
    return int(found[1]) if found else None


def _run_dir(path: str) -> Path | None:
    folder = Path(path).parent
    return folder if Path(path).is_file() and (folder / 'training_options.json').is_file() else None


def distinct_names(networks: Sequence[str]) -> list[str]:
    """Names of networks given by path or URL: the file name without extension, with the folder if that is needed to distinguish
    them."""
    paths = [Path(network if Path(network).exists() else urlsplit(network).path) for network in networks]
    stems = [(path.stem if path.suffix in ('.pkl', '.zip') else path.name) or 'network' for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [f'{path.absolute().parent.name}-{stem}' for path, stem in zip(paths, stems, strict=True)]
