"""TeeOutput: the log file holds what was printed, exceptions too, and the streams come back."""

import sys

import pytest

from dnnlib.log import TeeOutput
from dnnlib.util import UserError


def test_what_is_printed_is_logged_in_order(tmp_path, capsys):
    with TeeOutput(tmp_path / 'log.txt'):
        print('to stdout')
        print('to stderr: ä', file=sys.stderr)
        sys.stdout.writelines(['one\n', 'two\n'])
        assert sys.stdout.write('abc') == 3
        print()
    assert capsys.readouterr() == ('to stdout\none\ntwo\nabc\n', 'to stderr: ä\n')
    assert (tmp_path / 'log.txt').read_text('utf-8') == 'to stdout\nto stderr: ä\none\ntwo\nabc\n'


def test_it_is_on_disk_at_once(tmp_path):
    with TeeOutput(tmp_path / 'log.txt'):
        print('tick', end='')
        assert (tmp_path / 'log.txt').read_text() == 'tick'


def test_a_log_is_continued(tmp_path):
    for word in ('first', 'second'):
        with TeeOutput(tmp_path / 'log.txt'):
            print(word)
    assert (tmp_path / 'log.txt').read_text() == 'first\nsecond\n'


@pytest.mark.parametrize('error', [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_streams_come_back(tmp_path, error):
    streams = sys.stdout, sys.stderr
    try:
        with TeeOutput(tmp_path / 'log.txt'):
            assert sys.stdout is not streams[0] and sys.stderr is not streams[1]
            if error:
                raise error
    except BaseException as err:
        assert type(err) is error
    assert (sys.stdout, sys.stderr) == streams
    print('after')
    assert 'after' not in (tmp_path / 'log.txt').read_text()


def test_an_exception_is_logged_with_its_traceback_and_goes_on(tmp_path):
    with pytest.raises(ValueError, match='the cause'), TeeOutput(tmp_path / 'log.txt'):
        print('before')
        raise ValueError('the cause')
    text = (tmp_path / 'log.txt').read_text()
    assert text.startswith('before\nTraceback (most recent call last):\n')
    assert 'test_log.py' in text and text.endswith('ValueError: the cause\n')


def test_an_ordinary_exit_is_not_logged(tmp_path):
    with pytest.raises(SystemExit), TeeOutput(tmp_path / 'log.txt'):
        sys.exit(3)
    assert (tmp_path / 'log.txt').read_text() == ''


def test_who_kept_the_stream_may_go_on_printing(tmp_path, capsys):
    with TeeOutput(tmp_path / 'log.txt'):
        kept = sys.stderr
    kept.write('late')
    kept.flush()
    assert capsys.readouterr().err == 'late'


def test_the_streams_keep_their_qualities(tmp_path):
    original = sys.stdout
    with TeeOutput(tmp_path / 'log.txt'):
        assert sys.stdout.encoding == original.encoding and sys.stdout.isatty() == original.isatty()


def test_a_log_that_cannot_be_opened_changes_nothing(tmp_path):
    streams = sys.stdout, sys.stderr
    with pytest.raises(UserError, match=r'gone/log\.txt: cannot be written \(no such file'), \
            TeeOutput(tmp_path / 'gone' / 'log.txt'):
        pass
    assert (sys.stdout, sys.stderr) == streams
