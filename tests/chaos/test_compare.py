"""Whether runs are the same, and that a difference is found."""

import json
import shutil

import pytest

from chaos.compare import differences


def line(kimg, num=2, mean=1.5, seconds=1.0):
    return {'Progress/kimg': dict(num=1, mean=kimg, std=0.0), 'Loss/D/loss': dict(num=num, mean=mean, std=0.1),
            'Timing/sec_per_tick': dict(num=1, mean=seconds, std=0.0), 'timestamp': seconds}


def write(run_dir, *lines):
    (run_dir / 'stats.jsonl').write_text(''.join(json.dumps(entry) + '\n' for entry in lines))


DRAWN = {'Health/variety': dict(num=1, mean=0.2, std=0.0)}


@pytest.fixture
def runs(tmp_path):
    """Directories of two runs that are alike, but for times."""
    expected, run_dir = tmp_path / 'expected', tmp_path / 'run'
    expected.mkdir()
    for name in ('network-snapshot-000000.pkl', 'network-snapshot-000001.pkl', 'training-state-000001.pt',
                 'weight-averages-000001.pt'):
        (expected / name).write_text(name)
    write(expected, line(0.5), line(1))
    shutil.copytree(expected, run_dir)
    write(run_dir, line(0.5, seconds=7), line(1, seconds=9))
    (run_dir / 'sessions.jsonl').write_text('{"kimg": 0.0}\n')
    return run_dir, expected


def test_a_run_that_stops_draws(runs):
    run_dir, expected = runs
    write(run_dir, line(0.5) | DRAWN, line(1))
    assert differences(run_dir, expected) == ['stats.jsonl differs at 0.5 kimg'], 'it did not stop there'
    (run_dir / 'sessions.jsonl').write_text('{"kimg": 0.0}\n{"kimg": 0.5}\n')
    assert differences(run_dir, expected) == []
    write(run_dir, line(0.5), line(1))
    write(expected, line(0.5) | DRAWN, line(1))
    assert differences(run_dir, expected) == ['stats.jsonl differs at 0.5 kimg']


def test_times_and_older_snapshots_may_differ(runs):
    run_dir, expected = runs
    (run_dir / 'network-snapshot-000000.pkl').write_text('of a moment when it was told to stop')
    assert differences(run_dir, expected) == []


@pytest.mark.parametrize('name', ['network-snapshot-000001.pkl', 'training-state-000001.pt', 'weight-averages-000001.pt'])
def test_files_that_differ_are_found(runs, name):
    run_dir, expected = runs
    (run_dir / name).write_text('other')
    assert differences(run_dir, expected) == [f'{name} differs']
    (run_dir / name).unlink()
    assert differences(run_dir, expected) == [f'{name} differs']


@pytest.mark.parametrize('lines, found', [
    ([line(0.5), line(1, mean=1.5000001)], ['stats.jsonl differs at 1 kimg']),
    ([line(1)], ['stats.jsonl has no line at 0.5 kimg']),
    ([line(0.5), line(1), line(1.5)], ['stats.jsonl has a line too many at 1.5 kimg']),
    ([line(0.5), line(0.5), line(1)], ['stats.jsonl differs at 1 kimg']),
    ([line(0.5), line(0.8, num=1, mean=1.0), line(1, num=1, mean=2.0)], []),
    ([line(0.5), line(0.8, num=1, mean=1.0), line(1, num=2, mean=2.0)], ['stats.jsonl differs at 1 kimg']),
    ([line(0.5), line(0.8, num=1, mean=1.0), line(1, num=1, mean=2.1)], ['stats.jsonl differs at 1 kimg'])])
def test_lines_of_ticks(runs, lines, found):
    """A tick that was cut in two counts as one."""
    run_dir, expected = runs
    write(run_dir, *lines)
    assert differences(run_dir, expected) == found
