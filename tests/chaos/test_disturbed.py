"""A run under a few chosen faults: what the chaos does, small enough for every day. test_chaos.py has the longer ones."""

import sys

import pytest
from helpers.background import TINY, write_images

from chaos.compare import differences
from chaos.disturbed import DisturbedRun
from chaos.faults import Fault
from chaos.place import Place

if not sys.platform.startswith('linux'):
    pytest.skip('needs Linux', allow_module_level=True)

# Four ticks, three snapshots.
SHORT = ['--kimg=1', '--batch=80', '--tick=0.24', '--snap=1', '--penalty-interval=4', '--aug=noaug']


@pytest.fixture
def place():
    """This machine as it is: a full disk is a limit on the size of files, and the clock stays right."""
    here = Place()
    here.mounts = here.has_clock = False
    return here


def test_a_run_that_is_killed_and_corrupted_ends_like_one_that_is_not(place, tmp_path):
    options = [f'--data={write_images(tmp_path / "images")}', *TINY, *SHORT]
    told, runs = [], {}
    faults = [Fault(kind, early=False, moment=0.25, target='all', chance=0.5, seconds=0.5, hours=0)
              for kind in ('kill', 'corrupt')]
    for name, disturbances in (('undisturbed', []), ('disturbed', faults)):
        logs = tmp_path / name
        logs.mkdir()
        runs[name] = DisturbedRun(place, logs / 'runs', options, 10, logs, lambda fault, what: told.append((fault.kind, what)))
        runs[name].survive(disturbances)
    assert differences(runs['disturbed'].run_dir, runs['undisturbed'].run_dir) == []
    assert told[0] == ('kill', 'SIGKILL to all') and len(runs['disturbed'].sessions) >= 2
    assert not [path.name for path in runs['disturbed'].run_dir.iterdir() if path.name.endswith('.tmp')]
