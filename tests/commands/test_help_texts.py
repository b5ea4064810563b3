"""docs/*-help.txt are what the commands say: this also freezes their options, so that they change on purpose only."""

import subprocess
import sys

import help_texts
import pytest


@pytest.mark.parametrize('program', help_texts.PROGRAMS)
def test_the_documented_help_is_that_of_the_program(program):
    assert help_texts.path(program).read_text(encoding='utf-8') == help_texts.help_text(program), (
        'write them anew with `python tests/help_texts.py`, and look at the difference')


def test_the_program_prints_it():
    done = subprocess.run([sys.executable, help_texts.ROOT / 'train.py', '--help'], text=True, capture_output=True, check=True,
                          env={'COLUMNS': '122', 'PYTHONUTF8': '1'})
    printed = '\n'.join(line.rstrip() for line in done.stdout.splitlines())
    assert f'$ python train.py --help\n{printed}\n' == help_texts.help_text('train')
