"""docs/experiments/jobs.py: order, failures, and signals."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / 'docs' / 'experiments'

WAITS = """
import signal, sys, time
from pathlib import Path
path = Path(sys.argv[1])
def save(*_):
    path.with_suffix('.saved').touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
path.with_suffix('.ready').touch()
time.sleep(60)
"""
RUNS_THREE = """
import sys
from pathlib import Path
experiments, waits, folder = sys.argv[1:]
sys.path.insert(0, experiments)
from jobs import Job, Stopped, run_jobs
def job(name):
    return Job(lambda: [sys.executable, '-c', waits, f'{folder}/{name}'], lambda: False, Path(folder) / f'{name}.txt')
try:
    run_jobs({name: job(name) for name in ('a', 'b', 'c')}, 2)
except Stopped:
    raise SystemExit('stopped') from None
"""
WRITES = """
import json, sys, time
began = time.time()
time.sleep(0.3)
if sys.argv[2]:
    sys.exit(sys.argv[2])
open(sys.argv[1], 'w').write(json.dumps([began, time.time()]))
"""


@pytest.fixture
def jobs(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module('jobs')


def make(jobs, folder, name, needs=None, error=''):
    """A job that writes into the file <name> when it began and ended, or fails with an error."""
    path = folder / name
    return jobs.Job(lambda: [sys.executable, '-c', WRITES, str(path), error], path.exists, folder / f'{name}.txt', needs)


def test_each_starts_after_what_it_needs_and_no_more_than_the_limit_run(jobs, tmp_path):
    names = dict(later='first', first=None, a=None, b=None)
    assert jobs.run_jobs({name: make(jobs, tmp_path, name, needs) for name, needs in names.items()}, 2) == {}
    times = {name: json.loads((tmp_path / name).read_text()) for name in names}
    assert times['later'][0] >= times['first'][1]
    for began, _ in times.values():
        assert sum(b <= began < e for b, e in times.values()) <= 2


def test_a_failure_stops_only_what_needs_it(jobs, tmp_path):
    wanted = {'bad': make(jobs, tmp_path, 'bad', error='the disk is full'), 'later': make(jobs, tmp_path, 'later', 'bad'),
              'last': make(jobs, tmp_path, 'last', 'later'), 'good': make(jobs, tmp_path, 'good')}
    assert jobs.run_jobs(wanted, 1) == {'bad': 'ended with status 1', 'later': 'needs bad', 'last': 'needs later'}
    assert (tmp_path / 'good').exists()
    assert 'the disk is full' in (tmp_path / 'bad.txt').read_text()


def test_finished_jobs_are_skipped(jobs, tmp_path):
    (tmp_path / 'done').touch()
    assert jobs.run_jobs({'done': make(jobs, tmp_path, 'done', error='started again'),
                          'next': make(jobs, tmp_path, 'next', 'done')}, 2) == {}
    assert (tmp_path / 'next').exists()


@pytest.mark.parametrize('to_group', [False, True])
def test_a_signal_lets_all_save(to_group, tmp_path):
    process = subprocess.Popen([sys.executable, '-c', RUNS_THREE, str(EXPERIMENTS), WAITS, str(tmp_path)], start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 30
    while len(list(tmp_path.glob('*.ready'))) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and err.strip() == 'stopped'
    assert 'Stopping 2 programs.' in out
    assert {path.name for path in tmp_path.glob('*.saved')} == {'a.saved', 'b.saved'}
    assert not (tmp_path / 'c.ready').exists()
