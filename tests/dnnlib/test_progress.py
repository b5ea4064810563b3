"""How far a computation is: lines in a log file, a bar on a terminal."""

import re
import sys
import time

import pytest

from dnnlib import progress
from dnnlib.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_lines_tell_the_time_left(capsys, clock):
    with Progress('generator features', 1000) as p:
        for _ in range(5):
            clock(6)
            p.advance(100)
    out, err = capsys.readouterr()
    assert out == '' and [re.sub(' +', ' ', line) for line in err.splitlines()] == [
        'generator features items 200 time 12s ms/item 60.00 left 48s',
        'generator features items 400 time 24s ms/item 60.00 left 36s']
    assert err.startswith('generator features  items 200     time 12s          ms/item 60.00')


def test_many_items_are_told_before_their_time(capsys, clock):
    with Progress('x', None) as p:
        for _ in range(60):
            clock(0.125)
            p.advance(100)
    assert [int(n) for n in re.findall(r'items (\d+)', capsys.readouterr().err)] == [1000, 2000, 3000, 4000, 5000, 6000]


def test_quick_and_quiet_work_is_not_told(capsys, clock):
    with Progress('x', 100) as p:
        clock(9)
        p.advance(100)
    with Progress('x', 5000) as p:
        p.advance(5000)
    with Progress('x', 100, verbose=False) as p:
        clock(1000)
        p.advance(100)
    assert capsys.readouterr() == ('', '')


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    made = []
    monkeypatch.setattr(progress, 'tqdm', lambda **kwargs: made.append(kwargs) or Bar(made))
    with Progress('images', 50) as p:
        p.advance(20)
        p.advance(30)
    assert made == [dict(desc='images', total=50, leave=False), 20, 30, 'closed'] and capsys.readouterr().err == ''


class Bar:
    def __init__(self, calls):
        self.update, self.close = calls.append, lambda: calls.append('closed')
