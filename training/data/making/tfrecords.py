"""TFRecords as published for StyleGAN, such as FFHQ, read without TensorFlow.

A folder has a file for each resolution, NAME-r02.tfrecords (4x4) to NAME-r10.tfrecords (1024x1024), all with the same images,
and optionally NAME-rxx.labels, a NumPy array [N] or [N, L] as np.save writes it.

A file is a row of records: the length of the data as uint64, its checksum, the data, their checksum; little-endian. A checksum is
a CRC32C, rotated and shifted ("masked"), so data that contain checksums are not a special case.
(https://www.tensorflow.org/tutorials/load_data/tfrecord) The data are a protocol buffer, tensorflow.Example, with the features
`shape`, int64 [3] of channels, height and width, and `data`, as many bytes in that order.
"""

from __future__ import annotations

import functools
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.files import open_regular
from training.data.images import is_image_extension
from training.data.labels import check_labels

SUFFIX = '.tfrecords'
LEVEL = re.compile(r'(.+)-r(\d\d)\.tfrecords')  # the name, and the binary logarithm of the resolution
LARGEST = 1 << 28  # bytes of a record: an image of 4096x4096 with four channels has a quarter of that
_HEAD = struct.Struct('<QI')  # length, its checksum

# tensorflow/core/example/example.proto, as far as it is needed; unknown fields are skipped.
_SCHEMA = '''
    name: "example.proto" package: "tensorflow" syntax: "proto3"
    message_type { name: "BytesList" field { name: "value" number: 1 type: TYPE_BYTES label: LABEL_REPEATED } }
    message_type { name: "Int64List" field { name: "value" number: 1 type: TYPE_INT64 label: LABEL_REPEATED } }
    message_type { name: "Feature"
        field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.BytesList" label: LABEL_OPTIONAL }
        field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".tensorflow.Int64List" label: LABEL_OPTIONAL } }
    message_type { name: "Features"
        field { name: "feature" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features.Entry" label: LABEL_REPEATED }
        nested_type { name: "Entry" options { map_entry: true }
            field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
            field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.Feature" label: LABEL_OPTIONAL } } }
    message_type { name: "Example"
        field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features" label: LABEL_OPTIONAL } }
'''


class Record(NamedTuple):
    """Where the data of a record are in its file, and how many bytes."""

    offset: int
    length: int


def is_tfrecords(path: str | Path) -> bool:
    """Whether the path is a .tfrecords file, or a folder with such files and without images."""
    path = Path(path)
    if not path.is_dir():
        return path.name.endswith(SUFFIX)
    return any(path.glob(f'*{SUFFIX}')) and not any(is_image_extension(file.suffix) for file in path.rglob('*'))


def open_tfrecords(path: str | Path, averaged_to: int | None = None
                   ) -> tuple[Iterator[tuple[Callable[[], np.ndarray], Any, str]], int]:
    """Open a .tfrecords file, or the file with the largest images in a folder: (function that returns the pixels, label or None,
    name) in the order of the file, and their number.

    averaged_to: side in pixels of squares to which images will be averaged. The file of this size is used if the folder has it.
    One-hot labels become class numbers, others lists of numbers.
    Raises UserError if a package is missing, the file is truncated, or its labels are damaged. Reading a damaged image also
    raises it.
    """
    path = _choose(Path(path), averaged_to) if Path(path).is_dir() else Path(path)
    records = list(_index(path, _checksum()))
    labels = _read_labels(path, len(records))

    def images() -> Iterator[tuple[Callable[[], np.ndarray], Any, str]]:
        for i, record in enumerate(records):
            name = f'record {i} of {path}'
            yield partial(_read_image, path, record, name), None if labels is None else labels[i], name

    return images(), len(records)


def _choose(folder: Path, averaged_to: int | None) -> Path:
    """The file to use in a folder, which is printed. Raises UserError if the folder has several datasets."""
    files = {path: match for path in sorted(folder.glob(f'*{SUFFIX}')) if (match := LEVEL.fullmatch(path.name))}
    others = [path for path in folder.glob(f'*{SUFFIX}') if path not in files]
    names = sorted({match[1] for match in files.values()} | {path.name for path in others})
    if len(names) > 1:
        raise UserError(f'{folder}: has the TFRecords of several datasets ({", ".join(names[:5])}); give one file as --source')
    if others:
        return others[0]
    largest = max(files, key=lambda path: int(files[path][2]))
    fitting = [path for path, match in files.items() if 2 ** int(match[2]) == averaged_to]
    if fitting and fitting[0] != largest:
        print(f'Using {fitting[0]}, whose images are averaged to {averaged_to}x{averaged_to} already.')
        return fitting[0]
    print(f'Using {largest}' + (f', the largest images of {len(files)} resolutions.' if len(files) > 1 else '.'))
    return largest


