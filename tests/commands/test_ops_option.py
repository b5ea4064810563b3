"""--ops in the commands: what they do where nothing can be compiled, and that the native operators train."""

import numpy as np
import PIL.Image
import pytest
from helpers.programs import run_program

import generate
import train
from torch_utils import custom_ops
from torch_utils.building import CannotBuild
from torch_utils.ops import backend

TINY = ['--device=cpu', '--cbase=32', '--cmax=4', '--batch=250', '--workers=1', '--kimg=1', '--aug=noaug', '--wandb=disabled',
        '--z-dim=8']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    for i in range(8):
        PIL.Image.fromarray(np.full((8, 8), 30 * i, np.uint8)).save(folder / f'{i}.png')
    return folder


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a process that has just started, with an empty cache and a compiler that fails."""
    monkeypatch.setattr(custom_ops, '_outcomes', {})
    monkeypatch.setenv('CXX', 'false')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))


@pytest.fixture(autouse=True)
def restored():
    with backend.using('torch'):
        yield


def test_without_a_compiler_pytorch_trains_and_draws(data, tmp_path, fresh):
    status, out, err = run_program(train.main, '--outdir', tmp_path, '--data', data, '--ops=auto', *TINY)
    assert status == 0 and 'Operators:    torch\n' in out
    told = [line for line in err.splitlines() if 'operators' in line]
    assert len(told) == 1 and 'is no C++ compiler' in told[0]
    network, = tmp_path.glob('*/network-snapshot-000001.pkl')
    status, out, err = run_program(generate.main, '--network', network, '--outdir', tmp_path, '--seeds=0', '--device=cpu',
                                   '--ops=auto')
    assert (status, err) == (0, '') and (tmp_path / 'seed0000.png').exists()


def test_native_without_a_compiler_is_an_error_before_anything_is_created(data, tmp_path, fresh):
    status, _, err = run_program(train.main, '--outdir', tmp_path / 'runs', '--data', data, '--ops=native', *TINY)
    assert status == 1 and err.startswith('Error: --ops=native: ') and err.count('\n') == 1
    assert not (tmp_path / 'runs').exists()


def test_native_operators_train(data, tmp_path):
    try:
        custom_ops.load('cpu')
    except CannotBuild as err:
        pytest.skip(str(err))
    status, out, err = run_program(train.main, '--outdir', tmp_path, '--data', data, '--ops=native', *TINY)
    assert status == 0 and 'Operators:    native\n' in out and 'Compiling' not in err
    assert list(tmp_path.glob('*/network-snapshot-000001.pkl'))


def test_the_environment_has_the_default(monkeypatch):
    monkeypatch.setenv('STYLEGAN_OPS', 'native')
    assert train.main.make_context('train.py', ['--outdir=o', '--data=d']).params['ops'] == 'native'
    monkeypatch.delenv('STYLEGAN_OPS')
    assert train.main.make_context('train.py', ['--outdir=o', '--data=d']).params['ops'] == 'auto'
