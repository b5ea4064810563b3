"""The folder in which every case runs: a few good datasets and networks, and many bad ones, each wrong in one way."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from helpers.drawing import save_network
from helpers.packed_making import write_cifar, write_idx, write_imagenet, write_lsun, write_tfrecords
from helpers.reported_runs import write_run

from training.networks import Discriminator, Generator
from training.snapshots.file import load_network_snapshot, save_network_snapshot
from training.snapshots.hub import make_config, weights


def make(root: Path) -> None:
    """Fill an empty folder."""
    os.makedirs(root / 'empty')
    (root / 'notes.txt').write_text('neither pixels nor weights\n')
    (root / 'zero').touch()
    make_datasets(root)
    make_sources(root)
    make_networks(root)
    make_runs(root)
    make_option_files(root)
    make_code(root)


# --- Datasets ---


def dataset(path: Path, labels: Sequence[Any] | None = (0, 1, 2) * 3, size: tuple[int, int] = (8, 8), mode: str = 'L',
            count: int = 9, **more: Any) -> None:
    """A ZIP file of random images. size: (width, height). labels: of images 0, 1, ...; None for no dataset.json."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(count):
            with z.open(f'{i}.png', 'w') as f:
                pixels = rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
                PIL.Image.fromarray(pixels, 'RGBA').convert(mode).save(f, format='PNG')
        if labels is not None:
            z.writestr('dataset.json', json.dumps({'labels': [[f'{i}.png', label] for i, label in enumerate(labels)], **more}))


def members(path: Path, files: dict[str, bytes | str]) -> None:
    """A ZIP file of these files."""
    with zipfile.ZipFile(path, 'w') as z:
        for name, data in files.items():
            z.writestr(name, data)


