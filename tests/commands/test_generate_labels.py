"""generate.py accepts vector labels, and a run directory instead of a snapshot."""

import os
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers import drawing


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Conditional on two numbers."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'two.pkl', 2)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def draw(network, *args):
    return drawing.draw('images', network, '--seeds=0', *args)['seed0000.png']


def test_a_label_may_have_several_numbers(network):
    first, second, between = (draw(network, f'--label={label}') for label in ('1.0,0.0', '0,1', '0.5,-0.25'))
    np.testing.assert_array_equal(first, draw(network, '--class=0'))
    np.testing.assert_array_equal(second, draw(network, '--class=1'))
    assert not np.array_equal(between, first) and not np.array_equal(between, second)


def test_labels_and_their_latents(network):
    status, _, err = drawing.run('images', f'--network={network}', '--label=0.5,1', '--seeds=0,1', '--save-ws=1', '--outdir=o',
                                 '--device=cpu')
    assert (status, err) == (0, '') and np.load('o/ws.npz')['classes'].tolist() == [[0.5, 1], [0.5, 1]]


@pytest.mark.parametrize('args', [['mix', '--rows=0', '--cols=1', '--outdir=o'],
                                  ['traverse', '--seeds=0', '--outdir=o', '--coordinates=0,1'],
                                  ['video', '--seeds=0', '--output=o/x.gif', '--w-frames=2']])
def test_other_commands_take_labels(network, args):
    os.mkdir('o')
    status, _, err = drawing.run(*args, f'--network={network}', '--label=0.5,1', '--device=cpu')
    assert (status, err) == (0, '') and os.listdir('o')


@pytest.mark.parametrize('args,message', [
    (['--label=1'], '--label has 1 numbers, but labels of this network have 2'),
    (['--label=1,2,3'], '--label has 3 numbers, but labels of this network have 2'),
    (['--label=1,x'], "'1,x' is not a list of numbers"), (['--label=1,nan'], 'must be finite'),
    (['--label=1,0', '--class=1'], '--label and --class both'), ([], 'Must specify class label with --class')])
def test_wrong_labels_are_refused(network, args, message):
    status, _, err = drawing.run('images', f'--network={network}', '--seeds=0', '--outdir=o', '--device=cpu', *args)
    assert status == 2 and message in err and not os.path.exists('o')


def test_a_run_directory_is_its_newest_intact_snapshot(network, monkeypatch):
    monkeypatch.setenv('HOME', os.getcwd())
    os.mkdir('run')
    for kimg in (0, 9, 10):
        shutil.copy(network, f'run/network-snapshot-{kimg:06d}.pkl')
    drawing.save_network(Path('run/network-snapshot-000002.pkl'), 0)
    for folder in ('run', '~/run', 'run/'):
        status, out, _ = drawing.run(f'--network={folder}', '--class=1', '--seeds=0', '--outdir=~/o', '--device=cpu')
        assert status == 0 and 'run/network-snapshot-000010.pkl"...' in out
    with PIL.Image.open('o/seed0000.png') as image:
        np.testing.assert_array_equal(np.array(image), draw(network, '--class=1'))
    with open('run/network-snapshot-000010.pkl', 'r+b') as f:
        f.write(b'x')
    status, out, _ = drawing.run('--network=run', '--class=1', '--seeds=0', '--outdir=o', '--device=cpu')
    assert status == 0 and '000010.pkl: corrupt, skipping it\n' in out and '000009.pkl"...' in out


def test_folders_without_networks_and_pipes_are_refused():
    os.mkdir('empty')
    drawing.assert_refused(2, '--network=empty: no network-snapshot-<kimg>.pkl in this directory', 'images', 'empty', '--seeds=0')
    os.mkfifo('pipe.pkl')
    drawing.assert_refused(1, 'pipe.pkl: not a regular file', 'images', 'pipe.pkl', '--seeds=0')
