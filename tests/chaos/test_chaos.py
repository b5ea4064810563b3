"""A short chaos and a longer one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith('linux'):
    pytest.skip('needs Linux', allow_module_level=True)

RUN = Path(__file__).with_name('run.py')


def chaos(*args):
    """What it prints, if it passed."""
    result = subprocess.run([sys.executable, str(RUN), *args], capture_output=True, text=True, env=dict(os.environ))
    assert result.returncode == 0 and result.stdout.endswith('PASSED\n'), result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_run_that_is_disturbed_ends_like_one_that_is_not():
    printed = chaos('--seed=0', '--case=0', '--faults=4')
    assert 'case 0 (plain, 1 rank): complete' in printed and '\n1 runs complete and equal' in printed


@pytest.mark.slow
def test_three_minutes_of_chaos():
    chaos('--seed=0', '--minutes=3')
