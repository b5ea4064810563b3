"""Datasets in their published formats, converted by the command and trained on for one tick."""

import json

import numpy as np
import pytest
from helpers.dataset_making import save, tool
from helpers.packed_making import write_cifar, write_idx, write_imagenet, write_lsun, write_tfrecords
from helpers.small_runs import config, run, stats

from training.data.dataset import ImageFolderDataset
from training.run import sample_grid

RNG = np.random.RandomState(0)
COUNT = 12
IMAGES = RNG.randint(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)
LABELS = [i * 7 % 10 for i in range(COUNT)]


def mnist(folder):
    path, images = write_idx(folder / 'mnist', count=COUNT)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2)])[:, None]
    return [path], padded, [i % 10 for i in range(COUNT)]


def dependent_mnist(folder):
    path, _ = write_idx(folder / 'mnist', count=COUNT)
    return [path, '--domains=dependent'], None, [0, 1] * COUNT


def cifar10(folder):
    write_cifar(folder / 'cifar-10-python.tar.gz', IMAGES, LABELS)
    return [folder / 'cifar-10-python.tar.gz'], IMAGES, LABELS


def cifar100(folder):
    write_cifar(folder / 'cifar-100-python.tar.gz', IMAGES, [label * 11 for label in LABELS])
    return [folder / 'cifar-100-python.tar.gz'], IMAGES, [label * 11 for label in LABELS]


def imagenet(folder):
    labels = [label + 1 for label in LABELS]
    write_imagenet(folder / 'imagenet', [(IMAGES[:7], labels[:7]), (IMAGES[7:], labels[7:])])
    return [folder / 'imagenet'], IMAGES, LABELS


def lsun(folder):
    pytest.importorskip('lmdb')
    wide = np.pad(IMAGES.transpose(0, 2, 3, 1), [(0, 0), (3, 4), (0, 0), (0, 0)])
    write_lsun(folder / 'church_outdoor_train_lmdb', wide)
    return [f'{folder}/church_outdoor_train_lmdb', '--transform=center-crop', '--width=32', '--height=32'], IMAGES, None


def ffhq(folder):
    pytest.importorskip('google_crc32c')
    write_tfrecords(folder / 'ffhq' / 'ffhq-r05.tfrecords', IMAGES)
    write_tfrecords(folder / 'ffhq' / 'ffhq-r04.tfrecords', IMAGES[:, :, ::2, ::2])
    return [folder / 'ffhq'], IMAGES, None


def afhq(folder):
    for i, image in enumerate(IMAGES):
        save(folder / 'afhq' / 'train' / ('cat', 'dog', 'wild')[i % 3] / f'{i:03d}.png', image.transpose(1, 2, 0))
    order = [i for k in range(3) for i in range(k, COUNT, 3)]
    return [folder / 'afhq' / 'train', '--width=32', '--height=32'], IMAGES[order], [i % 3 for i in order]


def celeba(folder):
    rows = []
    for i, image in enumerate(IMAGES):
        larger = np.pad(image.transpose(1, 2, 0), [(10, 20), (3, 3), (0, 0)], 'edge')
        save(folder / 'img_align_celeba' / f'{i + 1:06d}.png', larger)
        rows.append(f'{i + 1:06d}.png  {"1" if i % 3 == 0 else "-1"} -1')
    (folder / 'list_attr_celeba.txt').write_text('\n'.join([str(COUNT), 'Male Young', *rows]))
    args = ['--crop=32x32+3+10', '--labels', folder / 'list_attr_celeba.txt', '--label-column=Male']
    return [folder / 'img_align_celeba', *args], IMAGES, [int(i % 3 == 0) for i in range(COUNT)]


@pytest.mark.parametrize('make', [mnist, dependent_mnist, cifar10, cifar100, imagenet, lsun, ffhq, afhq, celeba])
def test_converted_and_trained_on(tmp_path, monkeypatch, make):
    monkeypatch.setattr(sample_grid, 'choose_grid', lambda *_, **__: ((2, 1), [0, 1]))  # pictures take most of the time
    args, images, labels = make(tmp_path)
    tool('--source', *args, '--dest', tmp_path / 'out.zip')
    assert '32x32' in tool('--check', tmp_path / 'out.zip')
    data = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    if images is not None:
        np.testing.assert_array_equal(np.stack([data[i][0] for i in range(len(data))]), images)
    assert (labels is None) == (not data.has_labels)
    if labels is not None:
        assert [int(data.get_details(i).raw_label) for i in range(len(data))] == labels
    run(config(str(tmp_path / 'out.zip'), tmp_path / 'run', batch_size=2, batch_gpu=2, ema_kimg=0.1), steps=1)
    assert np.isfinite(stats(tmp_path / 'run')[-1]['Loss/D/loss']['mean']), json.dumps(stats(tmp_path / 'run')[-1])
