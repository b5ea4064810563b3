"""train.py under kill -9, SIGTERM, full disks and directories that can't be written: it goes on, and ends with the same bytes."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest
from helpers.background import LAST, METHODS, TINY, Training, digest, kimgs, train, write_images

if os.name != 'posix' or not hasattr(resource, 'prlimit'):
    pytest.skip('needs Linux', allow_module_level=True)

NAME = '00000-images-cond-auto1-kimg2-batch100'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data') / 'images')


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """The directory of a run that nothing disturbed."""
    outdir = tmp_path_factory.mktemp('whole')
    assert train(outdir / 'log', f'--outdir={outdir}', f'--data={data}', *TINY)[0] == 0
    return outdir / NAME


@pytest.fixture
def options(data, tmp_path):
    return [f'--outdir={tmp_path / "runs"}', f'--data={data}', *TINY]


# --- kill -9 ---


def killed_again_and_again(tmp_path, options, kills, seed, longest):
    """Kill a run so many times, at random instants of its first `longest` seconds, or as long after its first tick, or in the
    middle of a save; go on each time, and let it come to its end.

    Returns (its directory, kills between the first snapshot and the last, kills within a save).
    """
    rng = random.Random(seed)
    at_work, in_saves, left = 0, 0, set()
    for i in range(kills):
        training = Training(tmp_path / 'log', *options, '--resume=latest')
        if i % 3 == 1:  # wait for a temporary file of a snapshot or state
            end = time.monotonic() + 60
            number = rng.randrange(6)
            seen = set()
            while training.process.is_alive() and time.monotonic() < end:
                seen |= {name for name in run_files(tmp_path) if name.endswith('.tmp') and ('.pkl' in name or '.pt' in name)}
                if len(seen) > number:
                    break
            time.sleep(rng.random() * 0.01)
        else:
            if i % 3 == 2:
                while training.process.is_alive() and '\ntick ' not in training.output():
                    time.sleep(0.01)
                while training.process.is_alive() and not any(name.endswith('.pkl') for name in run_files(tmp_path)):
                    time.sleep(0.01)
            time.sleep(rng.random() * longest)
        training.kill()
        if training.process.exitcode == -signal.SIGKILL:
            at_work += any(name.endswith('.pkl') for name in run_files(tmp_path))
            in_saves += any(name.endswith('.tmp') and name not in left for name in run_files(tmp_path))
            left |= set(run_files(tmp_path))
    status, output = train(tmp_path / 'log', *options, '--resume=latest')
    assert status == 0, output
    return max((tmp_path / 'runs').iterdir()), at_work, in_saves


def run_files(tmp_path):
    with contextlib.suppress(OSError):
        return [name for run_dir in os.listdir(tmp_path / 'runs') for name in os.listdir(tmp_path / 'runs' / run_dir)]
    return []


def test_killed_at_random_instants_it_ends_with_the_same_bytes(whole, options, tmp_path):
    run_dir, at_work, _ = killed_again_and_again(tmp_path, options, kills=3, seed=1, longest=2)
    assert at_work and digest(run_dir) == digest(whole)
    assert kimgs(run_dir) == kimgs(whole), 'and its ticks are those of the other'
    assert not list(run_dir.glob('.*.tmp')) and len(list(run_dir.glob('*.pt'))) == 2


@pytest.mark.slow
@pytest.mark.parametrize('method', [None, *METHODS])
def test_killed_25_times_it_ends_with_the_same_bytes(method, options, tmp_path):
    options = [*options, '--tick=0.1', '--snap=1', '--kimg=4', *METHODS.get(method, [])]
    status, output = train(tmp_path / 'log', *options, f'--outdir={tmp_path / "whole"}')
    assert status == 0, output
    whole, = (tmp_path / 'whole').iterdir()
    run_dir, at_work, in_saves = killed_again_and_again(tmp_path, options, kills=25, seed=2, longest=5)
    print(f'{method}: 25 kills, {at_work} of them between the first snapshot and the last, {in_saves} in the middle of a save')
    last = 'network-snapshot-000004.pkl'
    assert digest(run_dir, last) == digest(whole, last) and kimgs(run_dir) == kimgs(whole)


# --- SIGTERM and Ctrl-C ---


@pytest.mark.parametrize('which', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_told_to_stop_it_saves_and_says_how_to_go_on(which, whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('tick 2 ')
    training.signal(which)  # as `timeout` does: a signal to the child, and another to its group, data loader workers included
    training.signal(which, group=True)
    assert training.wait() == 0, training.output()
    run_dir = tmp_path / 'runs' / NAME
    how = f'Stopped before the end. Everything is saved. To resume, repeat the command with --resume={run_dir}\n'
    assert how in training.output() and 'Traceback' not in training.output()
    status, output = train(tmp_path / 'log', *options, f'--resume={run_dir}/')
    assert status == 0 and f'Resuming in {run_dir}' in output and 'changed: ' not in output
    assert digest(run_dir) == digest(whole) and os.listdir(tmp_path / 'runs') == [NAME]
    assert set(kimgs(whole)) <= set(kimgs(run_dir))


def test_told_to_stop_while_it_starts_up(whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('Num images:')
    training.signal(signal.SIGTERM)
    assert training.wait() == 0, training.output()
    run_dir = tmp_path / 'runs' / NAME
    assert kimgs(run_dir) == [0.1]
    assert train(tmp_path / 'log', *options, '--resume=latest')[0] == 0
    assert digest(run_dir) == digest(whole) and kimgs(run_dir) == kimgs(whole)


def test_told_twice_it_stops_at_once(options, tmp_path):
    """While it can't save: it waits for a step that takes for ever, which a slow one seems to do."""
    training = Training(tmp_path / 'log', *options, '--batch=4000', '--kimg=1000')
    training.wait_for('Training for')
    training.signal(signal.SIGTERM)
    training.wait_for('Press again')
    time.sleep(1.1)
    if training.process.is_alive():
        training.signal(signal.SIGTERM)
    assert training.wait() in (-signal.SIGTERM, 0)


