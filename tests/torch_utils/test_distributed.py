"""Ranks that are real processes, joined by Gloo: what they tell each other, and what happens when one of them fails."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from dnnlib.signals import held_back
from dnnlib.util import OptionError, UserError
from torch_utils import distributed, launching, process_group, torchrun
from torch_utils.launching import RankError, launch

ROOT = Path(__file__).parents[2]


# --- What they tell each other ---


def talk(folder):
    rank = distributed.rank()
    print(f'rank {rank} was here')
    weights = [torch.full([2, 3], 1.0 + rank), torch.full([], 10.0 * rank), torch.arange(6.0).reshape(2, 3).T * rank]
    distributed.average(weights)
    shared = [torch.full([2], float(rank + 5)), torch.arange(6.0).reshape(2, 3).T + rank]
    distributed.broadcast_tensors(shared)
    calls = []
    found = dict(rank=rank, count=distributed.world_size(), first=distributed.is_rank0(), weights=weights, shared=shared,
                 flags=distributed.any_rank(rank == 1, False, True), object=distributed.broadcast_object({'a': rank}),
                 gathered=distributed.gather_objects('abc'[rank]), total=distributed.total(np.array([1.0, rank])),
                 decided=distributed.broadcast_from_rank0(lambda: calls.append(rank) or 'made'), calls=calls,
                 patient=distributed.patiently(lambda: time.sleep(rank / 4) or rank), threads=torch.get_num_threads())
    for name, call in (('error', distributed.broadcast_from_rank0), ('patient_error', distributed.patiently)):
        try:
            call(lambda: fail_by_user_error(rank) if rank == 0 else None)
        except OptionError as err:
            found[name] = str(err)
    torch.save(found, f'{folder}/{rank}.pt')


def fail_by_user_error(rank):
    raise OptionError(f'told by {rank}')


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp('talk')
    launch(talk, [str(folder)], 3, 'cpu')
    return [torch.load(folder / f'{rank}.pt', weights_only=False) for rank in range(3)]


def test_each_rank_knows_its_number(found):
    assert [(f['rank'], f['count'], f['first']) for f in found] == [(0, 3, True), (1, 3, False), (2, 3, False)]


def test_tensors_are_averaged_and_broadcast_whatever_their_layout(found):
    for f in found:
        assert torch.equal(f['weights'][0], torch.full([2, 3], 2.0)) and f['weights'][1] == 10
        assert torch.equal(f['weights'][2], torch.arange(6.0).reshape(2, 3).T)
        assert torch.equal(f['shared'][0], torch.tensor([5.0, 5.0]))
        assert torch.equal(f['shared'][1], torch.arange(6.0).reshape(2, 3).T)


def test_objects_sums_and_votes_are_shared(found):
    for f in found:
        assert f['flags'] == [True, False, True] and f['object'] == {'a': 0} and f['gathered'] == ['a', 'b', 'c']
        assert f['total'].tolist() == [3, 3]


def test_rank_0_decides_for_all_and_its_errors_reach_all(found):
    assert [f['decided'] for f in found] == ['made'] * 3 and [f['calls'] for f in found] == [[0], [], []]
    assert [f['error'] for f in found] == ['told by 0'] * 3


def test_all_wait_for_each_other_and_hear_of_errors(found):
    assert [f['patient'] for f in found] == [0, 1, 2] and [f['patient_error'] for f in found] == ['told by 0'] * 3


def test_alone_nothing_has_to_be_joined(tmp_path):
    weights = [torch.ones(2)]
    distributed.average(weights)
    distributed.broadcast_tensors(weights)
    distributed.barrier()
    assert torch.equal(weights[0], torch.ones(2)) and distributed.any_rank(True, False) == [True, False]
    assert distributed.gather_objects(3) == [3] and distributed.broadcast_from_rank0(lambda: 4) == 4
    assert (distributed.rank(), distributed.world_size(), torchrun.num_started()) == (0, 1, 1)
    called = []
    launch(called.append, [5], 1, 'cpu')
    assert called == [5], 'in this process'


def test_the_world_size_that_is_asked_for(monkeypatch):
    assert [torchrun.how_many(gpus) for gpus in (None, 1, 4)] == [1, 1, 4]
    for name, value in (('RANK', '0'), ('WORLD_SIZE', '4'), ('MASTER_ADDR', 'here'), ('MASTER_PORT', '1')):
        monkeypatch.setenv(name, value)
    assert [torchrun.how_many(gpus) for gpus in (None, 4)] == [4, 4]
    with pytest.raises(OptionError, match='--gpus=2, but torchrun started 4'):
        torchrun.how_many(2)


def test_devices_that_are_not_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(OptionError, match='--gpus=4: this machine has 2'):
        launch(print, [], 4, 'cuda')
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(OptionError, match='each needs its own'), process_group.joined('cuda'):
        pass
    with pytest.raises(OptionError, match='--device=mps does not support'), process_group.joined('mps'):
        pass
    monkeypatch.setenv(process_group.TIMEOUT, 'soon')
    with pytest.raises(OptionError, match='STYLEGAN_TIMEOUT=soon is not a number of seconds'), process_group.joined('cpu'):
        pass


# --- Failures ---


def fail(how, rank):
    if distributed.rank() == rank:
        if how == 'raise':
            raise ZeroDivisionError('the words of rank 1')
        if how == 'user error':
            raise UserError('images.zip: is damaged; make it again')
        if how == 'option error':
            raise OptionError('--x:\n  no')
        if how == 'exit':
            sys.exit(3)
        if how == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if how == 'hang':
            time.sleep(1000)
    distributed.barrier()
    time.sleep(1000)


@pytest.mark.parametrize('how, rank, error, text', [
    ('raise', 1, RankError, r'(?s)^Rank 1 failed, and all ranks stopped:\nTraceback.*in fail\n.*Error: the words of rank 1$'),
    ('exit', 2, RankError, r'^Rank 2 ended with status 3, and all ranks stopped\.$'),
    ('kill', 0, UserError, '^rank 0 was killed by SIGKILL, and all ranks stopped.*--resume continues')])
def test_a_rank_that_dies_ends_all_soon_with_its_words(how, rank, error, text, capfd):
    begun = time.monotonic()
    with pytest.raises(error, match=text):
        launch(fail, [how, rank], 3, 'cpu')
    assert time.monotonic() - begun < 20
    assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.parametrize('how, text', [('user error', 'images.zip: is damaged; make it again'), ('option error', '--x: no')])
def test_wrong_input_is_one_line_wherever_it_is_found(how, text):
    with pytest.raises(UserError, match=f'^{text}$') as caught:
        launch(fail, [how, 1], 2, 'cpu')
    assert caught.value.exit_status == {'user error': 1, 'option error': 2}[how]


kept = []


def keep_a_folder(where, fails):
    if distributed.rank() == 1:
        kept.append(tempfile.TemporaryDirectory(dir=where))
        if fails:
            raise ZeroDivisionError


@pytest.mark.parametrize('fails', [False, True])
def test_temporary_folders_go_with_the_rank(fails, tmp_path):
    with pytest.raises(RankError) if fails else contextlib.nullcontext():
        launch(keep_a_folder, [str(tmp_path), fails], 2, 'cpu')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_rank_that_hangs_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setenv(process_group.TIMEOUT, '6')
    with pytest.raises(UserError, match=r'did not answer rank 0 within 6 s, in fail \(test_dist.*6000ms.*STYLEGAN_TIMEOUT'):
        launch(fail, ['hang', 1], 2, 'cpu')


def decide_slowly(seconds):
    assert distributed.broadcast_from_rank0(lambda: time.sleep(seconds) or 'made') == 'made'


def work_slowly(seconds):
    assert distributed.patiently(lambda: time.sleep(seconds * distributed.rank()) or 'made') == 'made'


@pytest.mark.slow
def test_others_wait_for_any_rank_longer_than_the_time_out(monkeypatch):
    monkeypatch.setenv(process_group.TIMEOUT, '8')
    launch(work_slowly, [12], 2, 'cpu')


@pytest.mark.slow
def test_others_wait_for_rank_0_longer_than_the_time_out(monkeypatch):
    monkeypatch.setenv(process_group.TIMEOUT, '8')
    launch(decide_slowly, [12], 2, 'cpu')


def pause(seconds):
    """Rank 1 stops; rank 0 lets it continue later."""
    pids = distributed.gather_objects(os.getpid())
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        time.sleep(seconds)
        os.kill(pids[1], signal.SIGCONT)
    distributed.barrier()


@pytest.mark.parametrize('seconds', [2, pytest.param(65, marks=pytest.mark.slow)])
def test_a_rank_that_is_paused_continues(seconds):
    begun = time.monotonic()
    launch(pause, [seconds], 2, 'cpu')
    assert time.monotonic() - begun > seconds


def program(function):
    return ['-c', f'import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n'
            f'import test_distributed\nif __name__ == "__main__": test_distributed.{function}']


def sleep_beside(folder):
    Path(folder, f'{distributed.rank()}.pid').write_text(str(os.getpid()))
    time.sleep(1000)


def wait_until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().split(') ')[1][0] != 'Z'
    except OSError:
        return False


def listen():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which background jobs ignore
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and programs under nohup


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='looks for processes in /proc')
@pytest.mark.parametrize('signals', [
    [signal.SIGKILL], pytest.param([signal.SIGTERM, signal.SIGINT, signal.SIGHUP], marks=pytest.mark.slow)])
def test_ranks_do_not_outlive_the_program(signals, tmp_path):
    parents, pids = {}, {}
    for which in signals:
        folder = tmp_path / which.name
        folder.mkdir()
        code = program(f'launch(test_distributed.sleep_beside, [{str(folder)!r}], 2, "cpu")')
        parents[which] = subprocess.Popen([sys.executable, *code], stderr=subprocess.DEVNULL, preexec_fn=listen)
    for which, parent in parents.items():
        files = [tmp_path / which.name / f'{rank}.pid' for rank in (0, 1)]
        wait_until(lambda files=files: all(file.exists() and file.read_text() for file in files))
        pids[which] = [int(file.read_text()) for file in files]
        assert all(map(is_running, pids[which]))
        parent.send_signal(which)
    for which, parent in parents.items():
        assert parent.wait(60) == -which
        wait_until(lambda which=which: not any(map(is_running, pids[which])))


def test_a_signal_that_the_parent_held_back_is_passed_on():
    with held_back(), launching._PassOnSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.last == signal.SIGTERM


# --- torchrun ---


def start_torchrun(tmp_path, *args, **kwargs):
    """Start it in the background."""
    command = [sys.executable, '-m', 'torch.distributed.run', *args]
    with open(tmp_path / 'log', 'a') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                env={**os.environ, 'OMP_NUM_THREADS': '1'}, **kwargs)


SCRIPT = f'''
import json, os, sys
sys.path.insert(0, {str(ROOT)!r})
from torch_utils import distributed
from torch_utils.launching import launch

def work():
    attempt = int(os.environ['TORCHELASTIC_RESTART_COUNT'])
    print('first only', distributed.rank())
    open(f'{{sys.argv[1]}}/{{attempt}}-{{distributed.rank()}}', 'w').write(json.dumps(distributed.gather_objects(attempt)))
    if attempt < 2 and distributed.rank() == 1 - attempt:
        raise ZeroDivisionError(f'in attempt {{attempt}}')
    distributed.barrier()

launch(work, (), None, 'cpu')
'''


def test_torchrun_starts_a_group_again_where_one_failed_before(tmp_path):
    """The store of torchrun still holds what the previous ranks wrote there."""
    (tmp_path / 'script.py').write_text(SCRIPT)
    run = start_torchrun(tmp_path, '--standalone', '--nproc-per-node=2', '--max-restarts=2', '--monitor-interval=0.1',
                   str(tmp_path / 'script.py'), str(tmp_path))
    assert run.wait(240) == 0, (tmp_path / 'log').read_text()
    assert [json.loads((tmp_path / f'{a}-{r}').read_text()) for a in range(3) for r in range(2)] == [
        [0, 0], [0, 0], [1, 1], [1, 1], [2, 2], [2, 2]]
    log = (tmp_path / 'log').read_text()
    assert log.count('first only 0') == 3 and 'first only 1' not in log
    for attempt in (0, 1):
        assert f'ZeroDivisionError: in attempt {attempt}' in log


def test_the_start_of_the_program_is_that_of_torchrun_or_its_own(monkeypatch):
    """Kubernetes' PyTorchJob sets the variables of a rank, but there is no torchrun: the parent is a shell, or missing."""
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '1')
    me, parent = (process.create_time() for process in (psutil.Process(), psutil.Process().parent()))
    assert torchrun.started_at() == me
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    assert torchrun.started_at() == parent
    monkeypatch.setattr(psutil.Process, 'parent', lambda self: None)
    assert torchrun.started_at() == me
    monkeypatch.setenv(torchrun.STARTED, '7.5')
    assert torchrun.started_at() == 7.5
