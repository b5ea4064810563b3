"""Everything that reads foreign bytes, each as a function of bytes, with valid files to begin from.

A target may refuse its input with UserError or RecordError. Anything else that it raises is a crash; two seconds and 500 MB, too.

LMDB is no target: lmdb's own library reads it and may crash. It does so in another process (training/data/making/lsun.py), which
costs half a second a file; tests/training/data/making/test_lsun.py has corrupt ones.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib.util import UserError
from torch_utils.safe_pickle import RecordError

REFUSALS = (UserError, RecordError)
LARGEST_ARRAY = 1 << 20  # bytes of what is looked at: the same code reads larger ones


def in_file(name: str) -> Callable:
    """Hands the bytes over as a file of this name in a folder of its own."""
    def decorate(read: Callable[[Path], None]) -> Callable[[bytes], None]:
        @functools.wraps(read)
        def target(data: bytes) -> None:
            path = Path(_folder(), name)
            path.write_bytes(data)
            read(path)
        return target
    return decorate


@functools.cache
def _folder() -> str:
    """One for the whole process; in memory where the system has such a place."""
    memory = '/dev/shm' if Path('/dev/shm').is_dir() else None
    _folder.kept = tempfile.TemporaryDirectory(dir=memory, prefix='fuzz')  # removed at the end
    return _folder.kept.name


@in_file('network.pkl')
def snapshot(path: Path) -> None:
    """A network snapshot: own, published, or of TensorFlow."""
    from training.snapshots.file import load_network_snapshot
    load_network_snapshot(str(path))


def arrays(data: bytes) -> None:
    """A pickle of arrays, as in CIFAR's archives."""
    from torch_utils import safe_pickle
    from torch_utils.pickled_arrays import numpy_names
    safe_pickle.load(io.BytesIO(data), numpy_names)


@in_file('state.pt')
def training_state(path: Path) -> None:
    """What a run resumes from."""
    from training.run.state import _read
    _read(str(path))


@in_file('images.zip')
def zip_file(path: Path) -> None:
    """A ZIP file: all members."""
    from dnnlib.archive import ZipArchive
    archive = ZipArchive(path)
    for name in archive.names[:20]:
        with archive.open(name) as f:
            f.read(LARGEST_ARRAY)


@in_file('dataset.json')
def labels(path: Path) -> None:
    """dataset.json, with labels, contents and factors."""
    from dnnlib.archive import open_archive
    from training.data.labels import check_labels, find_labels, read_label_file
    found = read_label_file(open_archive(path.parent))
    for some in (found.labels, found.content):
        if some:
            chosen, _ = find_labels(some, ['0.png', '1.png'])
            if chosen:
                check_labels(chosen, list(chosen), 'dataset.json')


def image(data: bytes) -> None:
    """An image file: its header, and its pixels."""
    from training.data.images import decode, read_header
    header = read_header(io.BytesIO(data), 'image')
    if header.width * header.height <= LARGEST_ARRAY:
        decode(data, 'image', mode='rgb')


@in_file('train-images-idx3-ubyte.gz')
def idx_gz(path: Path) -> None:
    """A file of MNIST."""
    from training.data.making.mnist import _read_idx
    with open(path, 'rb') as f:
        _read_idx(f, (0x0803, 28, 28))


def idx(data: bytes) -> None:
    """What a file of MNIST compresses."""
    idx_gz(gzip.compress(data, 1))


@in_file('data-r02.tfrecords')
def records(path: Path) -> None:
    """TFRecords."""
    from training.data.making.tfrecords import open_tfrecords
    images, _ = open_tfrecords(path)
    for read, _, _ in images:
        try:
            read()
        except UserError:
            continue  # as --on-error=skip does


@in_file('train_data_batch_1.npz')
def npz(path: Path) -> None:
    """A batch of down-sampled ImageNet."""
    from training.data.making.packed import open_imagenet_npz
    images, _ = open_imagenet_npz(str(path.parent))
    for _ in images:
        pass


def hub(data: bytes) -> None:
    """An exported generator: config.json up to the first zero byte, then model.safetensors."""
    from training.snapshots.hub import load_export
    config, _, weights = data.partition(b'\0')
    folder = Path(_folder(), 'hub')
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_bytes(config)
    (folder / 'model.safetensors').write_bytes(weights)
    load_export(str(folder), ('G_ema',))


