"""train.py --gpus=2: one log, one writer, and an end in good order whatever happens."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from helpers.background import TINY, Training, digest, kimgs, train, write_images

if os.name != 'posix':
    pytest.skip('needs signals', allow_module_level=True)

ROOT = Path(__file__).parents[2]
NAME = '00000-images-cond-auto2-kimg2-batch100'


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


def test_one_worker_writes_and_all_is_in_the_log(whole):
    log = (whole / 'log.txt').read_text()
    assert 'Training for 2 kimg on cpu, 2 ranks...' in log
    assert re.findall(r'(?m)^tick (\d+)', log) == [str(i) for i in range(len(kimgs(whole)))]
    assert log.count('Results are in ') == 1 and json.loads((whole / 'training_options.json').read_text())['num_gpus'] == 2


@pytest.mark.parametrize('which, group', [
    (signal.SIGTERM, False), (signal.SIGTERM, True),  # as some queues do
    *(pytest.param(which, True, marks=pytest.mark.slow) for which in (signal.SIGINT, signal.SIGHUP))])  # as terminals do
def test_told_to_stop_workers_agree_and_save_and_go_on_exactly(which, group, whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('tick 2 ')
    training.signal(which, group)
    assert training.wait() == 0, training.output()
    run_dir = tmp_path / 'runs' / NAME
    assert f'Stopped before the end. Everything is saved. To resume, repeat the command with --resume={run_dir}\n' in \
        training.output() and 'Traceback' not in training.output()
    assert training.output().count('Stopping after this step') == 1
    if group:
        return
    status, output = train(tmp_path / 'log', *options, '--resume=latest')
    assert status == 0 and f'Resuming in {run_dir}' in output and 'changed: ' not in output
    assert digest(run_dir) == digest(whole) and set(kimgs(whole)) <= set(kimgs(run_dir))


@pytest.mark.slow
def test_a_killed_rank_ends_all_in_one_line_and_a_killed_program_saves(options, tmp_path):
    training = Training(tmp_path / 'log', *options, '--kimg=1000')
    training.wait_for('tick 0 ')
    ranks_of(training)[1].kill()
    assert training.wait(60) == 1
    assert training.output().count('\nError: rank 1 was killed by SIGKILL, and all ranks stopped') == 1
    assert 'Traceback' not in training.output()

    training = Training(tmp_path / 'log', *options, '--kimg=1000')
    training.wait_for('tick 0 ')
    ranks = ranks_of(training)
    training.kill()
    assert psutil.wait_procs(ranks, 60)[1] == []
    assert 'Stopped before the end. Everything is saved' in training.output()


def ranks_of(training):
    """In the order of their numbers: children of the fork server."""
    children = psutil.Process(training.process.pid).children(recursive=True)
    return sorted((child for child in children if len(child.children()) and child.parent().pid != training.process.pid),
                  key=lambda child: child.pid)


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


def test_the_slurm_script_is_one():
    assert subprocess.run(['bash', '-n', ROOT / 'docs' / 'slurm.sbatch']).returncode == 0


@pytest.mark.slow
def test_the_slurm_script_starts_torchrun_on_each_machine_with_the_arguments_of_train(data, tmp_path):
    """With programs in place of Slurm's, on one machine."""
    for name, text in (('scontrol', 'echo localhost'), ('srun', 'shift; exec "$@"')):
        (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
        (tmp_path / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_NODELIST': 'localhost', 'PORT': str(port),
                   'SLURM_JOB_NUM_NODES': '1', 'SLURM_GPUS_ON_NODE': '2', 'SLURM_JOB_ID': '7', 'WANDB_MODE': 'disabled',
                   'TORCHRUN': str(Path(sys.executable).with_name('torchrun')), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(['bash', 'docs/slurm.sbatch', f'--outdir={tmp_path / "a b"}', f'--data={data}', *TINY, '--kimg=1'],
                          env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    run_dir, = (tmp_path / 'a b').iterdir()
    assert run_dir.name == '00000-images-cond-auto2-kimg1-batch100' and '2 ranks' in (run_dir / 'log.txt').read_text()
    assert json.loads((run_dir / 'training_options.json').read_text())['max_minutes'] == 1420