def test_a_complete_run_is_no_failure(whole, options, tmp_path):
    shutil.copytree(whole, tmp_path / 'runs' / NAME)
    before = digest(whole, 'stats.jsonl')
    status, output = train(tmp_path / 'log', *options, '--resume=latest')
    assert status == 0 and output.splitlines()[-1].startswith(f'{tmp_path / "runs" / NAME} is complete: 2 kimg of --kimg=2')
    assert digest(tmp_path / 'runs' / NAME, 'stats.jsonl') == before


def test_a_dry_run_of_going_on_shows_from_where(whole, options, tmp_path):
    shutil.copytree(whole, tmp_path / 'runs' / NAME)
    status, output = train(tmp_path / 'log', *options, '--resume=latest', '-n')
    assert status == 0 and output.endswith('Dry run; exiting.\n')
    assert f'Output directory:   {tmp_path / "runs" / NAME}\n' in output
    assert f'"resume_state": "{tmp_path / "runs" / NAME}/training-state-000002.pt"' in output


def test_going_on_with_other_settings_lists_them(whole, options, tmp_path):
    shutil.copytree(whole, tmp_path / 'runs' / NAME)
    status, output = train(tmp_path / 'log', *options, '--resume=latest', '--kimg=3', '--glr=0.001')
    assert status == 0 and 'changed: total_kimg from 2 to 3\n' in output and 'changed: G_opt_kwargs from ' in output
    assert output.count('changed: ') == 2


def test_one_process_trains_in_a_directory_and_when_it_is_killed_another_may(whole, options, tmp_path):
    run_dir = tmp_path / 'runs' / NAME
    shutil.copytree(whole, run_dir)
    holder = Training(tmp_path / 'log', *options, '--resume=latest', '--kimg=1000')
    holder.wait_for('Training for')
    status, output = train(tmp_path / 'other', *options, '--resume=latest', '--kimg=1000')
    assert status == 1 and f'Error: {run_dir}: another process is training in it' in output and 'Traceback' not in output
    holder.kill()  # the data loader's workers live a moment longer
    assert train(tmp_path / 'other', *options, '--resume=latest', '--kimg=3')[0] == 0


