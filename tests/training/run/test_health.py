"""A run whose loss is lost ends with the name of the term and the snapshot to go on from."""

import itertools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.util import UserError
from torch_utils import training_stats
from training.run.health import Health
from training.run.monitor import Monitor

ROOT = Path(__file__).parents[3]
NAN, INF = float('nan'), float('inf')
_count = itertools.count()


@pytest.fixture
def term():
    """The name of a loss that no other test reports."""
    return f'Loss/T/term{next(_count)}'


def report(term, *steps):
    for values in steps:
        training_stats.report(term, torch.tensor(values))


def snapshots(run_dir, *kimgs):
    for kimg in kimgs:
        (run_dir / f'network-snapshot-{kimg:06d}.pkl').touch()


@pytest.mark.parametrize('bad', [NAN, INF, -INF])
def test_every_step_of_the_tick_must_be_bad(bad, term, tmp_path):
    health = Health(tmp_path, 0)
    for steps, lost in [([[1.0, 2.0], [3.0]], False), ([[1.0, 2.0], [bad, 3.0]], False), ([[1.0, bad], [bad]], True),
                        ([[bad]], True), ([], False)]:
        report(term, *steps)
        problem = health.check(4000)
        assert bool(problem) is lost, steps
        if lost:
            assert f'{term} ({len(steps)} of {len(steps)} times)' in problem and '\n' not in problem


def test_the_term_is_named_and_not_its_sum(tmp_path):
    health = Health(tmp_path, 0)
    for name in ('Loss/T/penalty', 'Loss/T/reg'):
        report(name, [NAN])
    report('Loss/T/logistic', [1.0])
    problem = health.check(4000)
    assert 'Loss/T/penalty' in problem and 'reg' not in problem.partition(';')[0] and 'logistic' not in problem


def test_what_is_no_loss_does_not_matter(tmp_path):
    health = Health(tmp_path, 0)
    for name in ('Loss/pl_penalty', 'Timing/Gmain', 'Progress/augment'):
        report(name, [NAN])
    assert health.check(4000) is None


def test_the_last_good_snapshot_is_from_before_the_first_bad_step(term, tmp_path):
    health = Health(tmp_path, 0)
    report(term, [1.0])
    assert health.check(40_320) is None
    snapshots(tmp_path, 20, 40)
    report(term, [1.0], [NAN])  # the snapshot of this tick may be spoilt
    assert health.check(80_000) is None
    snapshots(tmp_path, 80)
    (tmp_path / 'network-snapshot-latest.pkl').touch()
    report(term, [NAN])
    assert f'the last good snapshot is {tmp_path}/network-snapshot-000040.pkl: resume from it (--resume)' in health.check(120_000)


@pytest.mark.parametrize('resume_pkl, words', [
    (None, 'there is no good snapshot yet'), ('old/network-snapshot-000100.pkl', 'snapshot is old/network-snapshot-000100.pkl')])
def test_without_a_snapshot_of_its_own_it_names_the_one_it_began_with(resume_pkl, words, term, tmp_path):
    monitor = Monitor(tmp_path, 100_000, 200_000, {'resume_pkl': resume_pkl})
    report(term, [NAN])
    with pytest.raises(UserError, match=words):
        monitor.end_of_tick(0, 100_032, augment_p=0.0, gpu_gib=0.0)
    line = json.loads((tmp_path / 'stats.jsonl').read_text())
    assert line[term] == dict(num=1, mean=None, std=None), 'the curve shows it'


def test_a_run_that_diverges_ends_with_one_line_and_without_a_snapshot(tmp_path):
    data = tmp_path / 'noise.zip'
    with zipfile.ZipFile(data, 'w') as z:
        for i in range(20):
            with z.open(f'{i}.png', 'w') as f:
                PIL.Image.fromarray(np.random.RandomState(i).randint(0, 256, (8, 8, 3), dtype=np.uint8)).save(f, format='PNG')
    args = [f'--data={data}', f'--outdir={tmp_path}/runs', '--device=cpu', '--cbase=32', '--cmax=4', '--batch=20', '--workers=1',
            '--tick=0.2', '--snap=1', '--kimg=2', '--mixing=0', '--glr=1e30']
    done = subprocess.run([sys.executable, str(ROOT / 'train.py'), *args], text=True, capture_output=True,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'Traceback' not in done.stderr, done.stderr
    assert done.stderr.startswith('Error: loss was NaN or Inf at every step of the tick ending at ') and 'Loss/G/' in done.stderr
    assert 'no good snapshot yet' in done.stderr and '--glr' in done.stderr
    [run_dir] = (tmp_path / 'runs').iterdir()
    assert not list(run_dir.glob('*.pkl')) and 'not finite' in (run_dir / 'log.txt').read_text()
    last = json.loads((run_dir / 'stats.jsonl').read_text().splitlines()[-1], parse_constant=pytest.fail)
    assert any(name.startswith('Loss/G/') and values['num'] and values['mean'] is None
               for name, values in last.items() if name != 'timestamp')
