"""--eval-data of calc_metrics.py and train.py, and the metric `truth`, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import background
from helpers.domain_cases import pictures, write_dataset
from helpers.programs import run_program
from helpers.small_runs import config
from helpers.small_runs import run as train_small
from helpers.stand_in import replace_detectors

import calc_metrics
import train
from training.networks import Discriminator, Generator
from training.snapshots.file import save_network_snapshot

DOMAINS = ('red', 'green')


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    write_dataset('train.zip', pictures(24), [0, 1] * 12, np.arange(24))
    write_dataset('test.zip', pictures(16, seed=1), [0, 1] * 8, 24 + np.arange(16) // 2)


@pytest.fixture
def network():
    torch.manual_seed(0)
    common = dict(c_dim=2, img_resolution=8, img_channels=3)
    G = Generator(z_dim=5, w_dim=4, mapping_kwargs=dict(num_layers=1), synthesis_kwargs=dict(channel_base=32, channel_max=4),
                  **common)
    D = Discriminator(channel_base=32, channel_max=4, mapping_kwargs=dict(num_layers=1), **common)
    kwargs = dict(class_name='training.dataset.ImageFolderDataset', path='train.zip', use_labels=True, xflip=True)
    path = Path('00000-run', 'network-snapshot-000001.pkl')
    path.parent.mkdir()
    path.with_name('training_options.json').write_text('{}')
    save_network_snapshot(path, dict(G=G, G_ema=G, D=D), kwargs, 1000)
    return path


def calc(network, *args):
    return run_program(calc_metrics.main, f'--network={network}', '--device=cpu', '--ops=torch', '--verbose=0', *args)


def records(name, folder='00000-run'):
    return [json.loads(line) for line in Path(folder, f'metric-{name}.jsonl').read_text().splitlines()]


def test_numbers_of_other_images_are_never_confused(network, monkeypatch):
    replace_detectors(monkeypatch, 'cache')
    monkeypatch.setattr(calc_metrics, 'check_detector', lambda name, path=None: None)
    eval_data = '--eval-data=test.zip'
    for args in ((), (eval_data,), ('--data=test.zip',), ('--missing-only',), ('--missing-only', eval_data)):
        assert calc(network, '--metrics=fid10_full', *args)[::2] == (0, '')
    of_training, held_out, of_both = records('fid10_full')  # the last two found a line of their own
    assert 'eval_data' not in of_training and held_out['eval_data'].startswith('test-') and 'eval_data' not in of_both
    assert of_training['results'] != held_out['results']
    # Other labels of the same latents: those of the training images, in as many of each domain.
    assert held_out['results']['fid10_full'] == pytest.approx(of_both['results']['fid10_full'], rel=0.5)
    Path('train.zip').unlink()
    assert calc(network, '--metrics=fid10_full', eval_data)[0] == 0
    assert records('fid10_full')[-1]['eval_data'] == held_out['eval_data']
    assert records('fid10_full')[-1]['results'] == of_both['results'], 'labels of the eval data where no others are there'


def test_the_truth_of_a_held_out_split_by_projection(network):
    args = f'--network={network} --eval-data=test.zip --metrics=truth3 --steps=2 --device=cpu --ops=torch --verbose=0'
    done = background.run('calc_metrics', *args.split())
    assert (done.returncode, done.stderr) == (0, '')
    record, = records('truth3')
    assert record['by'] == 'projection' and record['steps'] == 2 and record['eval_data'].startswith('test-')
    assert record['reconstruction_error'] == record['results']['truth3_rebuilt'] > 0
    assert record['results']['truth3_content_chance'] == pytest.approx(1 / 8)
    assert Path('00000-run', 'truth3-network-snapshot-000001.png').stat().st_size > 5000
    latents = [path.name for path in Path('cache', 'gan-metrics').iterdir()]
    assert len(latents) == 2 and all(name.startswith('test-latents-') for name in latents), 'of each domain, for the next time'


@pytest.mark.parametrize(('args', 'status', 'text'), [
    (['--eval-data=gone.zip'], 2, '--eval-data: gone.zip: no such file'),
    (['--metrics=truth'], 1, 'train.zip: content 0 is not in domain green, nor are'),
    (['--metrics=truth', '--by=encoder', '--eval-data=test.zip'], 1, 'or find latents by optimisation, with --by=projection'),
    (['--by=magic'], 2, "'--by': 'magic' is not one of 'auto', 'encoder', 'projection'"),
    (['--steps=0'], 2, "'--steps'"),
    (['--by=encoder'], 2, '--by=encoder: none of the metrics jacobian translates images; leave it out'),
])
def test_what_cannot_be_computed_is_one_line(network, args, status, text):
    found, _, err = calc(network, *(args if any('metrics' in arg for arg in args) else ['--metrics=jacobian', *args]))
    assert found == status and text in err.splitlines()[-1] and 'Traceback' not in err


def dry(*args):
    return run_program(train.main, '--data=train.zip', '--outdir=r', '--cond=1', '--cbase=64', '--cmax=8', '--batch=8',
                       '--kimg=1', '--device=cpu', '--ops=torch', '--aug=noaug', '--z-dim=8', '--dry-run', *args)


def test_a_dry_run_checks_the_eval_data(monkeypatch):
    replace_detectors(monkeypatch, 'cache')
    status, out, _ = dry('--metrics=fid10_full', '--eval-data=test.zip')
    assert status == 0 and 'Evaluation data:    test.zip' in out
    assert 'eval_set_kwargs' not in dry('--metrics=fid10_full')[1], 'other configurations stay as they were'
    write_dataset('three.zip', pictures(3), [0, 1, 2], domains='abc')
    for args, text in ((('--eval-data=three.zip',), 'three.zip: has 3 classes, but the training images have 2 classes'),
                       (('--eval-data=gone.zip',), 'gone.zip: no such file')):
        status, _, err = dry('--metrics=fid10_full', *args)
        assert status == 2 and text in err and err.count('\n') == 1
    assert not Path('r').exists()


def test_a_run_compares_with_the_eval_data(monkeypatch):
    replace_detectors(monkeypatch, 'cache')
    kwargs = dict(class_name='training.dataset.ImageFolderDataset', path='test.zip', xflip=False)
    for name, changes in (('plain', {}), ('held-out', dict(eval_set_kwargs=kwargs))):
        assert train_small(config('train.zip', Path(name), metrics=['fid10_full'], metric_seed=0, slow_metrics=True, **changes))
    plain, held_out = (records('fid10_full', name)[-1] for name in ('plain', 'held-out'))
    assert plain['results'] != held_out['results'] and held_out['eval_data'].startswith('test-') and 'eval_data' not in plain
    best = [json.loads(Path(name, 'best.json').read_text()) for name in ('plain', 'held-out')]
    assert 'eval_data' not in best[0] and best[1]['eval_data'] == held_out['eval_data']
