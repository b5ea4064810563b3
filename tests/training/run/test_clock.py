"""--snap-minutes and --max-minutes."""

import time

import pytest

from dnnlib.util import EasyDict
from training.run.clock import Clock


@pytest.fixture
def at(monkeypatch):
    """A clock of a program that was started at 0 s, and a function that sets the time."""
    now = [0.0]
    monkeypatch.setattr(time, 'time', lambda: now[0])
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr('psutil.Process.create_time', lambda self: 0.0)

    def make(snap_minutes=None, max_minutes=None):
        return Clock(EasyDict(snap_minutes=snap_minutes, max_minutes=max_minutes)), lambda t: now.__setitem__(0, t)
    return make


def test_without_options_nothing_is_ever_due(at):
    clock, set_time = at()
    set_time(1e9)
    assert not clock.time_is_up(1e6) and not clock.snapshot_is_due(0)


def test_a_snapshot_is_due_so_long_after_the_last(at):
    clock, set_time = at(snap_minutes=2)
    set_time(219)
    assert not clock.snapshot_is_due(100)
    set_time(220)
    assert clock.snapshot_is_due(100)


def test_an_evaluation_does_not_make_the_next_snapshot_due(at):
    clock, set_time = at(snap_minutes=2)
    set_time(130)
    assert clock.snapshot_is_due(0)
    set_time(500)
    clock.skip()  # saved at 130, evaluated until 500
    set_time(619)
    assert not clock.snapshot_is_due(130)
    set_time(620)
    assert clock.snapshot_is_due(130)


def test_it_stops_early_enough_for_two_more_steps_and_saves(at):
    clock, set_time = at(max_minutes=10)
    for t in range(10, 601, 10):
        set_time(t)
        assert clock.time_is_up(longest_save=20) is (t >= 540), t


def test_a_twentieth_but_not_more_than_a_minute_is_kept_for_a_first_save_of_unknown_length(at):
    for minutes, seconds in ((1, 57), (100, 5940)):
        clock, set_time = at(max_minutes=minutes)
        set_time(seconds - 1)
        clock, set_time = at(max_minutes=minutes)
        assert not clock.time_is_up(0)
        set_time(seconds)
        assert clock.time_is_up(0)


@pytest.mark.parametrize('hours', [-5, 5])
def test_a_time_of_day_that_jumps_neither_ends_a_run_nor_keeps_it_from_ending(at, monkeypatch, hours):
    clock, set_time = at(max_minutes=10)
    monkeypatch.setattr(time, 'time', lambda: 3600.0 * hours)
    assert not clock.time_is_up(longest_save=0)
    set_time(570)
    assert clock.time_is_up(longest_save=0)


def test_the_start_of_the_program_counts_not_that_of_the_clock():
    """This process has run for a while already."""
    assert Clock(EasyDict(snap_minutes=None, max_minutes=1e-6)).time_is_up(0)
