"""Checks that raise, hang or crash are reported, and those after them still run; the report and its exit status."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from helpers.programs import run_program

from training.doctor import __main__ as program
from training.doctor import report
from training.doctor.findings import MISSING, OK, WARN, Check, Finding, Place
from training.doctor.worker import examine

PLACE = Place(Path('runs'))


def fine(place):
    print('noise of a library')
    os.write(1, b'noise of a library in C')
    yield Finding('fine', OK, f'runs go to {place.outdir}', measured={'seconds': 1 / 3})


def raises(place):
    yield Finding('never seen', OK, '')
    raise ValueError('two\nlines')


def hangs(place):
    time.sleep(600)


def crashes(place):
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves(place):
    os._exit(3)


def lacks(place):
    yield Finding('lacks', MISSING, f'nothing at {Path.home()}/x', f'get it to {Path.home()}/x', essential=True)


def test_whatever_a_check_does_the_next_ones_run():
    checks = [Check(look.__name__, look, essential=look is leaves) for look in (raises, fine, crashes, leaves, fine)]
    found = list(examine(checks, PLACE))
    assert [[f.name for f in findings] for findings in found] == [['raises'], ['fine'], ['crashes'], ['leaves'], ['fine']]
    raised, fine_, crashed, left, last = (findings[0] for findings in found)
    assert raised.status == WARN
    assert re.fullmatch(r'the check failed: ValueError: two lines \(test_worker.py:\d+\)', raised.text)
    assert fine_ == last == Finding('fine', OK, 'runs go to runs', measured={'seconds': 1 / 3})
    assert (crashed.status, crashed.text) == (WARN, 'the check failed: its process ended by SIGSEGV')
    assert (left.status, left.text) == (MISSING, 'the check failed: its process ended with status 3') and left.essential


def test_a_check_that_hangs_is_given_up():
    found = list(examine([Check('hangs', hangs), Check('fine', fine)], PLACE, limit=10))
    assert found[0][0].text == 'the check failed: no answer in 10 seconds' and found[1][0].status == OK


@pytest.mark.parametrize('look, status, words', [(fine, 0, 'Training works here.'),
                                                 (lacks, 1, 'Training cannot work here: see what is missing above.')])
def test_the_exit_status_tells_whether_training_works(monkeypatch, look, status, words):
    monkeypatch.setattr(program, 'CHECKS', (Check('raises', raises), Check(look.__name__, look)))
    found, out, _ = run_program(program.main, '--outdir=there')
    assert found == status and out.endswith(f'\n{words}\n') and 'noise' not in out and str(Path.home()) not in out
    found, out, _ = run_program(program.main, '--json')
    content = json.loads(out)
    assert found == status and content['can_train'] is (status == 0) and str(Path.home()) not in out
    assert [f['name'] for f in content['findings']] == ['raises', look.__name__]
    assert content['findings'][1]['measured'] == ({'seconds': 0.3333} if look is fine else {})


def test_lines_are_aligned_and_wrapped():
    text = list(report.lines(Finding('Disk', WARN, 'word ' * 40, 'do this')))
    assert text[0].startswith('Disk' + ' ' * 20 + 'warn     word') and all(len(line) <= report.WIDTH for line in text)
    assert text[1].startswith(' ' * 33 + 'word') and text[-1] == ' ' * 33 + '-> do this'


def test_the_home_directory_is_not_named(monkeypatch):
    monkeypatch.setenv('HOME', '/home/ada')
    text = report.without_home('/home/ada, /home/ada/runs and /home/ada2/runs')
    assert text == '~, ~/runs and /home/ada2/runs'
