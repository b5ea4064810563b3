"""Where the images of a new dataset come from: folders, ZIP files, and packed datasets by their file names."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.archive import FolderArchive, ZipArchive, open_archive
from training.data.finding import find_images, is_canonical, labels_below, listed
from training.data.images import decode
from training.data.labels import FILE_NAME, MAKE_FACTORS, check_labels, find_labels, missing_labels, read_label_file
from training.data.making import mnist, packed, tfrecords
from training.data.making.label_tables import LabelTable


class SourceImage(NamedTuple):
    """One image on its way into a dataset.

    data: pixels, uint8 [H, W] or [H, W, C], or the bytes of an image file, or a function that gives one of these.
    label: a number, a list of numbers, or None. name: what messages call it.
    content: the class of what it shows, regardless of the domain, if known. factors: values of the source's factor_names, if
    known.
    """

    data: np.ndarray | bytes | Callable[[], np.ndarray | bytes]
    label: Any
    name: str
    content: int | None = None
    factors: list[float] | None = None

    def load(self) -> np.ndarray | bytes:
        """Pixels, or the bytes of an image file. Raises UserError if it cannot be read."""
        return self.data() if callable(self.data) else self.data

    @property
    def pixels(self) -> np.ndarray:
        """Uint8 [H, W] or [H, W, C]. Raises UserError if it cannot be read or is damaged."""
        data = self.load()
        return data if isinstance(data, np.ndarray) else decode(data, self.name)


class Source:
    """Images that can be iterated once.

    size: number of images, if none is skipped.
    domains: names of the labels 0, 1, ... or None.
    leave_out_broken: whether damaged images are skipped by default, because the source is known to have some.
    contents: names of the contents 0, 1, ... or None. placements: by content, where it is drawn: to the right, down, scale.
    factor_names: name, kind and role of each factor (training.data.labels.Factor), where images have factors.
    left_out: reason -> names of skipped files that look like images. notes: further lines to print.
    """

    def __init__(self, images: Iterable[SourceImage], size: int, domains: Sequence[str] | None = None,
                 leave_out_broken: bool = False, contents: Sequence[str] | None = None,
                 placements: dict[int, list[float]] | None = None, left_out: dict[str, list[str]] | None = None,
                 notes: Sequence[str] = (), factor_names: Sequence[tuple[str, str, str]] | None = None):
        self._images = images
        self.size = size
        self.domains = list(domains) if domains is not None else None
        self.leave_out_broken = leave_out_broken
        self.contents, self.placements = contents, placements
        self.left_out, self.notes, self.factor_names = left_out or {}, list(notes), factor_names

    def __iter__(self) -> Iterator[SourceImage]:
        return iter(self._images)

    def first(self, count: int | None) -> Source:
        """The first `count` images of this source; all if None."""
        if count is None:
            return self
        return Source(itertools.islice(self._images, count), min(self.size, count), self.domains, self.leave_out_broken,
                      self.contents, self.placements, self.left_out, self.notes, self.factor_names)


def open_source(path: str, subfolders_are_domains: bool | None = None, max_per_domain: int | None = None,
                pad_mnist: bool = True, table: LabelTable | None = None, averaged_to: int | None = None) -> Source:
    """Open what `--source` names.

    path: a folder or ZIP file of images; a folder `*_lmdb` (LSUN) or with `train_data_batch_*.npz` (ImageNet 64x64);
    `cifar-10-python.tar.gz`, `cifar-100-python.tar.gz`; `train-` or `t10k-images-idx3-ubyte.gz` (MNIST); the word
    `mnist` or `mnist-test`, which finds it; a file or a folder of *.tfrecords (StyleGAN, FFHQ).
    subfolders_are_domains: whether the folders at the root are domains, numbered by name; None: if it is a folder
    without `dataset.json`, and they have images.
    max_per_domain: how many images to take of each such domain.
    pad_mnist: digits as 32x32, with black around them; or 28x28 as they come.
    table: labels of the images of a folder or ZIP file, instead of its own.
    averaged_to: side in pixels of squares to which images will be averaged. TFRecords of this size are sufficient then.

    Raises UserError if it is missing or none of these, now or during iteration.
    """
    name = Path(path).name
    source = None
    if path in ('mnist', 'mnist-test'):
        images, labels, origin = mnist.find_mnist('train' if path == 'mnist' else 't10k')
        print(f'Using {origin}.')
        source = _from_arrays(_pad(images) if pad_mnist else images, labels, path)
    elif not Path(path).exists():
        raise UserError(f'Missing input file or directory: {path}')
    elif not Path(path).is_file() and not Path(path).is_dir():
        raise UserError(f'{path}: not a regular file, but a pipe, socket or device; give a file or folder')
    elif Path(path).is_dir() and str(path).rstrip('/\\').endswith('_lmdb'):
        source = Source(*_named(packed.open_lmdb(path)), leave_out_broken=True)
    elif Path(path).is_dir() and any(Path(path).glob('train_data_batch_*.npz')):
        source = Source(*_named(packed.open_imagenet_npz(path)))
    elif name in packed.CIFAR:
        source = _from_arrays(*packed.read_cifar(path), path)
    elif name.endswith(mnist.IMAGES_SUFFIX):
        images, labels = mnist.read_mnist(path)
        source = _from_arrays(_pad(images) if pad_mnist else images, labels, path)
    elif tfrecords.is_tfrecords(path):
        source = Source(*_named(tfrecords.open_tfrecords(path, averaged_to)))
    elif Path(path).is_dir() or name.lower().endswith('.zip'):
        return _from_archive(open_archive(path), subfolders_are_domains, max_per_domain, table)
    else:
        raise UserError(f'{path}: unknown archive type; give a folder, a .zip file, or one of the files that --help lists')
    if table is not None:
        raise UserError(f'{path}: --labels is for folders and ZIP files; leave it out')
    if max_per_domain is not None or subfolders_are_domains:
        raise UserError(f'{path}: has no sub-folders to be domains; use --max-images, or --domains with colours')
    return source


def _pad(images: np.ndarray) -> np.ndarray:
    return np.pad(images, [(0, 0), (2, 2), (2, 2)])  # [N, 28, 28] -> [N, 32, 32], a power of two


def _from_arrays(images: np.ndarray, labels: np.ndarray, name: str) -> Source:
    """A source of images uint8 [N, H, W(, C)] with labels [N]."""
    items = (SourceImage(images[i], int(labels[i]), f'image {i} of {name}') for i in range(len(images)))
    return Source(items, len(images))


def _named(opened: tuple[Iterator[tuple], int]) -> tuple[Iterator[SourceImage], int]:
    items, size = opened
    return (SourceImage(*item) for item in items), size


def _from_archive(archive: FolderArchive | ZipArchive, subfolders_are_domains: bool | None,
                  max_per_domain: int | None, table: LabelTable | None) -> Source:
    """Images of a folder or ZIP file. Labels: those given, then `dataset.json`, then the folders at the root."""
    names, left_out = find_images(archive)
    left_out, notes = dict(left_out), []
    below = labels_below(archive, names)
    if below is not None and table is None and subfolders_are_domains is None and _has_labels(archive, below):
        raise UserError(f'{archive.where(below)}: labels are read from {FILE_NAME} at the root alone; give the folder that it is '
                        'in as --source, or choose with --domains=folders or --domains=none')
    if table is not None:
        labels, domains, content = table.of(names, archive.path), table.domains, None
        notes += table.notes(names)
    else:
        found = read_label_file(archive)
        labels, domains, content = found.labels, found.domains, found.content
        if found.factors is not None:
            notes.append(f'Its factors are left out, as they need not hold after a conversion; {MAKE_FACTORS} makes others')
        labels = None if subfolders_are_domains else _fitting(labels, names, archive, 'label', notes)
        content = _fitting(content, names, archive, 'content', [])
    groups: dict[str, list[str]] = {}
    for name in names:
        folder, slash, _ = name.partition('/')
        groups.setdefault(folder if slash else '', []).append(name)
    at_root = groups.pop('', [])
    if subfolders_are_domains is None:
        could_be = labels is None and bool(groups) and not is_canonical(names)
        subfolders_are_domains = could_be and isinstance(archive, FolderArchive) and FILE_NAME not in archive.names
        if subfolders_are_domains and at_root:
            raise UserError(f'{archive.path}: has {len(at_root)} images beside its sub-folders ({listed(at_root, 3)}), and '
                            f'{len(names) - len(at_root)} in them ({listed(sorted(groups), 3)}); --domains=none takes all, '
                            'without domains; --domains=folders takes those in sub-folders, which are the domains')
        if could_be and not subfolders_are_domains:
            notes.append(f'Its sub-folders are no domains ({listed(sorted(groups), 3)}); --domains=folders makes them')
    if subfolders_are_domains and not groups:
        raise UserError(f'{archive.path}: has no sub-folders to be domains; leave out --domains=folders')
    if subfolders_are_domains:
        domains = sorted(groups, key=_by_number(groups))
        chosen = [groups[domain][:max_per_domain] for domain in domains]
        labels = {name: label for label, group in enumerate(chosen) for name in group}
        names = list(itertools.chain.from_iterable(chosen))
        if at_root:
            left_out['beside the sub-folders, which are the domains; --domains=none takes them'] = at_root
        if len(domains) == 1 and (inner := _subfolders(names)):
            notes.append(f'Warning: {domains[0]} is the only domain; its sub-folders {listed(inner, 3)} are none: for that, give '
                         f'{archive.path}/{domains[0]} as --source')
    elif max_per_domain is not None:
        names = _first_of_each(names, labels, max_per_domain, archive.path)

    labels, content = labels or {}, content or {}
    where = archive.where
    items = (SourceImage(partial(archive.read, name), labels.get(name), where(name), content.get(name)) for name in names)
    return Source(items, len(names), domains, left_out=left_out, notes=notes)


def _fitting(labels: dict[str, Any] | None, names: list[str], archive: FolderArchive | ZipArchive, kind: str,
             notes: list[str]) -> dict[str, Any] | None:
    """The labels of images by their names, classes as ints. Raises UserError for unusable labels, and for entries without an
    image if an image has no label."""
    if labels is None:
        return None
    where = archive.where(FILE_NAME)
    found, unused = find_labels(labels, names)
    missing = [name for name in names if name not in found]
    if unused and missing:
        raise UserError(f'{where}: {missing_labels(missing, unused, kind)}; correct the names, or remove the images')
    if unused:
        notes.append(f'{len(unused)} entries of {FILE_NAME} fit no image, such as {unused[0]!r}')
    if missing:
        notes.append(f'{where}: {missing_labels(missing, [], kind)}')
    if not found:
        return None
    kept = [name for name in names if name in found]
    array = check_labels(found, kept, where, kind)
    return dict(zip(kept, array.tolist(), strict=True)) if array.ndim == 1 else found


def _has_labels(archive: FolderArchive | ZipArchive, name: str) -> bool:
    """Whether a dataset.json somewhere in an archive holds labels."""
    try:
        return json.loads(archive.read(name).decode('utf-8-sig')).get('labels') is not None
    except (ValueError, RecursionError, AttributeError):
        return False


def _by_number(folders: Iterable[str]) -> Callable[[str], Any]:
    """The sort key of folders: their numbers, if their names differ only in these; else the text."""
    matches = [re.fullmatch(r'(.*?)(\d+)', folder, re.DOTALL | re.ASCII) for folder in folders]
    if all(matches) and len({match[1] for match in matches}) == 1:
        prefix = len(matches[0][1])
        return lambda folder: (int(folder[prefix:]), folder)
    return lambda folder: folder


def _subfolders(names: Iterable[str]) -> list[str]:
    """The names of second-level folders with images, if there are several."""
    inner = sorted({parts[1] for parts in (name.split('/') for name in names) if len(parts) > 2})
    return inner if len(inner) > 1 else []


def _first_of_each(names: list[str], labels: dict[str, Any] | None, count: int, path: str | Path) -> list[str]:
    """The first `count` of the images of each class, in the order of all."""
    if labels is None or any(isinstance(label, list) for label in labels.values()):
        raise UserError(f'{path}: --max-images-per-domain needs a folder whose sub-folders are domains, or class labels; '
                        'use --max-images')
    seen: Counter = Counter()
    chosen = []
    for name in names:
        seen[labels.get(name)] += 1
        if seen[labels.get(name)] <= count:
            chosen.append(name)
    return chosen