@functools.cache
def _checksum() -> Callable[[bytes], int]:
    """The function bytes -> masked CRC32C. Raises UserError if the package is missing."""
    try:
        from google_crc32c import value
    except ImportError as err:
        raise UserError('reading TFRecords needs the package google-crc32c; pip install google-crc32c') from err

    def masked(data: bytes) -> int:
        crc = value(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked


def _index(path: Path, crc: Callable[[bytes], int]) -> Iterator[Record]:
    """All records of a file, found by their lengths. Raises UserError that names the first record with a damaged length or a
    missing end."""
    try:
        with open_regular(path) as f:
            size, at, number = os.fstat(f.fileno()).st_size, 0, 0
            while at < size:
                f.seek(at)
                head = f.read(_HEAD.size)
                length, check = _HEAD.unpack(head.ljust(_HEAD.size, b'\0'))
                if len(head) == _HEAD.size and crc(head[:8]) != check:
                    raise UserError(f'record {number} of {path}: damaged length, or no TFRecords; download it again')
                if len(head) < _HEAD.size or at + _HEAD.size + length + 4 > size:
                    raise UserError(f'record {number} of {path}: the file ends in it, it is truncated; download it again')
                if length > LARGEST:
                    raise UserError(f'record {number} of {path}: {length} bytes are too many for an image; give another file')
                yield Record(at + _HEAD.size, length)
                at, number = at + _HEAD.size + length + 4, number + 1
    except OSError as err:
        raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err


def _read_image(path: Path, record: Record, name: str) -> np.ndarray:
    """Pixels of a record, uint8 [H, W] or [H, W, C]. Raises UserError if it is damaged, or no image."""
    try:
        with open_regular(path) as f:
            f.seek(record.offset)
            data = f.read(record.length + 4)
    except OSError as err:
        raise UserError(f'{name}: {(err.strerror or str(err)).lower()}') from err
    if data[-4:] != struct.pack('<I', _checksum()(data[:-4])):
        raise UserError(f'{name}: damaged, its checksum is wrong; download it again')
    shape, pixels = _parse(data[:-4], name)
    if len(shape) != 3 or not 1 <= shape[0] <= 4 or min(shape) < 1 or np.prod(shape, dtype=object) != len(pixels):
        raise UserError(f'{name}: {len(pixels)} bytes of shape {shape} are no image of channels, height and width; '
                        'give TFRecords of StyleGAN')
    image = np.frombuffer(pixels, np.uint8).reshape(shape)  # [C, H, W]
    return image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))


def _parse(data: bytes, name: str) -> tuple[list[int], bytes]:
    """The features `shape` and `data` of an Example. Raises UserError without them."""
    from google.protobuf.message import DecodeError
    try:
        features = _example().FromString(data).features.feature
    except DecodeError as err:
        raise UserError(f'{name}: no tensorflow.Example; give TFRecords of StyleGAN') from err
    if 'shape' not in features or len(features['data'].bytes_list.value if 'data' in features else ()) != 1:
        raise UserError(f'{name}: has not the features shape and data, but {", ".join(sorted(features)) or "none"}; '
                        'give TFRecords of StyleGAN')
    return list(features['shape'].int64_list.value), features['data'].bytes_list.value[0]


@functools.cache
def _example() -> Any:
    """The class tensorflow.Example, in a separate pool, because TensorFlow may also be loaded."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('tensorflow.Example'))


def _read_labels(path: Path, count: int) -> list[Any] | None:
    """The labels of NAME-rxx.labels, or NAME.labels for NAME.tfrecords; None without. Raises UserError if they are damaged."""
    match = LEVEL.fullmatch(path.name)
    file = path.with_name(f'{match[1]}-rxx.labels') if match else path.with_suffix('.labels')
    if not file.exists():
        return None
    try:
        with open_regular(file):
            labels = np.load(file, mmap_mode='r', allow_pickle=False)
        if labels.dtype.kind not in 'biuf':
            raise ValueError(f'it holds {labels.dtype}, not numbers')
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as err:
        raise UserError(f'{file}: no labels as np.save writes them ({err}); download it again, or remove it') from err
    if labels.ndim not in (1, 2) or len(labels) != count:
        raise UserError(f'{file}: labels of shape {list(labels.shape)} are not those of {count} images; download it again, or '
                        'remove it')
    if labels.ndim == 2 and not labels.shape[1]:  # of a dataset without labels
        return None
    if not np.isfinite(labels).all():
        raise UserError(f'{file}: has labels that are no numbers; correct or remove it')
    if labels.ndim == 2 and ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    values = labels.tolist()
    names = [f'record {i}' for i in range(count)]
    checked = check_labels(dict(zip(names, values, strict=True)), names, str(file))
    return checked.tolist() if labels.ndim == 1 else values
