"""Weights & Biases: the real package in offline mode, and everything that can be missing."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.wandb_doubles import Server, history, read_run_file

import train
from training.run.loggers.weights_biases import ENVIRONMENT, WandbLogger, resolve_mode, without_folders
from training.run.monitor import Monitor

ROOT = Path(__file__).parents[4]
OPTIONS = dict(mode='offline', project='stylegan-research', images='all')
KEY = 'a' * 40
CONFIG = dict(batch_size=32, G_kwargs=dict(z_dim=64))


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """A user who has never heard of Weights & Biases."""
    for name in [name for name in os.environ if name.startswith('WANDB_') or name == 'NETRC']:
        monkeypatch.delenv(name)
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in ENVIRONMENT:  # the logger sets them: undone at the end
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    yield
    if sys.modules.get('wandb'):
        sys.modules['wandb'].teardown()


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / '00000-digits').mkdir()
    return tmp_path / '00000-digits'


def test_the_run_file_holds_what_was_logged(run_dir, capfd, monkeypatch):
    monkeypatch.setenv('WANDB_ENTITY', 'lab')
    logger = WandbLogger(run_dir, OPTIONS, CONFIG, pytest.fail)
    logger.scalars({'Loss/G/loss': 1.5, 'Timing/sec_per_kimg': 4.0}, 500)
    logger.scalars({'Loss/G/loss': 1.25}, 900)  # another tick of the same kimg
    logger.scalars({'Loss/G/loss': float('nan'), 'Metrics/fid50k_full': 12.5}, 4000)
    logger.image('fakes', np.zeros([8, 12, 3], dtype=np.uint8), 4000)
    logger.image('reals', np.zeros([8, 12, 1], dtype=np.uint8), 4000)
    logger.close()
    [path] = run_dir.glob('wandb/offline-run-*/run-*.wandb')

    rows = history(path)
    assert [row['global_step'] for row in rows] == [0, 0, 4, 4, 4]
    assert rows[0] == {'Loss/G/loss': 1.5, 'Timing/sec_per_kimg': 4.0, 'global_step': 0} and rows[1]['Loss/G/loss'] == 1.25
    assert rows[2]['Metrics/fid50k_full'] == 12.5 and str(rows[2]['Loss/G/loss']) in ('nan', 'NaN')
    for row, name in ((rows[3], 'fakes'), (rows[4], 'reals')):
        assert row[f'{name}/_type'] == 'image-file' and (row[f'{name}/width'], row[f'{name}/height']) == (12, 8)
        assert (path.parent / 'files' / row[f'{name}/path']).is_file()

    records = read_run_file(path)
    run = next(record.run for record in records if record.WhichOneof('record_type') == 'run')
    assert (run.display_name, run.project, run.entity) == ('00000-digits', 'stylegan-research', 'lab')
    assert run.run_id == (run_dir / 'wandb-run-id.txt').read_text().strip() and len(run.run_id) == 8
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config['batch_size'] == 32 and config['G_kwargs'] == {'z_dim': 64}
    metrics = {metric.name or metric.glob_name: metric.step_metric
               for metric in (record.metric for record in records if record.WhichOneof('record_type') == 'metric')}
    assert metrics == {'global_step': '', '*': 'global_step'}, 'the horizontal axis of everything'
    assert capfd.readouterr() == ('', ''), 'nothing on the terminal'


def test_a_training_run_logs_every_tick_and_picture(tmp_path):
    with zipfile.ZipFile(tmp_path / 'noise.zip', 'w') as z:
        for i in range(20):
            with z.open(f'{i}.png', 'w') as f:
                PIL.Image.fromarray(np.random.RandomState(i).randint(0, 256, (8, 8, 3), dtype=np.uint8)).save(f, format='PNG')
    train.main([f'--data={tmp_path / "noise.zip"}', f'--outdir={tmp_path / "runs"}', '--wandb=offline', '--device=cpu',
                '--kimg=1', '--cbase=32', '--cmax=4', '--batch=100', '--workers=1', '--tick=0.3', '--snap=2', '--mixing=0'],
               standalone_mode=False)
    [path] = tmp_path.glob('runs/00000-noise-*/wandb/offline-run-*/run-*.wandb')
    run_dir = path.parents[2]
    rows = history(path)
    for name, count in (('Loss/G/loss', 4), ('Progress/kimg', 4), ('Timing/Gmain', 4), ('reals/_type', 0), ('fakes/_type', 3)):
        assert sum(name in row for row in rows) == count, name
    stats = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    assert [row['Loss/D/loss'] for row in rows if 'Loss/D/loss' in row] == [line['Loss/D/loss']['mean'] for line in stats]
    run = next(record.run for record in read_run_file(path) if record.WhichOneof('record_type') == 'run')
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    options = json.loads((run_dir / 'training_options.json').read_text())
    assert options['wandb'] == dict(mode='offline', project='stylegan-research', images='fakes')
    del options['options']  # what was given on the command line: the file has it for --like
    assert config == without_folders(options) | {key: config[key] for key in config if key not in options}
    assert 'options' not in config
    assert config['run_dir'] == run_dir.name and config['training_set_kwargs']['path'] == 'noise.zip'
    assert str(tmp_path).encode() not in path.read_bytes(), 'no folder of this machine'
    assert 'Weights & Biases' not in (run_dir / 'log.txt').read_text()


def test_a_run_that_goes_on_keeps_its_id_and_environment_variables_come_first(run_dir, monkeypatch):
    monkeypatch.setenv('WANDB_PROJECT', 'mine')
    (run_dir / 'wandb-run-id.txt').write_text('abcd1234\n')
    logger = WandbLogger(run_dir, OPTIONS, CONFIG, pytest.fail)
    logger.scalars({'Loss/G/loss': 1.0}, 8000)
    logger.close()
    [path] = run_dir.glob('wandb/offline-run-*-abcd1234/run-abcd1234.wandb')
    run = next(record.run for record in read_run_file(path) if record.WhichOneof('record_type') == 'run')
    assert run.run_id == 'abcd1234' and run.project == 'mine'
    assert history(path) == [{'Loss/G/loss': 1.0, 'global_step': 8}]


def use(logger):
    for nimg in (1000, 2000):
        logger.scalars({'x': 1.0}, nimg)
        logger.image('fakes', np.zeros([4, 4, 3], dtype=np.uint8), nimg)
    logger.close()


def test_not_installed_is_said_once(run_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    said = []
    use(WandbLogger(run_dir, OPTIONS, CONFIG, said.append))
    assert len(said) == 1 and 'not installed' in said[0] and 'continues' in said[0]


def test_a_broken_installation_is_said_once(run_dir, monkeypatch, tmp_path):
    (tmp_path / 'wandb.py').write_text('import a_part_that_is_missing')
    monkeypatch.delitem(sys.modules, 'wandb', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    said = []
    try:
        use(WandbLogger(run_dir, OPTIONS, CONFIG, said.append))
    finally:
        sys.modules.pop('wandb', None)
    assert len(said) == 1 and 'a_part_that_is_missing' in said[0] and 'continues' in said[0]


@pytest.mark.parametrize('call', ['log', 'finish'])
def test_failures_on_the_way_are_said_once(call, run_dir, monkeypatch):
    said = []
    logger = WandbLogger(run_dir, OPTIONS, CONFIG, said.append)
    real = getattr(logger._run, call)

    def fail(*args, **kwargs):
        real(*args, **kwargs)
        raise RuntimeError('the disk is full\nand more')

    monkeypatch.setattr(logger._run, call, fail)
    use(logger)
    assert len(said) == 1 and 'RuntimeError: the disk is full' in said[0] and '\n' not in said[0]


@pytest.mark.parametrize('mode', ['online', 'auto'])
def test_not_logged_in_asks_nothing_and_is_said_once(mode, run_dir, capfd):
    monitor = Monitor(run_dir, 0, 1000, {'wandb': dict(OPTIONS, mode=mode)})
    monitor.write(1000, {})
    monitor.close()
    out, err = capfd.readouterr()
    said = out.splitlines()
    assert err == '' and len(said) == 1 and said[0].startswith('Weights & Biases: ') and 'wandb login' in said[0]


def test_without_a_network_it_is_kept_for_later(run_dir, monkeypatch, capfd):
    for name, value in dict(MODE='online', BASE_URL='http://127.0.0.1:9', API_KEY=KEY, INIT_TIMEOUT='2').items():
        monkeypatch.setenv(f'WANDB_{name}', value)
    start = time.monotonic()
    monitor = Monitor(run_dir, 0, 1000, {'wandb': dict(OPTIONS, mode='auto')})
    monitor.write(1000, {'Gmain': 3.0})
    monitor.close()
    assert time.monotonic() - start < 20
    out, err = capfd.readouterr()
    assert out.count('\n') == 1 and 'no connection' in out and 'wandb sync' in out and err == ''
    [path] = run_dir.glob('wandb/offline-run-*/run-*.wandb')
    assert history(path)[0]['Timing/Gmain'] == 3.0


@pytest.mark.parametrize('goes_away', [False, True])
def test_what_is_sent_arrives_and_a_server_that_goes_away_holds_up_the_end_for_a_limited_time(goes_away, run_dir, monkeypatch):
    server = Server()
    # The option comes before WANDB_MODE.
    for name, value in dict(MODE='offline', BASE_URL=f'http://127.0.0.1:{server.port}', API_KEY=KEY, INIT_TIMEOUT='20',
                            FINISH_TIMEOUT='1' if goes_away else '20').items():
        monkeypatch.setenv(f'WANDB_{name}', value)
    said = []
    logger = WandbLogger(run_dir, dict(OPTIONS, mode='online'), CONFIG, said.append)
    if goes_away:
        server.stop()
    logger.scalars({'Loss/G/loss': 1.5}, 1000)
    start = time.monotonic()
    logger.close()
    if goes_away:
        assert time.monotonic() - start < 10
        assert len(said) == 2 and 'not everything was sent' in said[1] and 'wandb sync' in said[1]
    else:
        server.stop()
        assert len(said) == 1 and b'Loss/G/loss' in server.received
        assert said[0].startswith('Weights & Biases: sends curves and options, generated and training images to http')
        assert said[0].endswith('(--wandb=disabled turns it off)')
    [path] = run_dir.glob('wandb/run-*/run-*.wandb')
    assert history(path) == [{'Loss/G/loss': 1.5, 'global_step': 1}]


def test_disabled_says_nothing(run_dir, monkeypatch, capsys):
    monkeypatch.setenv('WANDB_API_KEY', KEY)
    Monitor(run_dir, 0, 1000, {'wandb': dict(OPTIONS, mode='disabled')}).close()
    assert capsys.readouterr().out == '' and not (run_dir / 'wandb').exists()


@pytest.mark.parametrize('environ, expected', [
    ({}, 'disabled'), ({'API_KEY': KEY}, 'online'), ({'MODE': 'offline'}, 'offline'), ({'MODE': 'online'}, 'disabled'),
    ({'MODE': 'online', 'API_KEY': KEY}, 'online'), ({'MODE': 'disabled', 'API_KEY': KEY}, 'disabled'),
    ({'MODE': 'dryrun'}, 'offline'), ({'MODE': 'nonsense', 'API_KEY': KEY}, 'disabled'), ({'API_KEY': 'short'}, 'disabled'),
])
def test_auto_follows_the_environment(environ, expected, monkeypatch, capfd):
    for name, value in environ.items():
        monkeypatch.setenv(f'WANDB_{name}', value)
    assert resolve_mode('auto') == expected
    assert resolve_mode('offline') == 'offline'
    assert capfd.readouterr() == ('', '')


def test_auto_finds_who_logged_in_and_what_they_set(tmp_path, monkeypatch):
    monkeypatch.setenv('WANDB_CONFIG_DIR', str(tmp_path))
    monkeypatch.setenv('NETRC', str(tmp_path / 'netrc'))
    (tmp_path / 'netrc').write_text('machine github.com\n login me\n password p\n')
    assert resolve_mode('auto') == 'disabled'
    (tmp_path / 'netrc').write_text(f'machine api.wandb.ai\n login user\n password {KEY}\n')
    assert resolve_mode('auto') == 'online'
    (tmp_path / 'settings').write_text('[default]\nbase_url = https://wandb.lab.org\n')
    assert resolve_mode('auto') == 'disabled', 'the key is for another server'
    (tmp_path / 'netrc').write_text(f'machine wandb.lab.org\n login user\n password {KEY}\n')
    assert resolve_mode('auto') == 'online'
    (tmp_path / 'settings').write_text('[default]\nmode = offline\n')
    assert resolve_mode('auto') == 'offline'
    for name in ('netrc', 'settings'):
        (tmp_path / name).write_text('[no such thing')
    assert resolve_mode('auto') == 'disabled'


def test_auto_is_off_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    monkeypatch.setenv('WANDB_API_KEY', KEY)
    assert resolve_mode('auto') == 'disabled'


def test_wandb_is_imported_only_when_it_is_used():
    code = 'import sys, training.training_loop; print([name for name in sys.modules if name.split(".")[0] == "wandb"])'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True)
    assert done.stdout == '[]\n', done.stderr


@pytest.mark.parametrize('images, sent', [('none', set()), ('fakes', {'fakes'}), ('all', {'fakes', 'reals', 'recon'})])
def test_training_images_are_sent_only_when_asked_for(images, sent, run_dir):
    logger = WandbLogger(run_dir, dict(OPTIONS, images=images), CONFIG, pytest.fail)
    for name in ('fakes', 'reals', 'recon'):
        logger.image(name, np.zeros([8, 12, 3], dtype=np.uint8), 4000)
    logger.close()
    [path] = run_dir.glob('wandb/offline-run-*/run-*.wandb')
    assert {key.split('/')[0] for row in history(path) for key in row if '/' in key} == sent


def test_folders_are_left_out_of_the_configuration():
    config = dict(path='/home/me/secret/cats.zip', runs=['C:\\Users\\me\\cats.zip', 'runs/1'], kimg=3, note='a / b')
    assert without_folders(config) == dict(path='cats.zip', runs=['cats.zip', 'runs/1'], kimg=3, note='a / b')
