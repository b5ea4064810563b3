"""Signals that ask a program to stop."""

import os
import signal

import pytest

from dnnlib.signals import StopOnSignal, endings, held_back


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks(number):
    before = signal.getsignal(number)
    with StopOnSignal(quiet=True) as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert signal.getsignal(number) == before


def test_a_hangup_that_nohup_has_ignored_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert endings() == [signal.SIGTERM]
        with StopOnSignal(quiet=True) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in endings()


def test_a_signal_that_the_parent_held_back_asks_too():
    with held_back(), StopOnSignal(quiet=True) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
