"""Who may write in a run directory."""

import contextlib
import multiprocessing

import pytest

from dnnlib.util import UserError
from training.run.directory import take, take_as_rank


@contextlib.contextmanager
def another_process(function, run_dir):
    """function(run_dir) in a process that then lives as long as the block."""
    context = multiprocessing.get_context('fork')
    ready, done = context.Event(), context.Event()

    def live():
        held = function(run_dir)
        ready.set()
        done.wait(60)
        del held

    process = context.Process(target=live)
    process.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        done.set()
        process.join()


def test_a_rank_that_outlives_its_launching_process_keeps_the_directory(tmp_path):
    with another_process(take_as_rank, tmp_path), pytest.raises(UserError, match='another process is training in it'), \
            take(tmp_path):
        pass
    with take(tmp_path), take_as_rank(tmp_path):  # those of the next start
        pass


def test_a_rank_that_comes_too_late_does_not_write(tmp_path):
    with another_process(take_as_rank, tmp_path), pytest.raises(UserError, match='another process is training in it'):
        take_as_rank(tmp_path)


@pytest.mark.parametrize('error', [None, UserError('no room')])
def test_temporary_files_that_could_not_be_removed_are_removed_at_the_end(tmp_path, error):
    with pytest.raises(UserError) if error else contextlib.nullcontext(), take(tmp_path):
        (tmp_path / '.network-snapshot-000001.pkl.0123abcd.tmp').touch()
        if error:
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']
