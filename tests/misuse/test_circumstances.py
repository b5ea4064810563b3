"""What the corpus cannot have: other users, real processes, missing packages, full disks, little memory."""

import contextlib
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import world
from helpers.programs import run_program

import dataset_tool
import generate
import train
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


@contextlib.contextmanager
def without_privileges():
    """Root, who may read and write everything, is nobody meanwhile."""
    root = hasattr(os, 'geteuid') and os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_what_may_not_be_read_or_written_is_named(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which other users can't enter
        monkeypatch.chdir(folder)
        world.dataset(Path('good.zip'))
        shutil.copy('good.zip', 'secret.zip')
        os.mkdir('locked')
        tool = dataset_tool.main
        assert run_program(tool, '--source=good.zip', '--dest=locked/first.zip')[0] == 0  # imports all that it needs
        for path, mode in (('.', 0o755), ('secret.zip', 0), ('locked', 0o555)):
            os.chmod(path, mode)
        before = sorted(Path().rglob('*'))
        with without_privileges():
            secret = run_program(tool, '--source=secret.zip', '--dest=out.zip')
            locked = run_program(tool, '--source=good.zip', '--dest=locked/out.zip')
        assert sorted(Path().rglob('*')) == before
        os.chmod('locked', 0o755)
        monkeypatch.undo()
    assert secret[::2] == (1, 'Error: secret.zip: permission denied\n')
    assert locked[0] == 1 and locked[2].endswith('locked/out.zip: cannot be written (permission denied)\n')


def test_a_missing_package_is_named_with_its_remedy(tmp_path, in_tmp_path, monkeypatch):
    world.save_network(tmp_path / 'net.pkl', 3, 8, 1)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr('importlib.util.find_spec', lambda name, *rest: None if name == 'onnx' else find_spec(name, *rest))
    status, _, err = run_program(snapshot_tool, 'export', '--network=net.pkl', '--outdir=out', '--to=onnx')
    assert (status, err.count('\n')) == (1, 1) and '--to=onnx needs onnx' in err and 'pip install' in err
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
