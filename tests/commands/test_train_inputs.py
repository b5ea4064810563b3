"""train.py looks at everything before it begins, in a dry run too: data, labels, what it resumes from, where it writes."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.dataset_making import make_folder
from helpers.drawing import save_network
from helpers.programs import run_program

import train

SMALL = ['--cbase=64', '--cmax=8', '--batch=8', '--kimg=1', '--metrics=none', '--map-depth=2', '--device=cpu', '--workers=1',
         '--ops=torch', '--aug=noaug', '--z-dim=8']


def dry(*args):
    return run_program(train.main, *SMALL, '--outdir=r', *args, '--dry-run')


def refused(message, *args, status):
    """A dry run ends with one line, and nothing new is there."""
    before = sorted(os.listdir())
    found, _, err = dry(*args)
    assert (found, err.count('\n')) == (status, 1), err
    assert err.startswith('Error: ') and message in err and sorted(os.listdir()) == before


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))


def folder(labels=None, name='d', count=4):
    root = make_folder(Path(name), [f'im{i}.png' for i in range(count)])
    for path in root.glob('*.png'):
        pixels = np.random.RandomState(int(path.stem[2:])).randint(0, 256, (16, 16, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path)
    if labels is not None:
        pairs = [[f'im{i}.png', label] for i, label in enumerate(labels)]
        (root / 'dataset.json').write_text(json.dumps({'labels': pairs}))
    return root


@pytest.mark.parametrize('labels,message', [
    ([20211100, 20211101, 20211102, 20211103], 'label of im0.png is 20211100, which makes 20211101 classes'),
    ([0.1, 0.4, 0.7, 0.95], 'label of im0.png is 0.1, but a class is a whole number'), ([1, 0, -1, 0], 'im2.png is negative'),
    ([[0.5]] * 3 + [[0.5, 1]], 'the labels of im0.png and im3.png differ')])
def test_labels_are_looked_at_where_they_are_used(labels, message):
    folder(labels)
    refused(message, '--data=d', '--cond=1', status=2)
    assert dry('--data=d')[0] == 0


def test_classes_without_images_are_told():
    folder([0, 3, 3, 5])
    status, out, _ = dry('--data=d', '--cond=1')
    assert status == 0 and 'Warning: 3 of 6 classes have no image, and will not be learned: 1, 2, 4\n' in out
    assert 'Warning' not in dry('--data=d')[1]
    status, out, _ = dry('--data=d', '--cond=1', '--subset=1')
    assert status == 0 and 'Warning: 5 of 6 classes have no image' in out


def test_files_that_are_no_images_of_the_dataset_are_told():
    root = folder([0, 1, 0, 1])
    (root / '.ipynb_checkpoints').mkdir()
    shutil.copy(root / 'im0.png', root / '.ipynb_checkpoints' / 'im0-checkpoint.png')
    os.mkfifo(root / 'pipe.png')
    status, out, _ = dry('--data=d', '--cond=1')
    assert status == 0 and 'Number of images:   4\n' in out
    assert 'hidden, thumbnails, recycled): .ipynb_checkpoints/im0-checkpoint.png\n' in out and 'device: pipe.png\n' in out


def test_labels_below_are_named():
    folder([0, 1, 0, 1], 'up/d')
    refused('up/d/dataset.json: labels are read from dataset.json at the root alone', '--data=up', '--cond=1', status=2)


def test_what_it_resumes_from_is_read():
    folder([0, 1, 0, 1])
    refused('gone.pkl', '--data=d', '--resume=gone.pkl', status=1)
    Path('bad.pkl').touch()
    refused('bad.pkl: ', '--data=d', '--resume=bad.pkl', status=1)
    os.mkfifo('pipe.pkl')
    refused('pipe.pkl: not a regular file', '--data=d', '--resume=pipe.pkl', status=1)
    save_network('three.pkl', 3)
    refused('it takes labels of 3 classes or numbers, but the run has labels of 2 classes or numbers; use the',
            '--data=d', '--cond=1', '--resume=three.pkl', status=1)
    status, out, _ = dry('--data=d', '--resume=ffhq256')
    assert status == 0 and 'is not checked: a dry run downloads nothing\n' in out


def test_images_are_looked_at_and_so_is_the_place():
    root = folder()
    (root / 'im3.png').write_bytes(b'no image')
    refused('im3.png: not an image', '--data=d', status=1)
    folder()
    Path('r').touch()
    refused('--outdir: cannot create r/00000-d', '--data=d', status=1)


def test_tilde_is_the_home_folder():
    folder(name='home/d')
    status, out, _ = run_program(train.main, *SMALL, '--data=~/d', '--outdir', '~/runs', '-n')
    assert status == 0 and f'Output directory:   {os.environ["HOME"]}/runs/00000-d' in out and not os.path.exists('~')
    refused('home/gone.pkl', '--data=~/d', '--resume=~/gone.pkl', status=1)


def test_going_on_with_other_images_is_refused():
    """Under the same name; moved or packed, the same images are the same. --resume=<snapshot> asks for others."""
    folder(count=8)
    status, _, err = run_program(train.main, *SMALL, '--data=d', '--outdir=r', '--tick=1', '--snap=1')
    assert status == 0, err
    run, = os.listdir('r')
    assert len(json.loads(Path('r', run, 'training_options.json').read_text())['data_digest']) == 64
    os.makedirs('moved')
    shutil.copytree('d', 'moved/d')
    with zipfile.ZipFile('moved/d.zip', 'w') as z:
        for name in os.listdir('d'):
            z.write(f'd/{name}', name)
    for data in ('d', 'moved/d', 'moved/d.zip'):
        status, out, _ = dry(f'--data={data}', '--resume=latest', '--kimg=2')
        assert status == 0 and f'Output directory:   r/{run}\n' in out
    root = folder(name='other/d', count=8)
    shutil.copy(root / 'im0.png', root / 'im5.png')
    message = f'--data=other/d: has other images or labels than r/{run} was begun with (from d)'
    for resume in ('latest', f'r/{run}'):
        refused(message, '--data=other/d', f'--resume={resume}', '--kimg=2', status=2)
    snapshot = f'r/{run}/network-snapshot-000001.pkl'
    status, out, err = dry('--data=other/d', f'--resume={snapshot}', '--kimg=2')
    assert status == 0 and 'Output directory:   r/00001-d' in out, err