def make_datasets(root: Path) -> None:
    """good.zip is three domains of greyscale images of 8x8 pixels, as net.pkl draws them."""
    dataset(root / 'good.zip')
    dataset(root / 'plain.zip', None)
    dataset(root / 'two.zip', (0, 1) * 4 + (0,))
    dataset(root / 'big.zip', size=(16, 16))
    dataset(root / 'rgb.zip', mode='RGB')
    dataset(root / 'one.zip', (0,), count=1)
    dataset(root / 'tiny.zip', size=(4, 4))
    dataset(root / 'odd.zip', size=(9, 7))
    dataset(root / 'vectors.zip', [[0.5, i / 9, 1] for i in range(9)])
    dataset(root / 'Bilder für später' / 'schöne Bilder.zip')
    for name, labels in dict(negative=[0, -1] + [0] * 7, words=['cat'] * 9, missing=[0, 1], nan=[float('nan')] * 9,
                             huge=[10 ** 9] * 9, fractions=[0.5] * 9, ragged=[[1.0]] * 8 + [[1.0, 2.0]], text='ooo').items():
        dataset(root / f'labels-{name}.zip', labels)
    image = png(8)
    members(root / 'labels-json.zip', {'0.png': image, 'dataset.json': '{"labels": [["0.png", 0]'})
    members(root / 'labels-list.zip', {'0.png': image, 'dataset.json': '[1, 2, 3]'})
    members(root / 'labels-names.zip', {'0.png': image, 'dataset.json': '{"labels": [["other.png", 0]]}'})
    members(root / 'memberless.zip', {})
    members(root / 'wordy.zip', {'notes.txt': 'no image'})
    members(root / 'mixed.zip', {'0.png': image, '1.png': png(16)})
    members(root / 'modes.zip', {'0.png': image, '1.png': png(8, 'RGB')})
    members(root / 'spoilt.zip', {'0.png': image, '1.png': image[:60]})
    members(root / 'disguised.zip', {'0.png': image, '1.png': b'plain text'})
    whole = (root / 'good.zip').read_bytes()
    (root / 'cut.zip').write_bytes(whole[:len(whole) // 2])
    (root / 'zero.zip').touch()
    (root / 'text.zip').write_text('a text that calls itself a ZIP file')
    (root / 'good.tar').write_bytes(whole)
    (root / 'folder.zip').mkdir()
    os.mkfifo(root / 'pipe.zip')


def png(size: int, mode: str = 'L') -> bytes:
    """An image file."""
    from io import BytesIO
    f = BytesIO()
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).convert(mode).save(f, format='PNG')
    return f.getvalue()


def make_sources(root: Path) -> None:
    """What dataset_tool.py alone reads."""
    photos = root / 'photos'
    for i, size in enumerate((8, 16)):
        photos.mkdir(exist_ok=True)
        (photos / f'{i}.png').write_bytes(png(size))
    (root / 'photo.png').write_bytes(png(8))
    (root / 'photo-cut.png').write_bytes(png(16)[:50])
    for folder, name in (('domains', 'a/0.png'), ('domains', 'b/1.png'), ('beside', 'a/0.png'), ('beside', '1.png')):
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(8))
    (root / 'domains.csv').write_text('image,kind\na/0.png,x\nb/1.png,y\n')
    (root / 'others.csv').write_text('image,kind\nc/5.png,x\n')
    (root / 'columnless.csv').write_text('image\na/0.png\n')
    (root / 'labels.bin').write_bytes(bytes(range(256)))
    write_idx(root / 'mnist-cut', cut=40)
    write_idx(root / 'mnist-magic', magic=0x0801)
    write_idx(root / 'mnist-labels', label_count=9)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    cifar = root / 'cifar'
    cifar.mkdir()
    write_cifar(cifar / 'cifar-10-python.tar.gz', pixels, [0] * 10)
    whole = (cifar / 'cifar-10-python.tar.gz').read_bytes()
    (cifar / 'cifar-10-python.tar.gz').write_bytes(whole[:len(whole) // 2])
    write_imagenet(root / 'imagenet', [(pixels.reshape(10, -1), [5000] * 10)])
    write_tfrecords(root / 'cut.tfrecords', pixels[:3])
    whole = (root / 'cut.tfrecords').read_bytes()
    (root / 'cut.tfrecords').write_bytes(whole[:len(whole) // 2])
    (root / 'text.tfrecords').write_text('no record at all, and too long to be one')
    (root / 'hollow_lmdb').mkdir()
    write_lsun(root / 'cut_lmdb', np.zeros([200, 16, 16, 3], dtype=np.uint8))
    database = root / 'cut_lmdb' / 'data.mdb'
    database.write_bytes(database.read_bytes()[:8192])


# --- Networks ---


def make_networks(root: Path) -> None:
    """net.pkl draws what good.zip holds; plain.pkl has no labels."""
    save_network(root / 'net.pkl', 3, 8, 1, cond_mode='flow', i_dim=4)
    save_network(root / 'plain.pkl', 0, 8, 1)
    later(root / 'later.pkl')
    data = (root / 'net.pkl').read_bytes()
    (root / 'cut.pkl').write_bytes(data[:len(data) // 2])
    middle = len(data) // 2
    (root / 'spoilt.pkl').write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:])
    (root / 'zero.pkl').touch()
    (root / 'text.pkl').write_text('a text that calls itself a pickle')
    (root / 'list.pkl').write_bytes(pickle.dumps([1, 2, 3]))
    (root / 'discriminator.pkl').write_bytes(pickle.dumps({'D': None}))
    (root / 'harmful.pkl').write_bytes(pickle.dumps({'G_ema': Harm(root / 'HARMED')}))
    (root / 'checkpoint.pt').write_bytes(data)
    G = load_network_snapshot(str(root / 'net.pkl'), only=('G_ema',)).G_ema
    config, tensors = json.dumps(make_config(G, 8, None)), weights(G)
    hub(root / 'hub', config, tensors)
    hub(root / 'hub-config', config[:50], tensors)
    hub(root / 'hub-weights', config, tensors[:len(tensors) // 2])
    hub(root / 'hub-alone', config, None)
    np.savez(root / 'latents.npz', w=np.zeros([1, 99, 8], np.float32))
    np.savez(root / 'other.npz', x=np.zeros(3))
    (root / 'cut.npz').write_bytes((root / 'latents.npz').read_bytes()[:100])
    (root / 'text.safetensors').write_text('no encoder')


def later(path: Path) -> None:
    """What train.py makes of good.zip with --cbase=64 --z-dim=8 --map-depth=2, after 24 kimg."""
    common = dict(c_dim=0, img_resolution=8, img_channels=1)
    G = Generator(z_dim=8, w_dim=512, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64), **common)
    save_network_snapshot(path, dict(G=G, D=Discriminator(channel_base=64, **common), G_ema=G), {}, 24000)


class Harm:
    """Would write a file where a pickle is executed."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def hub(folder: Path, config: str, tensors: bytes | None) -> None:
    """An exported generator."""
    folder.mkdir()
    (folder / 'config.json').write_text(config)
    if tensors is not None:
        (folder / 'model.safetensors').write_bytes(tensors)


# --- Runs ---


def make_runs(root: Path) -> None:
    """runs/ has run directories, and things that only look like one."""
    run = write_run(root / 'runs' / '00000-good', snapshots=1)
    data = (root / 'net.pkl').read_bytes()
    (run / 'network-snapshot-000024.pkl').write_bytes(data)
    begun = root / 'runs' / '00001-begun'
    begun.mkdir()
    (begun / 'training_options.json').write_text('{}')
    spoilt = root / 'runs' / '00002-spoilt'
    spoilt.mkdir()
    (spoilt / 'network-snapshot-000100.pkl').write_bytes(data[:len(data) // 2])
    (spoilt / 'training_options.json').write_text('{"total_kimg": ')
    (spoilt / 'stats.jsonl').write_text('{"Progress/kimg": \n\0\0\0\n')
    (root / 'foreign').mkdir()
    (root / 'foreign' / 'checkpoint_100.pt').write_bytes(b'PK' + bytes(100))


def make_option_files(root: Path) -> None:
    """For --config."""
    folder = root / 'options'
    folder.mkdir()
    for name, text in {
        'key.yaml': 'gamma: 2\nlerning_rate: 0.1\n', 'near.yaml': 'gama: 2\n',
        'value.yaml': 'batch: many\n', 'twice.yaml': 'gamma: 1\ngamma: 2\n',
        'both.yaml': 'batch_gpu: 1\nbatch-gpu: 2\n', 'nested.yaml': 'gamma: {r1: 2}\n', 'broken.yaml': 'gamma: [1\n',
        'list.yaml': '- gamma\n- 2\n', 'tag.yaml': 'gamma: !!python/object/apply:os.system ["touch HARMED"]\n',
        'call.yaml': 'dry_run: 1\n', 'range.yaml': 'gamma: -1\n', 'null.json': '{"gamma": null}',
        'cut.json': '{"gamma": 1', 'deep.json': '[' * 100_000, 'list.json': '[1]', 'old.json': '{"training_set_kwargs": {}}',
    }.items():
        (folder / name).write_text(text)
    (folder / 'bytes.yaml').write_bytes(b'\xff\xfe\x00gamma')


def make_code(root: Path) -> None:
    """For --method, --classes, --g-class and the like."""
    folder = root / 'code'
    folder.mkdir()
    (folder / 'hollow.py').write_text('x = 1\n')
    (folder / 'generator.py').write_text('class Generator:\n    pass\n')
    (folder / 'syntax.py').write_text('def broken(:\n')
    (folder / 'imports.py').write_text('import no_such_module\n')
