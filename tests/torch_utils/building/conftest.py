"""A library that is built in a second, and a compiler that counts."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from torch_utils.building import CannotBuild, toolchain

ROOT = Path(__file__).parents[3]
BUILD = """
import ctypes, sys
from pathlib import Path
from torch_utils.building import CannotBuild, cache, toolchain
try:
    path = cache.obtain(Path(sys.argv[2]), toolchain.make_recipe('tiny', Path(sys.argv[1]), 'cpu'), 'a second')
    print(ctypes.CDLL(str(path)).answer())
except CannotBuild as err:
    print(err)
"""


class Workplace:
    """sources, cache: folders. Compiling notes `link` in the file `links`, takes `seconds`, and fails if `broken`."""

    def __init__(self, path):
        self.sources, self.cache, self.links = path / 'sources', path / 'cache' / 'ops', path / 'links'
        self.sources.mkdir(parents=True)
        self.write(42)
        compiler = path / 'g++'
        compiler.write_text(f'#!/bin/sh\n'
                            f'case "$*" in *-shared*) echo link >> {self.links};; esac\n'
                            f'case "$*" in *-c*) echo x >> {path / "compiling"}; sleep "${{SECONDS_MORE:-0}}";; esac\n'
                            f'exec {shutil.which("g++") or shutil.which("c++")} "$@"\n')
        compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
        self.compiler, self.compiling = str(compiler), path / 'compiling'

    def write(self, answer, tail=''):
        (self.sources / 'tiny.cpp').write_text(f'extern "C" int answer() {{ return {answer}; }}\n{tail}\n')

    def recipe(self):
        return toolchain.make_recipe('tiny', self.sources, 'cpu')

    def count(self):
        return len(self.links.read_text().split()) if self.links.exists() else 0

    def start(self, seconds=0):
        """Another process that builds: prints the answer, or why there is none."""
        return subprocess.Popen([sys.executable, '-c', BUILD, self.sources, self.cache], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, 'CXX': self.compiler, 'SECONDS_MORE': str(seconds)})


@pytest.fixture
def place(tmp_path, monkeypatch):
    try:
        toolchain.compiler()
        toolchain.ninja()
    except CannotBuild as err:
        pytest.skip(f'nothing can be built here: {err}')
    workplace = Workplace(tmp_path)
    monkeypatch.setenv('CXX', workplace.compiler)
    monkeypatch.delenv('SECONDS_MORE', raising=False)
    return workplace
