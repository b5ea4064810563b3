"""`python -m training.encoder`, and the commands that take what it writes: as programs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers import drawing
from helpers.domain_cases import write_dataset
from helpers.programs import run_program

import calc_metrics
from metrics.domains import inversion
from training.encoder.__main__ import main
from training.snapshots import shipped

ROOT = Path(__file__).parents[2]
ENCODER = 'run/network-snapshot-000001-encoder.safetensors'
SMALL = dict(resolution=8, channels=3, z_dim=6)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a network in run/, an encoder of it that a program of its own trained, and a paired dataset of 3 contents."""
    folder = tmp_path_factory.mktemp('made')
    drawing.save_network(folder / 'run' / 'network-snapshot-000001.pkl', 2, cond_mode='flow', i_dim=2, **SMALL)
    images = np.random.default_rng(0).integers(60, 190, (6, 3, 8, 8)).astype(np.uint8)
    write_dataset(folder / 'paired.zip', images, [0, 1] * 3, content=[0, 0, 1, 1, 2, 2])
    done = subprocess.run([sys.executable, '-m', 'training.encoder', f'--network={folder}/run', '--kimg=0.2', '--device=cpu',
                           f'--data={folder}/paired.zip'], capture_output=True, text=True, cwd=ROOT,
                          env=dict(os.environ, OMP_NUM_THREADS='1'))  # as in this process: sums depend on the number of threads
    assert done.returncode == 0, done.stderr
    (folder / 'told.txt').write_text(done.stdout)
    return folder


@pytest.fixture(autouse=True)
def here(made, tmp_path, monkeypatch):
    """In a copy of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inversion, 'MOST_MISSING', 2.0)  # so short a training counts


def train(*args):
    return run_program(main, '--device=cpu', '--kimg=0.2', *args)


def truth(*args, network='run/network-snapshot-000001.pkl'):
    """The record of `truth`, or the last line of an error."""
    status, out, err = run_program(calc_metrics.main, f'--network={network}', '--metrics=truth3', '--data=paired.zip',
                                   '--device=cpu', '--cache=off', '--verbose=0', '--outdir=found', *args)
    return json.loads(out.splitlines()[-1]) if status == 0 else (status, err.splitlines()[-1])


def test_it_is_written_beside_the_snapshot_and_one_seed_fixes_its_bytes():
    told = Path('told.txt').read_text()
    assert told.splitlines()[-1].startswith('Wrote ') and told.splitlines()[-1].endswith(f'/{ENCODER}')
    assert 'Samples of the network are rebuilt with' in told and 'Real images that were held out are rebuilt with' in told
    first = Path(ENCODER).read_bytes()
    assert train('--network=run', '--data=paired.zip')[0] == 0 and Path(ENCODER).read_bytes() == first
    status, out, _ = train('--network=run', '--seed=1', '--out=other.safetensors')
    assert status == 0 and out.splitlines()[-1] == 'Wrote other.safetensors. To use it: --encoder=other.safetensors'
    assert Path('other.safetensors').read_bytes() != first
    by_default, other = truth(), truth('--encoder=other.safetensors')
    assert by_default['by'] == other['by'] == 'trained encoder' and by_default['encoder'] != other['encoder']


def test_auto_takes_it_and_steps_refine_its_latents():
    found = truth()
    assert found['by'] == 'trained encoder' and 'steps' not in found
    assert found == truth('--by=encoder') | dict(total_time=found['total_time'], total_time_str=found['total_time_str'],
                                                 timestamp=found['timestamp'])
    refined = truth('--steps=15')
    assert refined['steps'] == 15 and refined['reconstruction_error'] < found['reconstruction_error']
    assert truth('--by=projection', '--steps=1')['by'] == 'projection'
    Path(ENCODER).unlink()
    assert truth('--steps=1')['by'] == 'projection'


def test_translate_takes_it():
    def run(*args, outdir='out'):
        status, out, err = drawing.run('translate', '--network=run', '--images=paired.zip', '--device=cpu', f'--outdir={outdir}',
                                       *args)
        assert (status, err) == (0, '')
        with np.load(f'{outdir}/latents.npz') as arrays:
            return out, dict(arrays)

    out, found = run()
    assert 'Finding latents by the trained encoder\n' in out and 'Images that the network drew itself are rebuilt with' in out
    assert found['by'] == 'trained encoder' and found['z'].shape == (6, 6)
    out, refined = run('--steps=15', '--by=encoder', outdir='refined')
    assert 'Finding latents by the trained encoder, refined in 15 steps' in out and refined['by'] == 'trained encoder'
    assert refined['errors'].mean() < found['errors'].mean()
    with PIL.Image.open('out/img00000-class1.png') as image:
        assert image.size == (8, 8)


def test_an_encoder_of_another_network_is_refused_with_the_remedy():
    drawing.save_network('run/network-snapshot-000001.pkl', 2, cond_mode='concat', **SMALL)  # trained anew
    text = (f'{ENCODER}: was trained for another network; train one with `python -m training.encoder --network=...`, or find '
            'latents without an encoder, with --by=projection')
    for by in ('auto', 'encoder'):
        assert truth(f'--by={by}') == (1, f'Error: {text}')
        drawing.assert_refused(1, text, 'translate', 'run', '--images=paired.zip', f'--by={by}')
    assert truth('--by=projection', '--steps=1')['by'] == 'projection'
    Path(ENCODER).write_bytes(Path(ENCODER).read_bytes()[:-1])
    status, line = truth()
    assert status == 1 and 'no readable encoder' in line and line.endswith('with --by=projection')


def test_what_contradicts_is_refused():
    assert truth('--by=projection', f'--encoder={ENCODER}') == (
        2, f'Error: --encoder={ENCODER}: --by=projection uses no encoder; leave one of them out')
    drawing.assert_refused(2, 'uses no encoder', 'translate', 'run', '--images=paired.zip', '--by=projection', '--encoder=a')
    status, _, err = run_program(calc_metrics.main, '--network=run', '--metrics=jacobian', '--encoder=a', '--device=cpu')
    assert status == 2 and '--encoder=a: none of the metrics jacobian translates images' in err


def test_what_cannot_be_trained_is_refused():
    def refused(status, text, *args):
        found, _, err = train(*args)
        assert found == status and text in err.splitlines()[-1] and 'Traceback' not in err

    drawing.save_network('alone.pkl', 0, **SMALL)
    refused(1, 'alone.pkl: has 1 domain(s), and an encoder serves translation between at least 2', '--network=alone.pkl')
    other = np.zeros((2, 3, 8, 16), dtype=np.uint8)
    write_dataset('wide.zip', other, [0, 1])
    refused(2, '--data: wide.zip: images are [3, 8, 16], but the network draws [3, 8, 8]', '--network=run', '--data=wide.zip')
    write_dataset('three.zip', other[..., :8], [0, 2])
    refused(2, '--data=three.zip has 3 domains, but this network has 2', '--network=run', '--data=three.zip')
    refused(2, "'--kimg'", '--network=run', '--kimg=0')
    refused(1, 'run: cannot be written', '--network=run', '--out=run')
    assert not list(Path().glob('*-encoder.safetensors'))


def test_shipped_networks_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(shipped, 'MODELS', Path('run').resolve())
    status, out, _ = train(f'--network={Path("run").resolve()}')
    path = 'network-snapshot-000001-encoder.safetensors'
    assert status == 0 and Path(path).is_file() and out.endswith(f'Wrote {path}. To use it: --encoder={path}\n')
