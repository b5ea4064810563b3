"""--ops in the commands: what they do where nothing can be compiled, and that the native operators train."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from torch_utils import custom_ops
from torch_utils.building import CannotBuild

ROOT = Path(__file__).parents[1]
TINY = ['--device=cpu', '--cbase=64', '--cmax=8', '--batch=50', '--workers=1', '--kimg=1', '--aug=noaug', '--wandb=disabled']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    for i in range(8):
        PIL.Image.fromarray(np.full((8, 8), 30 * i, np.uint8)).save(folder / f'{i}.png')
    return folder


def run(program, *args, **env):
    return subprocess.run([sys.executable, ROOT / program, *map(str, args)], text=True, capture_output=True,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', **env})


def test_without_a_compiler_pytorch_trains_and_draws(data, tmp_path):
    env = dict(CXX='false', DNNLIB_CACHE_DIR=str(tmp_path / 'cache'))
    done = run('train.py', '--outdir', tmp_path, '--data', data, '--ops=auto', *TINY, **env)
    assert done.returncode == 0 and 'Operators:    torch\n' in done.stdout
    told = [line for line in done.stderr.splitlines() if 'operators' in line]
    assert len(told) == 1 and 'is no C++ compiler' in told[0]
    network, = tmp_path.glob('*/network-snapshot-000001.pkl')
    done = run('generate.py', '--network', network, '--outdir', tmp_path, '--seeds=0', '--device=cpu', '--ops=auto', **env)
    assert (done.returncode, done.stderr) == (0, '') and (tmp_path / 'seed0000.png').exists()


def test_native_without_a_compiler_is_an_error_before_anything_is_created(data, tmp_path):
    done = run('train.py', '--outdir', tmp_path / 'runs', '--data', data, '--ops=native', *TINY, CXX='false',
               DNNLIB_CACHE_DIR=str(tmp_path / 'cache'))
    assert done.returncode == 1 and done.stderr.startswith('Error: --ops=native: ') and done.stderr.count('\n') == 1
    assert not (tmp_path / 'runs').exists()


def test_native_operators_train(data, tmp_path):
    try:
        custom_ops.load('cpu')
    except CannotBuild as err:
        pytest.skip(str(err))
    done = run('train.py', '--outdir', tmp_path, '--data', data, '--ops=native', *TINY)
    assert done.returncode == 0 and 'Operators:    native\n' in done.stdout and 'Compiling' not in done.stderr
    assert list(tmp_path.glob('*/network-snapshot-000001.pkl'))
