"""Short training runs give the weights that were recorded on this machine and build of torch, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import short_runs

ROOT = Path(__file__).parents[1]
RECORDED = json.loads((ROOT / 'tests' / 'golden' / 'digests.json').read_text()).get(short_runs.machine())
QUICK = ['plain', 'jacobian-fd']


def digests(runs, tmp_path):
    out = tmp_path / 'digests.json'
    subprocess.run([sys.executable, ROOT / 'tests/helpers/short_runs.py', *runs, f'--out={out}'], check=True, capture_output=True)
    return json.loads(out.read_text())[short_runs.machine()]


@pytest.mark.parametrize('runs', [QUICK, pytest.param([*short_runs.RUNS, short_runs.RESUMED], marks=pytest.mark.slow)],
                         ids=['quick', 'all'])
def test_weights_are_those_that_were_recorded(runs, tmp_path):
    if RECORDED is None:
        pytest.skip('nothing was recorded for this machine: python tests/compare_revisions.py compares two revisions on it')
    assert digests(runs, tmp_path) == {name: RECORDED[name] for name in runs}