_ALL = (snapshot, arrays, training_state, zip_file, labels, image, idx, idx_gz, records, npz, hub)
TARGETS: dict[str, Callable[[bytes], None]] = {target.__name__: target for target in _ALL}


# --- Valid files ---


def seeds(name: str) -> Iterator[bytes]:
    """Small inputs that a target takes."""
    yield from {'snapshot': _snapshots, 'arrays': _arrays, 'training_state': _states, 'zip_file': _zips, 'labels': _labels,
                'image': _images, 'idx': _idx, 'idx_gz': lambda: map(gzip.compress, _idx()), 'records': _records, 'npz': _npz,
                'hub': _hub}[name]()


@functools.cache
def _networks() -> dict:
    from training.networks import Discriminator, Generator
    width = dict(channel_base=16, channel_max=2, img_resolution=8, img_channels=1, c_dim=2)
    G = Generator(z_dim=2, w_dim=2, img_resolution=8, img_channels=1, c_dim=2, mapping_kwargs=dict(num_layers=1),
                  synthesis_kwargs=dict(channel_base=16, channel_max=2))
    return dict(G=G, D=Discriminator(mapping_kwargs=dict(num_layers=1), **width), G_ema=G)


def _snapshots() -> Iterator[bytes]:
    from training.snapshots.file import write_network_snapshot
    f = io.BytesIO()
    write_network_snapshot(f, _networks(), dict(class_name='training.dataset.ImageFolderDataset', path='x'),
                           cur_nimg=8)
    yield f.getvalue()


def _arrays() -> Iterator[bytes]:
    for protocol in (0, 2, 4):
        yield pickle.dumps({b'data': np.arange(12, dtype=np.uint8).reshape(2, 6), b'labels': [1, 2]}, protocol)


def _states() -> Iterator[bytes]:
    import torch
    f = io.BytesIO()
    progress = dict(cur_nimg=8, tick=1, tick_start_nimg=8)
    torch.save(dict(format=1, progress=progress, optimizers={'G': {'w': {'step': torch.zeros(2)}}}, terms={}, ada=None), f)
    yield f.getvalue()


def _zips() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        f = io.BytesIO()
        with zipfile.ZipFile(f, 'w', method) as z:
            z.writestr('0/a.png', b'pixels' * 20)
            z.writestr('dataset.json', '{}')
        yield f.getvalue()


def _labels() -> Iterator[bytes]:
    contents = [['0.png', 3], ['1.png', 4]]
    yield json.dumps(dict(labels=[['0.png', 0], ['1.png', 1]], domains=['a', 'b'], content=contents)).encode()
    yield json.dumps(dict(labels=[['0.png', [0.5, 1]], ['1.png', [2, 3]]], factor_names=[['x', 'number', 'style']],
                          factors=[['0.png', [0.5]], ['1.png', [1.5]]])).encode()


def _images() -> Iterator[bytes]:
    for mode, kind in (('RGB', 'PNG'), ('LA', 'PNG'), ('P', 'PNG'), ('I;16', 'PNG'), ('L', 'JPEG'), ('RGB', 'WEBP'),
                       ('RGB', 'BMP')):
        f = io.BytesIO()
        PIL.Image.new(mode, (4, 4)).save(f, format=kind)
        yield f.getvalue()


def _idx() -> Iterator[bytes]:
    yield b'\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c' + bytes(2 * 28 * 28)


def _records() -> Iterator[bytes]:
    from training.data.making.tfrecords import _checksum, _example
    example, crc = _example()(), _checksum()
    example.features.feature['shape'].int64_list.value.extend([1, 4, 4])
    example.features.feature['data'].bytes_list.value.append(bytes(16))
    data = example.SerializeToString()
    head = len(data).to_bytes(8, 'little')
    yield (head + crc(head).to_bytes(4, 'little') + data + crc(data).to_bytes(4, 'little')) * 2


def _npz() -> Iterator[bytes]:
    f = io.BytesIO()
    np.savez(f, data=np.zeros([2, 48], np.uint8), labels=np.array([1, 2]))
    yield f.getvalue()


def _hub() -> Iterator[bytes]:
    from training.snapshots import hub as exported
    G = _networks()['G_ema']
    yield json.dumps(exported.make_config(G, 8, None)).encode() + b'\0' + exported.weights(G)
