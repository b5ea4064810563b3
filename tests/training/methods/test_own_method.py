"""A method of the user's own: docs/adding-a-method.md as it stands, and what goes wrong with such a folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import train
from dnnlib.util import UserError

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r'`my_method/(\w+\.py)`.*?```python\n(.*?)```', (ROOT / 'docs/adding-a-method.md').read_text(), flags=re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The method of the page in ./my_method, beside 16 images."""
    monkeypatch.chdir(tmp_path)
    Path('my_method').mkdir()
    assert [name for name, _ in BLOCKS] == ['__init__.py', 'terms.py']
    for name, code in BLOCKS:
        Path('my_method', name).write_text(code)
    rng = np.random.default_rng(0)
    Path('data').mkdir()
    for i in range(16):
        PIL.Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f'data/{i}.png')
    return tmp_path


def run(*args):
    command = [sys.executable, str(ROOT / 'train.py'), '--outdir=runs', '--data=data', '--method=clr-gan,./my_method', *args]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_help_has_its_options_and_needs_no_torch(folder):
    code = (f'import sys; sys.path.insert(0, {str(ROOT)!r}); import train\n'
            'try: train.main(["--method=./my_method", "--help"])\n'
            'finally: assert "torch" not in sys.modules')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and '\nDrift:\n' in done.stdout and '--drift-interval' in done.stdout


def test_it_trains_and_resumes_like_a_built_in_one(folder):
    tiny = ['--kimg=1', '--batch=40', '--cbase=64', '--cmax=16', '--z-dim=16', '--map-depth=2', '--snap=1', '--workers=1',
            '--device=cpu', '--metrics=none', '--ops=torch', '--drift=0.01']
    status, text = run(*tiny)
    assert status == 0, text
    run_dir, = Path('runs').iterdir()
    assert run_dir.name.endswith('-clr5-0.5-drift0.01')
    stats = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    assert stats[-1]['Loss/D/drift']['num'] > 0 and stats[-1]['Timing/Dreg2']['num'] > 0
    status, text = run(*tiny[1:], '--kimg=2', '--resume=latest')
    assert status == 0 and 'Optimisers and counters restored' in text and len(list(Path('runs').iterdir())) == 1, text
    network = run_dir / 'network-snapshot-000001.pkl'
    info = subprocess.run([sys.executable, '-m', 'training.snapshot', 'info', f'--network={network}'],
                          capture_output=True, text=True, env={'PYTHONPATH': str(ROOT), 'PATH': ''})
    assert re.search(r'method +clr-gan,drift', info.stdout), info.stdout + info.stderr


def context(*args):
    return train.main.make_context('train', ['--outdir=runs', '--data=data', *args])


@pytest.mark.parametrize('code,message', [
    ('x = 1', 'has no METHOD'),
    ("from training.methods import Method\nclass M(Method):\n    name, title = 'cg-gan', 'x'\nMETHOD = M()",
     'called cg-gan already'),
    ("from training.methods import Method, option\nclass M(Method):\n    name, title = 'x', 'x'\n"
     "    options = [option('--i-dim', help='')]\nMETHOD = M()", '--i_dim is an option of another method'),
])
def test_a_file_that_is_no_method_is_refused(tmp_path, code, message):
    path = tmp_path / 'own.py'
    path.write_text(code)
    with pytest.raises(UserError, match=message):
        context(f'--method={path}')


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'neither a \.py file nor a folder'):
        context(f'--method={tmp_path}/none')
