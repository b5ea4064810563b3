"""dataset_tool.py --check: what it says of a dataset, sound or broken."""

import json
import zipfile

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from helpers.dataset_making import make_folder, picture, tool

import dataset_tool
from dnnlib import UserError
from training.data.images import encode_png
from training.data.making import checking
from training.data.making.checking import check_dataset, describe, write_means


def write(path, images, **fields):
    with zipfile.ZipFile(path, 'w') as z:
        for i, image in enumerate(images):
            z.writestr(f'{i}.png', image if isinstance(image, bytes) else encode_png(image))
        if fields:
            z.writestr('dataset.json', json.dumps(fields))
    return str(path)


@pytest.mark.parametrize('workers', [1, 2])
def test_figures_are_those_of_the_images(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(checking, 'PER_TASK', 3)
    images = np.stack([picture(i) for i in (0, 1, 2, 3, 4, 5, 0)])
    labels = [[f'{i}.png', i % 2 * 2] for i in range(7)]
    report = check_dataset(write(tmp_path / 'a.zip', images, labels=labels, domains=['x', 'y', 'z']), workers)
    assert (report.images, report.shape, report.repeated, report.troubles) == (7, [3, 8, 8], 1, [])
    assert report.labels == {0: 4, 2: 3} and report.domains == ['x', 'y', 'z']
    assert report.bytes == (tmp_path / 'a.zip').stat().st_size
    np.testing.assert_allclose(report.means[None], images.mean(axis=0).transpose(2, 0, 1))
    np.testing.assert_allclose(report.means[2], images[1::2].mean(axis=0).transpose(2, 0, 1))
    np.testing.assert_allclose(report.std, images.std(axis=(0, 1, 2)))
    text = describe(report, 'a.zip')
    assert text[0].startswith('a.zip: 7 images, 8x8 RGB, 0.0 MiB')
    assert text[2:5] == ['    0       4  x', '    1       0  y', '    2       3  z']
    assert 'Warning: 1 of the labels 0 to 2 have no image' in text and '1 images are the same as an earlier one' in text
    write_means(report, tmp_path / 'mean.png')
    means = np.array(PIL.Image.open(tmp_path / 'mean.png'))
    assert means.shape == (8, 24, 3)
    np.testing.assert_allclose(means[:, :8], images.mean(axis=0), atol=0.5)


def test_greyscale_without_labels(tmp_path):
    images = np.stack([picture(i, (8, 8)) for i in range(3)])
    report = check_dataset(write(tmp_path / 'a.zip', images))
    write_means(report, tmp_path / 'mean.png')
    np.testing.assert_allclose(np.array(PIL.Image.open(tmp_path / 'mean.png')), images.mean(axis=0), atol=0.5)
    assert report.labels == {} and 'No labels' in describe(report, 'a.zip') and '8x8 greyscale' in describe(report, 'a.zip')[0]


def test_vectors_are_counted(tmp_path):
    labels = [[f'{i}.png', [0.5, i // 2]] for i in range(3)]
    report = check_dataset(write(tmp_path / 'a.zip', [picture(i) for i in range(3)], labels=labels))
    assert report.labels == {(0.5, 0): 2, (0.5, 1): 1}
    assert 'Labels: vectors of 2 numbers, 2 different ones' in describe(report, 'a.zip')


def test_the_command_says_it_and_writes_the_mean_beside_the_dataset(tmp_path):
    tool('--source', make_folder(tmp_path / 'src', ['a/1.png', 'b/2.png']), '--dest', tmp_path / 'x.zip')
    text = tool('--check', tmp_path / 'x.zip')
    assert '    1       1  b' in text and f'Mean image of all, and of each label: {tmp_path}/x-mean.png' in text
    assert PIL.Image.open(tmp_path / 'x-mean.png').size == (24, 8)
    tool('--check', tmp_path / 'src' / 'a', '--dest', tmp_path / 'm.png')
    np.testing.assert_array_equal(np.array(PIL.Image.open(tmp_path / 'm.png')), picture(0))


def test_broken_images_are_named_and_it_fails(tmp_path, capsys):
    data = encode_png(picture(1))
    path = write(tmp_path / 'a.zip', [picture(0), data[:-60], b'hello', encode_png(picture(2, (4, 4, 3)))])
    with pytest.raises(UserError, match=r'a\.zip: 3 of 4 images are broken'):
        checking.check(path, None, 1)
    text = capsys.readouterr().out
    assert text.count('Broken: ') == 3 and '1.png in' in text and 'a.zip: 1 images' in text


def test_what_cannot_be_trained_on_fails(tmp_path):
    with pytest.raises(UserError, match='20x20'):
        checking.check(write(tmp_path / 'a.zip', [picture(0, (18, 20, 3))]), None, 1)
    with pytest.raises(UserError, match=r'no label for 1\.png'):
        checking.check(write(tmp_path / 'b.zip', [picture(0), picture(1)], labels=[['0.png', 0]]), None, 1)
    with pytest.raises(UserError, match='cannot be written'):
        checking.check(write(tmp_path / 'c.zip', [picture(0)]), str(tmp_path / 'c.zip' / 'x.png'), 1)


@pytest.mark.parametrize('args', [['--check=x', '--source=y'], ['--dest=x'], ['--source=x']])
def test_wrong_options_exit_with_2(args):
    assert CliRunner().invoke(dataset_tool.main, args).exit_code == 2
