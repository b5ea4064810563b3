"""Networks and datasets of the user's own: the example of docs/own-networks.md, and what is refused."""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.programs import run_program

import calc_metrics
import generate
import train
from dnnlib.plugins import load_object
from dnnlib.util import UserError
from training.data.protocol import Dataset
from training.snapshots import classes
from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import main as snapshot_tool

ROOT = Path(__file__).parents[2]
DOC = (ROOT / 'docs' / 'own-networks.md').read_text(encoding='utf-8')
CODE = re.search(r'```python\n(.*?)```', DOC, re.DOTALL)[1]
COMMANDS = [line for line in re.search(r'```\n(python .*?)```', DOC, re.DOTALL)[1].splitlines() if line]
OWN = ['--g-class=dcgan.py:Generator', '--d-class=dcgan.py:Discriminator', '--dataset-class=dcgan.py:Arrays']
SMALL = ['--cond=1', '--z-dim=16', '--batch=50', '--data=blobs.npz', '--outdir=runs', '--device=cpu', '--metrics=none',
         '--workers=1']


def prepare(folder):
    """dcgan.py of the documentation, and blobs.npz: 60 images of 8x8 with a bright blob, whose place is the label."""
    (folder / 'dcgan.py').write_text(CODE)
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 100, (60, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label:2 * label + 3, 3:5] = 255
    np.savez(folder / 'blobs.npz', images=images, labels=labels)
    return folder


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a run of 1 kimg in `runs`; the network snapshot."""
    folder = prepare(tmp_path_factory.mktemp('own'))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        status, _, err = run_program(train.main, *OWN, *SMALL, '--kimg=1')
    assert status == 0, err
    return next(folder.glob('runs/*/network-snapshot-000001.pkl'))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(prepare(tmp_path))
    return tmp_path


@pytest.fixture
def beside(trained, monkeypatch):
    """Work in the folder of the run."""
    monkeypatch.chdir(trained.parents[2])
    return trained


@pytest.mark.slow
def test_the_example_works_as_it_is_documented(tmp_path):
    prepare(tmp_path)
    assert [command.split()[1] for command in COMMANDS] == ['train.py', 'train.py', 'generate.py', 'calc_metrics.py', '-m']
    printed = []
    for command in COMMANDS:
        network = next(iter(tmp_path.glob('runs/*/network-snapshot-000002.pkl')), '')
        words = shlex.split(command.replace('NETWORK', str(network)))[1:]
        program = [str(ROOT / words[0]), *words[1:]] if words[0].endswith('.py') else words
        done = subprocess.run([sys.executable, *program], cwd=tmp_path, text=True, capture_output=True,
                              env={**os.environ, 'PYTHONPATH': str(ROOT)})
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
        printed.append(done.stdout)
    assert 'Optimisers and counters restored' in printed[1] and 'from 1 kimg' in printed[1]
    assert len(list(tmp_path.glob('out/*.png'))) == 4
    results = [json.loads(line)['results'] for line in printed[3].splitlines() if line.startswith('{')]
    assert results[0]['content_dims'] == 16 and results[1]['fd60_efficientnet_full'] > 0
    assert re.search(r'^method +dcgan.Generator$', printed[4], re.MULTILINE)


def test_the_snapshot_keeps_names_arguments_and_weights_but_no_code(trained):
    with trained.open('rb') as f:
        document = pickle.load(f)
    assert {name: document[name]['class_name'] for name in ('G', 'D', 'G_ema')} == {
        'G': 'dcgan.Generator', 'D': 'dcgan.Discriminator', 'G_ema': 'dcgan.Generator'}
    assert document['G']['init_kwargs'] == dict(z_dim=16, c_dim=3, img_resolution=8, img_channels=1)
    assert str(trained.parents[2]) not in str(document['G']['class_name'])


def test_a_snapshot_is_read_with_the_classes_that_the_caller_chose(beside, tmp_path):
    generator, discriminator = (load_object(f'dcgan.py:{name}') for name in ('Generator', 'Discriminator'))
    snapshot = load_network_snapshot(str(beside), classes=[generator, discriminator])
    assert type(snapshot.G_ema) is generator and type(snapshot.D) is discriminator
    images = snapshot.G_ema(torch.zeros(2, 16), torch.eye(3)[:2])
    assert images.shape == (2, 1, 8, 8) and images.isfinite().all()
    (tmp_path / 'moved.py').write_text(CODE)
    moved = load_object(f'{tmp_path}/moved.py:Generator')
    assert type(load_network_snapshot(str(beside), only=('G_ema',), classes=[moved]).G_ema) is moved


COMMAND_LINES = {
    'generate': (generate.main, ['--seeds=0-1', '--class=1', '--outdir=out', '--device=cpu']),
    'metrics': (calc_metrics.main, ['--metrics=jacobian', '--device=cpu']),
    'info': (snapshot_tool, ['info']),
    'export': (snapshot_tool, ['export', '--outdir=exported', '--device=cpu']),
}


@pytest.mark.parametrize('name', COMMAND_LINES)
def test_commands_need_the_choice_of_the_classes(beside, name, tmp_path):
    command, args = COMMAND_LINES[name]
    first = [args[0]] if name in ('info', 'export') else []
    rest = [arg.replace('outdir=', f'outdir={tmp_path}/') for arg in args[len(first):]]
    status, _, err = run_program(command, *first, f'--network={beside}', *rest)
    assert status == 1 and err.count('\n') == 1 and err.startswith(f'Error: {beside}: its ')
    assert 'is of class dcgan.Generator; add --classes=package.module.Generator or --classes=path.py:Generator' in err
    status, _, err = run_program(command, *first, f'--network={beside}', '--classes=dcgan.py', *rest)
    assert status == 0, err
    assert run_program(snapshot_tool, 'info', f'--network={beside}')[0] == 1, 'a choice holds for one command'


def test_an_exported_generator_is_read_in_the_same_way(beside, tmp_path):
    status, _, err = run_program(snapshot_tool, 'export', f'--network={beside}', '--classes=dcgan.py',
                                 f'--outdir={tmp_path}/faces', '--device=cpu')
    assert status == 0, err
    with pytest.raises(UserError, match=r'G_ema is of class dcgan\.Generator; add --classes'):
        load_network_snapshot(f'{tmp_path}/faces', only=('G_ema',), classes=[load_object('dcgan.py:Arrays')])
    chosen = [load_object('dcgan.py:Generator')]
    ours, theirs = (load_network_snapshot(path, only=('G_ema',), classes=chosen).G_ema for path in (beside, f'{tmp_path}/faces'))
    assert all(torch.equal(t, theirs.state_dict()[name]) for name, t in ours.state_dict().items())
    status, _, err = run_program(snapshot_tool, 'export', f'--network={beside}', '--classes=dcgan.py', f'--outdir={tmp_path}/x',
                                 '--to=stylegan2-ada')
    assert status == 1 and 'its G is a Generator of your own' in err and not (tmp_path / 'x').exists()


def test_the_dataset_of_the_run_is_opened_by_its_class(beside, tmp_path):
    args = ['--metrics=fd60_efficientnet_full', f'--network={beside}', '--device=cpu', f'--outdir={tmp_path}']
    status, _, err = run_program(calc_metrics.main, *args, '--classes=dcgan.py:Generator')
    assert status == 1 and 'it was trained on a dataset of class Arrays; add --classes=' in err
    status, out, err = run_program(calc_metrics.main, *args, '--classes=dcgan.py:Generator,dcgan.py:Arrays')
    assert status == 0 and '"fd60_efficientnet_full": ' in out, err


def test_a_file_cannot_choose_what_is_imported(beside, tmp_path):
    with beside.open('rb') as f:
        document = pickle.load(f)
    for name in ('os.system', 'x' * 200, 'a.b;c', '../x.py:Generator', None):
        document['G_ema']['class_name'] = name
        (tmp_path / 'x.pkl').write_bytes(pickle.dumps(document))
        with pytest.raises(UserError) as caught:
            load_network_snapshot(str(tmp_path / 'x.pkl'), only=('G_ema',))
        assert len(str(caught.value)) < 400 + len(str(tmp_path)) and '\n' not in str(caught.value)


def test_a_discriminator_in_place_of_a_generator_is_refused(beside, tmp_path):
    with beside.open('rb') as f:
        document = pickle.load(f)
    document['G_ema'] = document['D']
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(document))
    with pytest.raises(UserError, match=r'its G_ema, a Discriminator, lacks .*z_dim'):
        load_network_snapshot(str(tmp_path / 'x.pkl'), only=('G_ema',), classes=[load_object('dcgan.py:Discriminator')])


def change(folder, old, new):
    assert CODE.count(old) == 1, old
    (folder / 'dcgan.py').write_text(CODE.replace(old, new))


@pytest.mark.parametrize('old, new, text', [
    ('class Generator(PlainGenerator)', 'class Other(PlainGenerator)', 'dcgan.py has no Generator'),
    ('        self.synthesis = ', '        self.other = ', '--g-class=dcgan.py:Generator: lacks synthesis; docs/own-networks.md'),
    ("noise_mode='random', force_fp32=False, noise", "noise_mode='random', noise", 'lacks synthesis.forward(force_fp32)'),
    ('(self, z_dim, c_dim, img_resolution, img_channels, width=16)', '(self, z_dim, img_resolution, img_channels, c_dims=0)',
     'lacks an argument c_dim of its constructor'),
    ('nn.Conv2d(width, img_channels, 1)', 'nn.Conv2d(width, img_channels + 1, 1)', 'its images are [2, 2, 8, 8, torch.float32]'),
    ('        self.latent_dim = width\n', '', '--d-class=dcgan.py:Discriminator: lacks latent_dim'),
    ('nn.Linear(width, 1)', 'nn.Linear(width, 2)', '--d-class=dcgan.py:Discriminator: its logits are [2, 2, torch.float32]'),
    ('c_dim, img_resolution, img_channels, width=16):\n        super().__init__()\n',
     'c_dim, img_resolution, img_channels, width):\n        super().__init__()\n', 'its constructor needs width'),
    ('class Discriminator(nn.Module)', 'class Discriminator', 'not a torch.nn.Module'),
    ('class Arrays(PlainDataset)', 'class Arrays', 'Arrays()'),
    ("file['labels']", "file['labels'][:-1]", 'has 60 images and 59 labels'),
])
def test_a_dry_run_names_what_a_class_lacks(folder, old, new, text):
    change(folder, old, new)
    if text == 'Arrays()':
        with (folder / 'dcgan.py').open('a') as f:
            f.write('\n    def __init__(self, path, use_labels, **kwargs): pass\n')
        text = '--dataset-class=dcgan.py:Arrays: lacks path, name, resolution'
    status, out, err = run_program(train.main, *OWN, *SMALL, '--dry-run')
    assert status == 2 and err.count('\n') == 1 and text in err, err
    assert not (folder / 'runs').exists() and 'Training options' not in out


@pytest.mark.parametrize('args, text', [
    (['--g-class=stylegan7'], '--g-class=stylegan7: neither stylegan2 nor package.module.Class or path/to/file.py:Class'),
    (['--g-class=no.such.Thing'], '--g-class: no.such.Thing: cannot be imported'),
    (['--g-class=dnnlib.util.format_time'], '--g-class=dnnlib.util.format_time: not a class'),
    (['--map-depth=3'], '--map-depth has no effect on these networks, which take no mapping_kwargs'),
    (['--cbase=64'], '--cbase has no effect'),
    (['--freezed=1'], '--freezed has no effect'),
    (['--cond-mode=flow', '--i-dim=4'], '--cond-mode has no effect'),
    (['--lambda-latent=1', '--z-dim=8'], 'its features for CLR-GAN (latent_dim) are 16, but 8 is needed'),
])
def test_options_that_cannot_work_are_refused(folder, args, text):
    status, _, err = run_program(train.main, *OWN, *SMALL, *args, '--dry-run')
    assert status == 2 and err.count('\n') == 1 and text in err, err


def test_a_dry_run_shows_absolute_names_and_only_the_arguments_that_are_taken(folder):
    status, out, err = run_program(train.main, *OWN, *SMALL, '--lambda-latent=1', '--dry-run')
    assert status == 0, err
    config = json.loads(out.partition('Training options:\n')[2].partition('\n\nOutput')[0])
    path = folder.resolve() / 'dcgan.py'
    assert config['G_kwargs'] == dict(class_name=f'{path}:Generator', z_dim=16)
    assert config['D_kwargs'] == dict(class_name=f'{path}:Discriminator')
    assert config['training_set_kwargs']['class_name'] == f'{path}:Arrays'
    assert config['run_dir'].endswith('-Generator-Discriminator-Arrays')


def test_our_networks_take_the_place_of_one_of_them(folder):
    status, out, err = run_program(train.main, '--d-class=dcgan.py:Discriminator', OWN[2], *SMALL, '--cbase=64', '--dry-run')
    assert status == 0 and '"class_name": "training.networks.Generator"' in out, err


def test_the_plain_dataset_has_what_is_needed(folder):
    from dnnlib.plugins import lacks
    arrays = load_object('dcgan.py:Arrays')
    data = arrays('blobs.npz', use_labels=True, xflip=True, max_size=10)
    assert lacks(data, Dataset) == [] and len(data) == 20 and len(data.all_images()) == 120 and len(data.all_images(False)) == 60
    assert data.label_dim == 3 and data.image_shape == [1, 8, 8]
    image, label = data[0]
    mirrored, same = data[10]
    assert np.array_equal(mirrored, image[:, :, ::-1]) and np.array_equal(label, same) and label.dtype == np.float32
    assert label.tolist() == [float(i == data.get_details(0).raw_label) for i in range(3)]
    assert data.identity() == arrays('blobs.npz', xflip=True, max_size=10).identity() != data.all_images().identity()
    assert arrays('blobs.npz').label_dim == 0 and not arrays('blobs.npz').has_labels
    assert np.array_equal(pickle.loads(pickle.dumps(data))[3][0], data[3][0])
    with pytest.raises(UserError, match='8x8, not 16x16'):
        arrays('blobs.npz', resolution=16)


@pytest.mark.parametrize('images, text', [
    (np.zeros([4, 1, 8, 8], np.float32), 'image 0 is float32'), (np.zeros([4, 8, 8], np.uint8), r'image 0 is uint8 \[8, 8\]'),
    ([np.zeros([1, 8, 8], np.uint8), np.zeros([1, 4, 4], np.uint8)], r'image 1 is uint8 \[1, 4, 4\]'),
    (np.zeros([0, 1, 8, 8], np.uint8), 'has 0 images')])
def test_the_plain_dataset_refuses_what_are_no_images(images, text):
    from training.data.plain import PlainDataset
    own = type('Own', (PlainDataset,), dict(read=lambda self, path: (images, None)))
    with pytest.raises(UserError, match=text):
        own('x').validate()


@pytest.mark.parametrize('names, text', [('no.such.Thing', '--classes: no.such.Thing: '), ('dcgan.py:Nothing', 'has no Nothing'),
                                         ('other.py', '--classes: '), ('dnnlib.util.format_time', 'not a class')])
def test_classes_that_are_not_there(folder, names, text):
    with pytest.raises(UserError) as caught:
        classes.choose(names)
    assert text in str(caught.value) and caught.value.exit_status == 2
