"""Small datasets in the formats that the published ones come in."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image


def write_idx(folder, split='train', count=6, magic=0x0803, label_count=None, cut=0):
    """MNIST: returns the path of the images' file, and the images, uint8 [count, 28, 28]; their labels go from 0 to 9."""
    images = np.random.RandomState(0).randint(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.compress(struct.pack('>4I', magic, count, 28, 28) + images.tobytes())
    (folder / f'{split}-images-idx3-ubyte.gz').write_bytes(data[:len(data) - cut])
    label_data = struct.pack('>2I', 0x0801, label_count or count) + labels.tobytes()
    (folder / f'{split}-labels-idx1-ubyte.gz').write_bytes(gzip.compress(label_data))
    return folder / f'{split}-images-idx3-ubyte.gz', images


def write_cifar(path: Path, images: np.ndarray, labels: list[int]) -> None:
    """CIFAR-10 or -100 by the name of the file, as Python 2 pickled it. images: uint8 [N, 3, 32, 32]."""
    hundred = path.name.startswith('cifar-100')
    folder = 'cifar-100-python' if hundred else 'cifar-10-batches-py'
    parts = np.array_split(np.arange(len(images)), 1 if hundred else 5)
    with tarfile.open(path, 'w:gz') as tar:
        files = {f'{folder}/{"meta" if hundred else "batches.meta"}': _python2_pickle({'label_names': ['a', 'b']})}
        for number, part in enumerate(parts, 1):
            fields = {'data': images[part].reshape(len(part), -1), 'filenames': [f'{i}.png' for i in part]}
            some = [labels[i] for i in part]
            fields |= ({'fine_labels': some, 'coarse_labels': [0] * len(part)} if hundred else
                       {'labels': some, 'batch_label': f'training batch {number} of 5'})
            files[f'{folder}/{"train" if hundred else f"data_batch_{number}"}'] = _python2_pickle(fields)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _python2_pickle(fields: dict) -> bytes:
    """Protocol 2 with byte strings, which Python 3 does not write: see pickletools for the opcodes."""
    out = b'\x80\x02}('
    for key, value in fields.items():
        out += _string(key.encode())
        if isinstance(value, np.ndarray):
            out += (b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01'
                    + b''.join(map(_number, value.shape)) + b'\x86cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNN'
                    + b'J\xff\xff\xff\xff' * 2 + b'K\0tb\x89' + _string(value.tobytes()) + b'tb')
        elif isinstance(value, str):
            out += _string(value.encode())
        else:
            out += b'](' + b''.join(_number(v) if isinstance(v, int) else _string(v.encode()) for v in value) + b'e'
    return out + b'u.'


def _string(data: bytes) -> bytes:
    return (b'U' + bytes([len(data)]) if len(data) < 256 else b'T' + struct.pack('<i', len(data))) + data


def _number(n: int) -> bytes:
    return b'M' + struct.pack('<H', n)


def write_imagenet(folder: Path, batches: list[tuple[np.ndarray, list[int]]]) -> None:
    """Down-sampled ImageNet. batches: images, uint8 [N, 3, S, S], and labels 1..1000."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (images, labels) in enumerate(batches, 1):
        mean = images.reshape(len(images), -1).mean(axis=0)
        np.savez(folder / f'train_data_batch_{number}.npz', data=images.reshape(len(images), -1), labels=labels, mean=mean)


def write_lsun(folder: Path, images: np.ndarray) -> None:
    """LSUN: WebP files in an LMDB by hexadecimal keys. images: uint8 [N, H, W, 3]. Needs the package lmdb."""
    import lmdb
    with lmdb.open(str(folder), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for i, image in enumerate(images):
            buffer = io.BytesIO()
            PIL.Image.fromarray(image).save(buffer, 'webp', lossless=True)
            transaction.put(f'{i:040x}'.encode(), buffer.getvalue())


def write_tfrecords(path: Path, images: np.ndarray, spoil=lambda number, example: example) -> None:
    """A file of StyleGAN's TFRecords, byte by byte. images: uint8 [N, C, H, W]. spoil: changes an Example before its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b''.join(tfrecord(spoil(i, example(list(image.shape), image.tobytes()))) for i, image in enumerate(images)))


def example(shape: list[int], data: bytes, packed: bool = True) -> bytes:
    """The wire format of tensorflow.Example with `shape` and `data`. packed: how numbers are written."""
    numbers = _field(1, b''.join(map(_varint, shape))) if packed else b''.join(b'\x08' + _varint(n) for n in shape)
    return _field(1, _feature(b'data', _field(1, _field(1, data))) + _feature(b'shape', _field(3, numbers)))


def _feature(key: bytes, value: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, value))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b''
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def tfrecord(data: bytes) -> bytes:
    """A record with its masked checksums."""
    length = struct.pack('<Q', len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF  # CRC32C, bit by bit
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack('<I', (crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF)
