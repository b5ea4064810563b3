"""The commands tell OpenMP to spin briefly, before torch is loaded, unless the user has said something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCH = '''
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'torch':
            print('torch sees', os.environ.get('GOMP_SPINCOUNT'))
sys.meta_path.insert(0, Watch())
import {command}
import torch
'''


def seen(command, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith(('OMP_', 'GOMP_'))}
    done = subprocess.run([sys.executable, '-c', WATCH.format(command=command)], cwd=ROOT, env={**env, **environment}, text=True,
                          capture_output=True, check=True, timeout=120)
    return done.stdout.split()[-1]


@pytest.mark.parametrize('command', ['train', 'generate', 'calc_metrics'])
def test_it_is_set_before_torch_is_loaded(command):
    assert seen(command) == '1000'


def test_what_the_user_has_set_stays():
    assert seen('train', GOMP_SPINCOUNT='77') == '77'
    assert seen('train', OMP_WAIT_POLICY='passive') == 'None'
