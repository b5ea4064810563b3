"""dataset_tool.py loses nothing in silence: images are written, or counted and named; labels are right, or refused."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.dataset_making import content, make_folder, picture, refused, save, tool
from helpers.programs import run_program

import dataset_tool

ROOT = Path(__file__).parents[2]


def names(path):
    return [name for name in zipfile.ZipFile(path).namelist() if name.endswith('.png')]


def labels(path):
    return [label for _, label in content(path)['labels']]


def test_what_is_not_written_is_named(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png', 'b.png', '.c.png', '.ipynb_checkpoints/a-checkpoint.png',
                                            'runs/00000-x/reals.png', 'old/00000/img00000000.png'])
    (source / 'runs/00000-x/training_options.json').write_text('{}')
    (source / 'old/dataset.json').write_text('{"labels": [["00000/img00000000.png", 1]]}')
    (source / 'IMG_1.HEIC').write_bytes(b'')
    os.mkfifo(source / 'pipe.png')
    text = tool('--source', source, '--dest', tmp_path / 'o.zip')
    assert len(names(tmp_path / 'o.zip')) == 2 and content(tmp_path / 'o.zip') == {'labels': None}
    for line in ('Left out: 2 made by other programs (hidden, thumbnails, recycled): .c.png, .ipynb_checkpoints/a-checkpoint.png',
                 'Left out: 1 in a run directory: runs/00000-x/reals.png\n',
                 'Left out: 1 in a dataset that was converted before: old/00000/img00000000.png\n',
                 'Left out: 1 of types that cannot be read; convert them first: IMG_1.HEIC\n',
                 'Left out: 1 a pipe, socket or device: pipe.png\n'):
        assert line in text


def test_images_beside_sub_folders_are_not_lost(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png', 'b.png', 'rejected/c.png'])
    refused(tmp_path, 'has 2 images beside its sub-folders (a.png, b.png), and 1 in them (rejected); --domains=none takes all',
            '--source', source)
    tool('--source', source, '--dest', tmp_path / 'all.zip', '--domains=none')
    assert len(names(tmp_path / 'all.zip')) == 3 and content(tmp_path / 'all.zip') == {'labels': None}


def test_images_that_are_too_small_are_named(tmp_path, capfd):
    source = make_folder(tmp_path / 'src', ['a.png'])
    save(source / 'b.png', picture(1, (16, 16, 3)))
    tool('--source', source, '--dest', tmp_path / 'o.zip', '--transform=center-crop-wide', '--width=16', '--height=16')
    assert len(names(tmp_path / 'o.zip')) == 1


@pytest.mark.parametrize('folders,expected', [
    (['10', '9', '1'], ['1', '9', '10']), (['00014', '00000', '00001'], ['00000', '00001', '00014']),
    (['class10', 'class2'], ['class2', 'class10']), (['b2', 'a10', 'a9'], ['a10', 'a9', 'b2'])])
def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path, folders, expected):
    source = make_folder(tmp_path / 'src', [f'{folder}/x.png' for folder in folders])
    tool('--source', source, '--dest', tmp_path / 'o.zip')
    assert content(tmp_path / 'o.zip')['domains'] == expected and labels(tmp_path / 'o.zip') == list(range(len(folders)))


def test_folders_that_are_no_domains_are_mentioned(tmp_path):
    source = make_folder(tmp_path / 'src', ['cat/x.png', 'dog/x.png'])
    shutil.make_archive(str(tmp_path / 'src'), 'zip', source)
    hint = 'Its sub-folders are no domains (cat, dog); --domains=folders makes them\n'
    assert hint in tool('--source', tmp_path / 'src.zip', '--dest', tmp_path / 'o.zip')
    (source / 'dataset.json').write_text('{"labels": null}')
    assert hint in tool('--source', source, '--dest', tmp_path / 'o.zip')
    (source / 'dataset.json').unlink()
    source.rename(tmp_path / 'up')
    source.mkdir()
    (tmp_path / 'up').rename(source / 'train')
    text = tool('--source', source, '--dest', tmp_path / 'o.zip')
    assert f'Warning: train is the only domain; its sub-folders cat, dog are none: for that, give {source}/train' in text


@pytest.mark.parametrize('entries,message', [
    ([['x/a.png', 0], ['x/b.png', 1]], "no label for a.png and 1 other images; its entry 'x/a.png' fits no image"),
    ([['a.png', 0.5], ['b.png', 1]], 'the label of a.png is 0.5, but a class is a whole number'),
    ([['a.png', 0], ['b.png', -1]], 'the label of b.png is negative'),
    ([['a.png', 0], ['b.png', [1]]], 'the labels of a.png and b.png differ'),
    ([['a.png', 20211103], ['b.png', 1]], 'the label of a.png is 20211103'),
    ([['a.png', 0], ['a.png', 2], ['b.png', 1]], 'a.png has two different labels'),
])
def test_wrong_labels_are_refused(tmp_path, entries, message):
    source = make_folder(tmp_path / 'src', ['a.png', 'b.png'])
    (source / 'dataset.json').write_text(json.dumps({'labels': entries}))
    refused(tmp_path, message, '--source', source)


def test_right_labels_are_kept_and_the_rest_is_counted(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png', 'B.png', '.ipynb_checkpoints/a.png'])
    (source / 'dataset.json').write_text('{"labels": [["./a.png", 1.0], ["b.PNG", 0], ["gone.png", 5]]}')
    text = tool('--source', source, '--dest', tmp_path / 'o.zip')
    assert "1 entries of dataset.json fit no image, such as 'gone.png'\n" in text
    assert labels(tmp_path / 'o.zip') == [0, 1] and all(type(label) is int for label in labels(tmp_path / 'o.zip'))


def test_labels_one_level_down_are_refused(tmp_path):
    source = make_folder(tmp_path / 'up' / 'set', ['a.png', 'b.png']).parent
    (source / 'set' / 'dataset.json').write_text('{"labels": [["a.png", 0], ["b.png", 1]]}')
    refused(tmp_path, 'set/dataset.json: labels are read from dataset.json at the root alone', '--source', source)
    tool('--source', source, '--dest', tmp_path / 'o.zip', '--domains=folders')
    assert labels(tmp_path / 'o.zip') == [0, 0]


def test_photographs_are_upright_and_colour_keys_refused(tmp_path):
    exif, pixels = PIL.Image.Exif(), picture(0)
    exif[0x0112] = 6
    (tmp_path / 'src').mkdir()
    PIL.Image.fromarray(pixels).save(tmp_path / 'src' / 'a.png', exif=exif)
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'o.zip')
    written = np.array(PIL.Image.open(io.BytesIO(zipfile.ZipFile(tmp_path / 'o.zip').read(names(tmp_path / 'o.zip')[0]))))
    np.testing.assert_array_equal(written, np.rot90(pixels, -1))
    PIL.Image.fromarray(pixels).save(tmp_path / 'src' / 'a.png', transparency=tuple(pixels[0, 0].tolist()))
    refused(tmp_path, 'not with 4 channels; use --mode=rgb', '--source', tmp_path / 'src')


@pytest.mark.parametrize('args,status,message', [
    (['--source=pipe.zip'], 1, 'not a regular file, but a pipe'),
    (['--source=src', '--labels=pipe.csv'], 1, 'not a regular file'),
    (['--source=src/train-images-idx3-ubyte.gz'], 1, 'regular file'),
    (['--source=cifar-10-python.tar.gz'], 1, 'regular file')])
def test_pipes_do_not_hang(tmp_path, monkeypatch, args, status, message):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / 'src', ['a.png'])
    for name in ('pipe.zip', 'pipe.csv', 'src/train-images-idx3-ubyte.gz', 'cifar-10-python.tar.gz'):
        os.mkfifo(name)
    found, _, err = run_program(dataset_tool.main, *args, '--dest=o.zip')
    assert found == status and message in err and err.count('\n') == 1 and not os.path.exists('o.zip')


def test_a_closed_terminal_leaves_nothing_half_written(tmp_path):
    """SIGHUP ends the conversion with what it began removed; under nohup it goes on."""
    code = f'''if True:
        import runpy, signal, sys, time
        import training.data.making.sources as sources
        real = sources.SourceImage.load
        def load(self):
            print('ready', flush=True)
            time.sleep(0.5)
            return real(self)
        sources.SourceImage.load = load
        sys.argv = ['dataset_tool.py', '--source={tmp_path}/src', '--dest={tmp_path}/o.zip', '--workers=1']
        if {{ignored}}:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        runpy.run_path('dataset_tool.py', run_name='__main__')
    '''
    make_folder(tmp_path / 'src', ['a.png', 'b.png'])
    for ignored, status in ((False, 129), (True, 0)):
        process = subprocess.Popen([sys.executable, '-c', code.replace('{ignored}', str(ignored))], cwd=ROOT, text=True,
                                   stdout=subprocess.PIPE)
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
        assert process.returncode == status
        assert sorted(path.name for path in tmp_path.iterdir()) == (['o.zip', 'src'] if ignored else ['src'])
