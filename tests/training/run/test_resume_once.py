"""A run that resumes reads its files once before it trains."""

import gc
import weakref

import pytest
from helpers.background import TINY, write_images

import train
from dnnlib import seal
from training.run import checks, restore
from training.snapshots import file


class TrainingBegins(Exception):
    pass


def main(*args):
    train.main([str(arg) for arg in (*TINY, '--metrics=none', '--aug=noaug', '--ops=torch', '--wandb=disabled',
                                     '--snap=50', '--kimg=1', *args)], standalone_mode=False)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    data = write_images(folder / 'images')
    main(f'--outdir={folder}', f'--data={data}')
    return next(folder.glob('00000-*'))


@pytest.fixture
def reads(monkeypatch):
    """What is hashed (the suffixes of files) and parsed, in this order; ends where the training would begin."""
    found = []
    plain_hash, plain_parse, plain_restore = seal._sha256, file._read, restore.restore_state

    def hashed(f, size):
        found.append('hash ' + f.name.rpartition('.')[2])
        return plain_hash(f, size)

    def parsed(f):
        found.append('parse')
        return plain_parse(f)

    def stop(*args):
        plain_restore(*args)
        raise TrainingBegins

    monkeypatch.setattr(seal, '_sha256', hashed)
    monkeypatch.setattr(file, '_read', parsed)
    monkeypatch.setattr('training.training_loop.restore_state', stop)
    return found


def resume(run_dir, source):
    with pytest.raises(TrainingBegins):
        main(f'--outdir={run_dir.parent}', f'--data={run_dir.parent / "images"}', f'--resume={source}', '--kimg=2')


@pytest.mark.parametrize('form', ['directory', 'file', 'latest'])
def test_snapshot_and_state_are_hashed_once_and_the_snapshot_is_parsed_once(run_dir, reads, form, monkeypatch):
    kept, plain = [], checks.ReadAhead.put

    def put(self, source, snapshot):
        kept.append(weakref.ref(snapshot.G))
        plain(self, source, snapshot)

    monkeypatch.setattr(checks.ReadAhead, 'put', put)
    resume(run_dir, {'directory': run_dir, 'file': run_dir / 'network-snapshot-000001.pkl', 'latest': 'latest'}[form])
    assert sorted(reads) == ['hash pkl', 'hash pt', 'parse']
    gc.collect()
    assert kept[-1]() is None, 'memory is free once it trains'


def test_a_file_that_changes_between_check_and_training_is_read_again(run_dir, reads, monkeypatch):
    plain, pkl = checks.ReadAhead.take, run_dir / 'network-snapshot-000001.pkl'

    def touched(*args):
        pkl.write_bytes(pkl.read_bytes())
        return plain(*args)

    monkeypatch.setattr(checks.ReadAhead, 'take', touched)
    resume(run_dir, pkl)
    assert reads.count('parse') == reads.count('hash pkl') == 2


def test_what_does_not_fit_is_refused_before_anything_is_created(run_dir):
    before = sorted(run_dir.parent.iterdir())
    pkl = run_dir / 'network-snapshot-000001.pkl'
    with pytest.raises(train.UserError, match=r'^[^\n]*network-snapshot-000001.pkl: its G does not fit[^\n]*$'):
        main(f'--outdir={run_dir.parent}', f'--data={run_dir.parent / "images"}', f'--resume={pkl}', '--cmax=8', '--kimg=2')
    assert sorted(run_dir.parent.iterdir()) == before
