"""What the corpus cannot have: other users, real processes, taken ports, missing packages, full disks."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import world
from helpers.programs import run_program

import generate
import train
from dnnlib import cli
from training.snapshots.tool import main as snapshot_tool

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def run(*words, **kwargs):
    """A command as a process of its own."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **kwargs.pop('env', {})}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, errors='surrogateescape', env=env,
                          timeout=120, **kwargs)


def refused(done, status, text):
    assert done.returncode == status and done.stderr.count('\n') == 1 and done.stderr.startswith('Error: '), done.stderr
    assert text in done.stderr


def test_a_file_whose_name_is_no_text_is_named(tmp_path):
    done = run(ROOT / 'generate.py', '--network=' + os.fsdecode(b'\xff.pkl'), '--outdir=out', '--seeds=0', cwd=tmp_path,
               env=dict(LC_ALL='C', PYTHONUTF8='0', PYTHONIOENCODING='ascii'))
    refused(done, 1, '.pkl: no such file or directory')
    assert not any(tmp_path.iterdir())


def test_an_unknown_module_option_ends_the_real_program(tmp_path):
    done = run('-m', 'training.report', 'gone', cwd=tmp_path)
    refused(done, 1, 'gone: has neither training_options.json nor stats.jsonl')
    assert not any(tmp_path.iterdir())


@pytest.fixture
def open_to_all():
    """A folder that other users can enter, which pytest's own are not; with good.zip."""
    with tempfile.TemporaryDirectory(dir='/tmp') as folder:
        os.chmod(folder, 0o755)
        world.dataset(Path(folder, 'good.zip'))
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='only root can be somebody else')
def test_what_may_not_be_read_or_written_is_named(open_to_all):
    shutil.copy(open_to_all / 'good.zip', open_to_all / 'secret.zip')
    os.chmod(open_to_all / 'secret.zip', 0)
    os.mkdir(open_to_all / 'readonly', 0o555)
    probe = subprocess.run([sys.executable, '-c', f'import click, sys; sys.path.append({str(ROOT)!r}); import dnnlib'],
                           user=NOBODY, cwd=open_to_all, capture_output=True, env=dict(PATH=os.environ['PATH']))
    if probe.returncode:
        pytest.skip('other users may not run this Python')
    before = sorted(open_to_all.rglob('*'))
    options = dict(cwd=open_to_all, user=NOBODY, env=dict(HOME='/nonexistent'))
    tool = ROOT / 'dataset_tool.py'
    refused(run(tool, '--source=secret.zip', '--dest=readonly/out.zip', **options), 1, 'secret.zip: permission denied')
    refused(run(tool, '--source=good.zip', '--dest=readonly/out.zip', **options), 1,
            'readonly/out.zip: cannot be written (permission denied)')
    assert sorted(open_to_all.rglob('*')) == before


def test_a_port_that_is_taken_is_named(tmp_path, in_tmp_path):
    pytest.importorskip('nicegui')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = run_program(generate.main, 'explore', '--network=gone.pkl', f'--port={port}')
    assert (status, err.count('\n')) == (2, 1) and f'--port: {port} is taken at 127.0.0.1' in err


@pytest.mark.parametrize('command,args,missing', [
    (generate.main, ['explore', '--network=net.pkl'], 'nicegui'),
    (snapshot_tool, ['export', '--network=net.pkl', '--outdir=out', '--to=onnx'], 'onnx')])
def test_a_missing_package_is_named_with_its_remedy(command, args, missing, tmp_path, in_tmp_path, monkeypatch):
    world.save_network(tmp_path / 'net.pkl', 3, 8, 1)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'training.sampling.explorer.page', raising=False)
    find_spec = cli.importlib.util.find_spec
    monkeypatch.setattr('importlib.util.find_spec', lambda name, *rest: None if name == missing else find_spec(name, *rest))
    status, _, err = run_program(command, *args)
    assert (status, err.count('\n')) == (1, 1) and missing in err and 'pip install' in err
    assert [path.name for path in tmp_path.iterdir()] == ['net.pkl']


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, in_tmp_path, monkeypatch):
    world.save_network(tmp_path / 'net.pkl', 0, 8, 1)

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    status, _, err = run_program(generate.main, '--network=net.pkl', '--outdir=out', '--seeds=0')
    assert (status, err.count('\n')) == (1, 1) and 'seed0000.png: cannot be written (no space left on device)' in err
    assert not any((tmp_path / 'out').iterdir())


def test_an_address_that_does_not_answer_is_named(tmp_path, in_tmp_path, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    status, _, err = run_program(generate.main, '--network=https://127.0.0.1:9/net.pkl', '--outdir=out', '--seeds=0')
    assert status == 1 and 'https://127.0.0.1:9/net.pkl: download failed' in err.splitlines()[-1]
    assert not any(path.is_file() for path in tmp_path.rglob('*')) and not Path('out').exists()


def test_more_memory_than_the_computer_has_is_explained(tmp_path, in_tmp_path):
    world.dataset(tmp_path / 'good.zip')
    status, _, err = run_program(train.main, '--outdir=runs', '--data=good.zip', '--kimg=1', '--z-dim=99999999999', '--cbase=8',
                                 '--aug=noaug', '--workers=1', '--device=cpu', '--metrics=none')
    assert (status, err.count('\n')) == (1, 1) and 'Error: the computer is out of memory (' in err
