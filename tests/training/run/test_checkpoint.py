"""Pairs of files: whatever happens while one is written, a whole one is found, and older ones stay."""

import os
from pathlib import Path

import pytest
import torch

import training.run.checkpoint
from dnnlib.seal import check_file
from training.run.checkpoint import Checkpoints
from training.run.resume import find_resume, state_of
from training.run.schedule import Position


class State:
    """In place of the optimisers: a number."""

    def take(self, progress):
        return {'value': torch.full([1000], float(self.value))}


class Saver:
    def __init__(self, run_dir, monkeypatch, keep=2):
        self.run_dir, self.said, self.state = run_dir, [], State()
        monkeypatch.setattr(training.run.checkpoint, 'write_network_snapshot',
                            lambda f, modules, kwargs, nimg: f.write(f'{self.state.value} '.encode() * 1000))
        self.checkpoints = Checkpoints(run_dir, keep, {}, {}, self.state, self.said.append)

    def save(self, value, kimg=None):
        self.state.value = value
        return self.checkpoints.save(Position((value if kimg is None else kimg) * 1000 + 999))

    def found(self):
        """What a run would go on from: the value in both files."""
        resume = find_resume(str(self.run_dir), None, '', '', say=lambda line: None)
        value = int(Path(resume.network_pkl).read_bytes().split()[0])
        assert torch.load(resume.training_state)['value'][0] == value
        return value


@pytest.fixture
def saver(tmp_path, monkeypatch):
    return Saver(tmp_path, monkeypatch)


def files(path):
    return sorted(p.name for p in path.iterdir())


def test_a_pair_is_sealed_and_nothing_else_is_left(saver, tmp_path):
    path = saver.save(3)
    assert path == tmp_path / 'network-snapshot-000003.pkl'
    assert files(tmp_path) == ['network-snapshot-000003.pkl', 'training-state-000003.pt']
    whole, digest, _ = check_file(path)
    assert whole and check_file(tmp_path / 'training-state-000003.pt')[2] == digest
    assert saver.checkpoints.longest_save > 0


@pytest.mark.parametrize('keep', [1, 2, 3])
def test_so_many_states_are_kept_and_all_networks(tmp_path, monkeypatch, keep):
    saver = Saver(tmp_path, monkeypatch, keep)
    for value in range(5):
        saver.save(value)
    assert len(list(tmp_path.glob('network-snapshot-*.pkl'))) == 5
    assert [p.name for p in sorted(tmp_path.glob('*.pt'))] == [f'training-state-{k:06d}.pt' for k in range(5 - keep, 5)]


def test_states_of_later_pairs_that_were_damaged_do_not_push_out_good_ones(tmp_path, monkeypatch):
    saver = Saver(tmp_path, monkeypatch, keep=1)
    saver.save(4)
    saver.save(8)
    (tmp_path / 'network-snapshot-000008.pkl').write_bytes(b'damaged')
    saver.save(5)
    assert saver.found() == 5 and [p.name for p in tmp_path.glob('*.pt')] == ['training-state-000005.pt']


def test_a_state_that_a_failed_save_could_not_rename_gets_its_name_back(saver, tmp_path):
    """The directory became read-only in the middle of the save."""
    saver.save(1)
    (tmp_path / 'training-state-000001.pt').rename(tmp_path / 'training-state-000001.previous.pt')
    assert saver.found() == 1
    saver.save(2)
    assert [p.name for p in sorted(tmp_path.glob('*.pt'))] == ['training-state-000001.pt', 'training-state-000002.pt']
    assert state_of(tmp_path / 'network-snapshot-000001.pkl') == tmp_path / 'training-state-000001.pt'


class Killed(BaseException):
    pass


def kill_at(monkeypatch, step):
    """Raise at the step-th change of the directory, and do nothing to it from then on, as if the process were dead."""
    count = [0]

    def counted(plain):
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] >= step:
                raise Killed
            return plain(*args, **kwargs)
        return call
    for name in ('replace', 'unlink', 'fsync'):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


@pytest.mark.parametrize('kimg', [4, 3])
@pytest.mark.parametrize('first', range(1, 12))
def test_killed_at_any_step_of_a_save_and_of_the_next_there_is_always_a_whole_pair(saver, tmp_path, kimg, first):
    """The pair before is of the same name, or of another."""
    saver.save(2)
    saver.save(3)
    valid = {3}
    for value, step in ((4, first), (5, first), (6, 3)):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step)
            try:
                saver.save(value, kimg=kimg)
            except Killed:
                valid.add(value)
            else:
                valid = {value}
        found = saver.found()
        assert found in valid
        valid = {found}
    saver.save(7)
    saver.save(8)
    assert saver.found() == 8 and len(list(tmp_path.glob('*.pt'))) == 2 and not list(tmp_path.glob('*.previous.pt'))


@pytest.mark.parametrize('kimg', [4, 3])
def test_when_it_cannot_be_written_the_older_ones_stay_and_it_is_told(saver, tmp_path, monkeypatch, kimg):
    saver.save(2)
    saver.save(3)
    before = {path: path.read_bytes() for path in tmp_path.glob('*.pkl')}
    for failing in ('os.fsync', 'os.replace', 'dnnlib.files.open'):
        with monkeypatch.context() as patch:
            def no_space(*args, **kwargs):
                if 'rb' in args:  # a full disk can be read
                    return open(*args, **kwargs)
                raise OSError(28, 'No space left on device')
            patch.setattr(failing, no_space, raising=False)
            assert saver.save(9, kimg=kimg) is None
        assert {path: path.read_bytes() for path in tmp_path.glob('*.pkl')} == before
        assert saver.found() == 3
        assert f'network-snapshot-{kimg:06d}.pkl could not be saved (No space left on device)' in saver.said[-1]
    assert not [name for name in files(tmp_path) if name.endswith('.tmp')]
    assert saver.save(4, kimg=kimg) and saver.found() == 4


def test_a_state_without_its_snapshot_takes_up_no_room(saver, tmp_path, monkeypatch):
    """The snapshot's bytes find no place when they are flushed, after the state was renamed."""
    plain, calls = os.fsync, []

    def no_space(fd):
        calls.append(fd)
        if len(calls) == 3:  # the state, its directory, the snapshot
            raise OSError(28, 'No space left on device')
        plain(fd)
    saver.save(3)
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', no_space)
        assert saver.save(4) is None
    assert files(tmp_path) == ['network-snapshot-000003.pkl', 'training-state-000003.pt']


def test_other_trouble_is_not_survived(saver):
    with pytest.raises(ZeroDivisionError), saver.checkpoints.surviving('x'):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError), saver.checkpoints.surviving('x'):
        raise RuntimeError('shapes do not fit')
    assert saver.said == []


def test_a_state_is_only_found_with_its_own_snapshot(saver, tmp_path):
    saver.save(3)
    assert state_of(tmp_path / 'network-snapshot-000003.pkl') == tmp_path / 'training-state-000003.pt'
    assert state_of(tmp_path / 'network-snapshot-000004.pkl') is None
