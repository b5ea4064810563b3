"""Where the images of a new dataset come from: folders, ZIP files, and packed datasets by their file names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.archive import FolderArchive, ZipArchive, open_archive
from training.data import mnist, packed
from training.data.images import decode, image_names
from training.data.labels import read_label_file


class SourceImage(NamedTuple):
    """One image on its way into a dataset: uint8 [H, W] or [H, W, C]; a label or None; its name for messages; the
    class of what it shows in whatever domain, if known."""

    pixels: np.ndarray
    label: Any
    name: str
    content: int | None = None


class Source:
    """A number of images, to be iterated once.

    size: how many images come, if none is left out.
    domains: names of the labels 0, 1, ... or None.
    """

    def __init__(self, images: Iterable[SourceImage], size: int, domains: Sequence[str] | None = None):
        self._images = images
        self.size = size
        self.domains = list(domains) if domains is not None else None

    def __iter__(self) -> Iterator[SourceImage]:
        return iter(self._images)

    def first(self, count: int | None) -> Source:
        """The first `count` images of this source; all if None."""
        if count is None:
            return self
        return Source(itertools.islice(self._images, count), min(self.size, count), self.domains)


def open_source(path: str, subfolders_are_domains: bool | None = None, max_per_domain: int | None = None) -> Source:
    """Open what `--source` names.

    path: a folder or ZIP file of images; a folder `*_lmdb` (LSUN) or with `train_data_batch_*.npz` (ImageNet 64x64);
    `cifar-10-python.tar.gz`, `cifar-100-python.tar.gz`; `train-` or `t10k-images-idx3-ubyte.gz` (MNIST); the word
    `mnist` or `mnist-test`, which finds it.
    subfolders_are_domains: whether the folders at the root are domains, numbered by name; None: if it is a folder
    without `dataset.json`, and they have images.
    max_per_domain: how many images to take of each such domain.

    Raises UserError if it is missing or nothing of the above, now or while iterating.
    """
    name = Path(path).name
    source = None
    if path in ('mnist', 'mnist-test'):
        images, labels, origin = mnist.find_mnist('train' if path == 'mnist' else 't10k')
        print(f'Using {origin}.')
        source = _from_arrays(_pad_mnist(images), labels, path)
    elif not Path(path).exists():
        raise UserError(f'Missing input file or directory: {path}')
    elif Path(path).is_dir() and str(path).rstrip('/\\').endswith('_lmdb'):
        source = Source(*_named(packed.open_lmdb(path)))
    elif Path(path).is_dir() and any(Path(path).glob('train_data_batch_*.npz')):
        source = Source(*_named(packed.open_imagenet_npz(path)))
    elif name in packed.CIFAR:
        source = _from_arrays(*packed.read_cifar(path), path)
    elif name.endswith(mnist.IMAGES_SUFFIX):
        images, labels = mnist.read_mnist(path)
        source = _from_arrays(_pad_mnist(images), labels, path)
    elif Path(path).is_dir() or name.lower().endswith('.zip'):
        return _from_archive(open_archive(path), subfolders_are_domains, max_per_domain)
    else:
        raise UserError(f'{path}: unknown archive type; give a folder, a .zip file, or one of the files that --help lists')
    if max_per_domain is not None or subfolders_are_domains:
        raise UserError(f'{path}: has no sub-folders to be domains; use --max-images, or --domains with colours')
    return source


def _pad_mnist(images: np.ndarray) -> np.ndarray:
    return np.pad(images, [(0, 0), (2, 2), (2, 2)])  # [N, 28, 28] -> [N, 32, 32], a power of two


def _from_arrays(images: np.ndarray, labels: np.ndarray, name: str) -> Source:
    """A source of images uint8 [N, H, W(, C)] with labels [N]."""
    items = (SourceImage(images[i], int(labels[i]), f'image {i} of {name}') for i in range(len(images)))
    return Source(items, len(images))


def _named(opened: tuple[Iterator[tuple], int]) -> tuple[Iterator[SourceImage], int]:
    items, size = opened
    return (SourceImage(*item) for item in items), size


def _from_archive(archive: FolderArchive | ZipArchive, subfolders_are_domains: bool | None,
                  max_per_domain: int | None) -> Source:
    """Images of a folder or ZIP file. Labels: `dataset.json` first, then the folders at the root."""
    names = image_names(archive.names)
    if not names:
        raise UserError(f'{archive.path}: No image files found in the specified path; give a folder or ZIP file of images')
    labels, domains, content = read_label_file(archive)
    if subfolders_are_domains is None:
        subfolders_are_domains = isinstance(archive, FolderArchive) and labels is None and not _is_canonical(archive.names)
    groups: dict[str, list[str]] = {}
    if subfolders_are_domains:
        for name in names:
            folder, slash, _ = name.partition('/')
            if slash and not folder.startswith(('.', '__')):  # .ipynb_checkpoints, __MACOSX
                groups.setdefault(folder, []).append(name)
    if groups:
        domains = sorted(groups)
        chosen = [groups[domain][:max_per_domain] for domain in domains]
        labels = {name: label for label, group in enumerate(chosen) for name in group}
        names = list(itertools.chain.from_iterable(chosen))
    elif max_per_domain is not None:
        raise UserError(f'{archive.path}: --max-images-per-domain needs a folder whose sub-folders are domains; use --max-images')

    labels, content = labels or {}, content or {}
    where = archive.where
    items = (SourceImage(decode(archive.read(name), where(name)), labels.get(name), where(name), content.get(name))
             for name in names)
    return Source(items, len(names), domains)


def _is_canonical(names: list[str]) -> bool:
    """Whether this is the layout of a converted dataset, `00000/...`, `00001/...`: its folders have no meaning."""
    return 'dataset.json' in names or all(re.match(r'\d{5}/', name) for name in image_names(names))


def coloured(source: Source, colours: dict[str, tuple[int, int, int]], seed: int = 0, paired: bool = False,
             max_per_domain: int | None = None) -> Source:
    """Make a multi-domain source out of a greyscale one: domain k has the images in colour k, on black.

    Every image goes to one domain, drawn at random so that the domains are equally large (to within one image); or
    to all of them if `paired`. Labels are the domains; class numbers of the source become the content.

    colours: name of a domain -> red, green and blue, each 0..255.
    """
    count = len(colours)
    if max_per_domain is not None:
        source = source.first(max_per_domain if paired else max_per_domain * count)
    domain_of = np.empty(source.size, dtype=np.int64)
    domain_of[np.random.RandomState(seed).permutation(source.size)] = np.arange(source.size) % count
    palette = np.array(list(colours.values()), dtype=np.uint32)  # [domains, 3]

    def images() -> Iterator[SourceImage]:
        for position, (pixels, label, name, _) in enumerate(source):
            if pixels.ndim != 2:
                raise UserError(f'{name}: is not greyscale; --domains with colours needs greyscale images, such as MNIST')
            for domain in range(count) if paired else [int(domain_of[position])]:
                tinted = (pixels[:, :, np.newaxis] * palette[domain] + 127) // 255  # [H, W, 3], rounded
                yield SourceImage(tinted.astype(np.uint8), domain, name, label if type(label) is int else None)

    return Source(images(), source.size * (count if paired else 1), list(colours))
