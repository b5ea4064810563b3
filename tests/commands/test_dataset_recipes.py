"""The commands of datasets/README.md and docs/datasets.md, and those published with the methods, run on stand-ins."""

import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_making import content, picture, save, tool
from helpers.font_making import make_font
from helpers.packed_making import write_cifar, write_idx, write_imagenet, write_lsun, write_tfrecords

from training.data.making import mnist

ROOT = Path(__file__).parents[2]
PAGES = ''.join((ROOT / page).read_text(encoding='utf-8') for page in ('datasets/README.md', 'docs/datasets.md'))

FONTS = re.findall(r'fonts/(\w+)\.ttf', PAGES)

# As published, but for the places of downloads.
PUBLISHED = '''
dataset_tool.py --source=images1024x1024 --dest=datasets/ffhq.zip
dataset_tool.py --source=images1024x1024 --dest=datasets/ffhq256x256.zip --width=256 --height=256
dataset_tool.py --source=images1024x1024 --dest=datasets/ffhq256x256.zip --width=256 --height=256 --resize-filter=box
dataset_tool.py --source=images1024x1024 --dest=datasets/ffhq-256x256.zip --resolution=256x256
dataset_tool.py --source=metfaces/images --dest=datasets/metfaces.zip
dataset_tool.py --source=afhq/train/cat --dest=datasets/afhqcat.zip
dataset_tool.py --source=afhq/train/dog --dest=datasets/afhqdog.zip
dataset_tool.py --source=afhq/train --dest=datasets/afhq.zip --width=256 --height=256
dataset_tool.py --source=cifar-10-python.tar.gz --dest=datasets/cifar10.zip
dataset_tool.py --source=cifar-100-python.tar.gz --dest=datasets/cifar100.zip
dataset_tool.py --source cat_lmdb --dest datasets/lsuncat200k.zip --transform=center-crop --width=256 --height=256 --max_images=200000
dataset_tool.py --source car_lmdb --dest datasets/lsuncar200k.zip --transform=center-crop-wide --width=512 --height=384 --max_images=200000
dataset_tool.py --source=downloads/train-images-idx3-ubyte.gz --dest=datasets/mnist.zip
dataset_tool.py --source=images1024x1024 --dest=datasets/folder --max-images=1
'''  # noqa: E501


def commands(text):
    joined = text.replace('\\\n', ' ')
    return [line for line in re.findall(r'^ *(?:python )?dataset_tool\.py (.*)$', joined, re.M) if '--check' not in line]


@pytest.fixture(scope='module')
def downloads(tmp_path_factory):
    """Stand-ins, with two images or so each, under the names of the published files."""
    root = tmp_path_factory.mktemp('downloads')
    for folder in ('images1024x1024', 'metfaces/images', 'photos', 'afhq/train/cat', 'afhq/train/dog', 'afhq/train/wild',
                   'celeba_hq/train/female', 'celeba_hq/train/male'):
        for i in range(2):
            save(root / folder / f'{i:05d}.png', picture(i, (32, 32, 3)))
    for i in range(2):
        save(root / 'img_align_celeba' / f'{i + 1:06d}.jpg', picture(i, (218, 178, 3)))
    (root / 'list_attr_celeba.txt').write_text('2\nBald Male\n000001.jpg -1  1\n000002.jpg -1 -1\n')
    rgb = np.stack([picture(i, (3, 32, 32)) for i in range(10)])
    for name in ('cifar-10-python.tar.gz', 'cifar-100-python.tar.gz'):
        write_cifar(root / name, rgb, list(range(10)))
    write_imagenet(root / 'imagenet64', [(rgb, list(range(1, 11)))])
    for level in (4, 5):
        write_tfrecords(root / 'tfrecords' / 'ffhq' / f'ffhq-r{level:02d}.tfrecords', rgb[:2, :, :2 ** level, :2 ** level])
    for i, vendor in enumerate(('google', 'twitter')):
        for code in range(0x1F600, 0x1F60B):
            folder = root / 'node_modules' / f'emoji-datasource-{vendor}' / 'img' / vendor / '64'
            save(folder / f'{code:x}.png', picture(code + 100 * i, (64, 64, 4)))
            save(root / 'package/img/twitter/64' / f'{code:x}.png', picture(code, (64, 64, 4)))
    (root / 'fonts').mkdir()
    for name in FONTS:
        make_font(root / 'fonts' / f'{name}.ttf', ''.join(map(chr, range(0xAC00, 0xAC00 + 12))))
    write_idx(root / 'downloads', count=10)
    try:
        write_lsun(root / 'church_outdoor_train_lmdb', np.stack([picture(0, (300, 260, 3))]))
        write_lsun(root / 'cat_lmdb', np.stack([picture(0, (300, 260, 3))]))
        write_lsun(root / 'car_lmdb', np.stack([picture(0, (384, 512, 3)), picture(0, (384, 512, 3))]))
    except ImportError:
        pass
    return root


@pytest.mark.parametrize('command', commands(PAGES) + commands(PUBLISHED))
def test_it_runs_as_it_stands(downloads, monkeypatch, command):
    if '_lmdb' in command:
        pytest.importorskip('lmdb')
    if 'tfrecords' in command:
        pytest.importorskip('google_crc32c')
    monkeypatch.chdir(downloads)
    monkeypatch.setattr(mnist, 'find_mnist', lambda split='train': (*mnist.read_mnist(
        downloads / 'downloads' / 'train-images-idx3-ubyte.gz'), 'a stand-in'))
    args = shlex.split(command)
    dest = Path(next(b if a == '--dest' else a.partition('=')[2] for a, b in zip(args, [*args[1:], ''], strict=True)
                     if a.startswith('--dest')))
    text = tool(*args)
    if dest.suffix == '.zip':
        names = zipfile.ZipFile(dest).namelist()
        fields = content(dest)
        assert names[-1] == 'dataset.json' and f'{len(names) - 1} images' in text
        expected = {'afhq': ['cat', 'dog', 'wild'], 'celebahq': ['female', 'male'], 'celeba-male': ['Male=-1', 'Male=1'],
                    'mnist-dependent': ['digit_colored', 'rbg_colored']}.get(dest.stem)
        assert expected is None or fields['domains'] == expected
        dest.unlink()
    tool('--check', dest, '--dest', downloads / 'mean.png') if dest.is_dir() else None


def test_every_dataset_of_the_table_has_its_command():
    assert len(commands(PAGES)) >= 22
