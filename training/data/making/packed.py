"""Datasets in special formats: CIFAR and down-sampled ImageNet (npz)."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from dnnlib import UserError
from torch_utils import safe_pickle
from torch_utils.pickled_arrays import numpy_names

# File name -> its members with training images, and the key of their labels.
CIFAR = {
    'cifar-10-python.tar.gz': ([f'cifar-10-batches-py/data_batch_{i}' for i in range(1, 6)], 'labels'),
    'cifar-100-python.tar.gz': (['cifar-100-python/train'], 'fine_labels'),
}

LARGEST_NPZ = 4 << 30  # bytes of an array in a batch of ImageNet: the published ones have 1.6 billion
LARGEST_CIFAR = 192 << 20  # bytes that one of these archives may unpack to: the published ones hold 186 million


class _Bounded:
    """Reads a compressed file up to a limit, and raises OSError beyond it."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, size: int):
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        data = self.file.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise OSError('it unpacks to far more than such an archive')
        return data


def read_cifar(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the training images of CIFAR-10 or CIFAR-100 from its archive for Python.

    Returns images, uint8 [50000, 32, 32, 3], and labels, int64 [50000]. Raises UserError if the file is damaged.
    """
    members, label_key = CIFAR[Path(path).name]
    images, labels = [], []
    try:
        found = {}
        with (gzip.open(path) as unpacked,
              tarfile.open(fileobj=cast(IO[bytes], _Bounded(unpacked, LARGEST_CIFAR)), mode='r|') as tar):
            for info in tar:  # front to back, unpacked once
                if info.name in members:
                    found[info.name] = safe_pickle.load(tar.extractfile(info), numpy_names)
        for member in members:
            images.append(np.asarray(found[member]['data'].values, dtype=np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(found[member][label_key], dtype=np.int64).reshape(len(images[-1])))
    except (tarfile.TarError, safe_pickle.RecordError, OSError, EOFError, zlib.error, KeyError, ValueError, TypeError,
            AttributeError, IndexError) as err:
        raise UserError(f'{path}: not a complete CIFAR archive ({err}); download it again') from err
    return np.concatenate(images).transpose(0, 2, 3, 1), np.concatenate(labels)  # [N, C, H, W] -> [N, H, W, C]


def open_imagenet_npz(path: str) -> tuple[Iterator[tuple[np.ndarray, int, str]], int]:
    """Open down-sampled ImageNet, `train_data_batch_<n>.npz`: (image, label 0..999, name) in order, and their number.

    Each file holds `data`, uint8 [N, 3*S*S] in planes, and `labels` 1..1000. Raises UserError if one is damaged.
    """
    files = sorted(Path(path).glob('train_data_batch_*.npz'), key=lambda p: [int(n) for n in re.findall(r'\d+', p.stem)])

    def load(file: Path, key: str) -> np.ndarray:
        try:
            with np.load(file, allow_pickle=False) as batch:
                if any(info.file_size > LARGEST_NPZ for info in batch.zip.infolist()):
                    raise ValueError('it unpacks to far more than such a file')
                found = batch[key]
                if not isinstance(found, np.ndarray) or found.dtype.kind not in 'iuf' or found.ndim == 0:
                    raise ValueError(f'its {key} are not an array of numbers')
                return found
        except Exception as err:  # readers of binary files raise any error
            raise UserError(f'{file}: not a complete ImageNet batch ({err}); download it again') from err

    labels = [load(file, 'labels').astype(np.int64).reshape(-1) - 1 for file in files]
    for file, file_labels in zip(files, labels, strict=True):
        if len(file_labels) and not 0 <= file_labels.min() <= file_labels.max() <= 999:
            raise UserError(f'{file}: has labels other than 1 to 1000; download it again')

    def images() -> Iterator[tuple[np.ndarray, int, str]]:
        for file, file_labels in zip(files, labels, strict=True):
            data = load(file, 'data')
            side = round((data.shape[-1] / 3) ** 0.5)
            if data.dtype != np.uint8 or data.shape != (len(file_labels), 3 * side * side):
                raise UserError(f'{file}: data of shape {list(data.shape)} are not square RGB images; download it again')
            pixels = data.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)  # [N, C, H, W] -> [N, H, W, C]
            for i, label in enumerate(file_labels):
                yield np.ascontiguousarray(pixels[i]), int(label), f'image {i} of {file}'

    return images(), sum(map(len, labels))