# --- damaged files ---


@pytest.mark.parametrize('which', ['pkl', 'pt'])
def test_a_truncated_newest_pair_is_passed_over(which, whole, options, tmp_path):
    run_dir = tmp_path / 'runs' / NAME
    shutil.copytree(whole, run_dir)
    damaged = run_dir / {'pkl': LAST, 'pt': 'training-state-000002.pt'}[which]
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    status, output = train(tmp_path / 'log', *options, '--resume=latest')
    assert status == 0 and f'{run_dir / LAST}: ' in output and 'skipping it' in output
    assert digest(run_dir) == digest(whole) and kimgs(run_dir) == kimgs(whole)


# --- full disks and directories that can't be written ---


def wait_for_error(training):
    training.wait_for('.pkl could not be saved')
    line = next(line for line in training.output().splitlines() if '.pkl could not be saved' in line)
    assert line.startswith('Error: ') and 'network-snapshot-' in line and 'training continues' in line


def ends_like(whole, training, run_dir):
    assert training.wait() == 0, training.output()
    assert 'Traceback' not in training.output()
    assert digest(run_dir) == digest(whole)
    assert set(kimgs(run_dir)) <= set(kimgs(whole)), 'a line may have found no room'
    assert not list(run_dir.glob('.*.tmp'))


def test_files_that_cannot_grow_for_a_while(whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('tick 0 ')
    unlimited = resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (1 << 21, unlimited[1]))
    wait_for_error(training)
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, unlimited)
    ends_like(whole, training, tmp_path / 'runs' / NAME)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MiB at tmp_path/runs."""
    path = tmp_path / 'runs'
    path.mkdir()
    if os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', path], capture_output=True).returncode:
        pytest.skip('only root can mount a small disk')
    yield path
    subprocess.run(['umount', '-l', path], check=True)


def test_a_disk_that_is_full_for_a_while(whole, options, small_disk):
    run_dir = small_disk / NAME
    training = Training(small_disk.parent / 'log', *options, '--keep=1')
    training.wait_for('tick 2 ')
    filler = small_disk / 'filler'
    with contextlib.suppress(OSError), open(filler, 'wb', buffering=0) as f:
        while True:
            f.write(bytes(4096))
    wait_for_error(training)
    filler.unlink()
    ends_like(whole, training, run_dir)


def test_a_directory_that_cannot_be_written_for_a_while(whole, options, tmp_path):
    training = Training(tmp_path / 'log', *options)
    training.wait_for('tick 2 ')
    run_dir, away = tmp_path / 'runs' / NAME, tmp_path / 'away'
    run_dir.rename(away)  # root may write in directories that are read-only, but not where there is none
    run_dir.write_text('')
    wait_for_error(training)
    run_dir.unlink()
    away.rename(run_dir)
    ends_like(whole, training, run_dir)


def test_a_disk_that_stays_full_ends_in_one_line_and_older_files_stay(whole, options, tmp_path):
    run_dir = tmp_path / 'runs' / NAME
    shutil.copytree(whole, run_dir)
    before = {path: path.read_bytes() for path in [*run_dir.glob('*.pkl'), *run_dir.glob('*.pt')]}
    training = Training(tmp_path / 'log', *options, '--resume=latest', '--kimg=3')
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (1 << 21, 1 << 21))
    assert training.wait() == 1
    last = training.output().splitlines()[-1]
    assert last.startswith(f'Error: {run_dir}: the last snapshot could not be saved') and f'--resume={run_dir}' in last
    assert 'Traceback' not in training.output()
    assert before == {path: path.read_bytes() for path in [*run_dir.glob('*.pkl'), *run_dir.glob('*.pt')]}
    assert train(tmp_path / 'log', *options, '--resume=latest', '--kimg=3')[0] == 0
