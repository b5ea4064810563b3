"""train.py --gpus=2: one log, one writer, and an end in good order whatever happens."""

import hashlib
import json
import os
import re
import signal

import pytest
from background import TINY, Training, train, write_images

if os.name != 'posix':
    pytest.skip('needs signals', allow_module_level=True)

NAME = '00000-images-cond-auto2-kimg2-batch50'
LAST = 'network-snapshot-000002.pkl'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data') / 'images')


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """The directory of a run that nothing disturbed."""
    outdir = tmp_path_factory.mktemp('whole')
    status, output = train(outdir / 'log', f'--outdir={outdir}', f'--data={data}', *TINY, '--gpus=2')
    assert status == 0, output
    return outdir / NAME


@pytest.fixture
def options(data, tmp_path):
    return [f'--outdir={tmp_path / "runs"}', f'--data={data}', *TINY, '--gpus=2']


def digest(run_dir):
    return hashlib.sha256((run_dir / LAST).read_bytes()).hexdigest()


def kimgs(run_dir):
    return [json.loads(line)['Progress/kimg']['mean'] for line in (run_dir / 'stats.jsonl').read_text().splitlines()]


def test_one_worker_writes_and_all_is_in_the_log(whole):
    log = (whole / 'log.txt').read_text()
    assert 'Training for 2 kimg on cpu, 2 workers...' in log
    assert re.findall(r'(?m)^tick (\d+)', log) == [str(i) for i in range(len(kimgs(whole)))]
    assert log.count('Results are in ') == 1 and json.loads((whole / 'training_options.json').read_text())['num_gpus'] == 2


@pytest.mark.parametrize('which', [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_workers_agree_and_save_and_go_on_exactly(which, whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('tick 2 ')
    training.signal(which, group=which == signal.SIGINT)  # as a terminal does
    assert training.wait() == 0, training.output()
    run_dir = tmp_path / 'runs' / NAME
    assert f'Stopped before its end, with everything saved. To go on: the same command with --resume={run_dir}\n' in \
        training.output() and 'Traceback' not in training.output()
    assert training.output().count('Stopping after this step') == 1
    status, output = train(tmp_path / 'log', *options, '--resume=latest')
    assert status == 0 and f'Going on in {run_dir}' in output and 'changed: ' not in output
    assert digest(run_dir) == digest(whole) and set(kimgs(whole)) <= set(kimgs(run_dir))


def test_wrong_options_are_told_before_anything_is_started(options, tmp_path):
    status, output = train(tmp_path / 'log', *options, '--gpus=3')
    assert status == 2 and output.splitlines()[-1] == 'Error: --batch must be at least 1 and divisible by --gpus'
    assert not (tmp_path / 'runs').exists()


def test_an_image_that_one_worker_cannot_read_ends_all_in_one_line(options, data, tmp_path):
    images = write_images(tmp_path / 'images')
    training = Training(tmp_path / 'log', *options, f'--data={images}', '--kimg=1000')
    training.wait_for('tick 0 ')
    (images / 'class0' / '04.png').write_bytes(b'nothing')
    assert training.wait() == 1
    assert training.output().splitlines()[-1].startswith('Error: ') and 'class0/04.png' in training.output().splitlines()[-1]
