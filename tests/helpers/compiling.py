"""Compilers for the tests of C++ and CUDA sources."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / 'torch_utils' / 'ops' / 'csrc'


def compiler() -> str:
    """The C++ compiler, or skip the test."""
    found = shutil.which('g++') or shutil.which('c++') or shutil.which('clang++')
    if found is None:
        pytest.skip('no C++ compiler')
    return found


def compile_all(commands: list[list[str]]) -> None:
    """Run compilers, two at a time; fail with what they print."""

    def run(command):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, f'{" ".join(command)}\n{result.stderr}'

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, commands))
