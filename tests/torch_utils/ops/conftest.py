"""The native operators, built once per session."""

from __future__ import annotations

import sysconfig

import pytest
import torch
from compiling import CSRC, compile_all, compiler
from torch.utils import cpp_extension


@pytest.fixture(scope='session')
def native_ops(tmp_path_factory):
    """torch.ops.style_gan_ops with the kernels for the CPU."""
    cxx, folder = compiler(), tmp_path_factory.mktemp('native_ops')
    includes = [f'-I{path}' for path in [*cpp_extension.include_paths(), sysconfig.get_paths()['include']]]
    sources = [CSRC / 'bindings.cpp', *sorted(CSRC.glob('*_cpu.cpp'))]
    flags = ['-std=c++20', '-O3', '-march=native', '-fPIC', '-fopenmp', *includes]
    compile_all([[cxx, *flags, '-c', str(s), '-o', str(folder / f'{s.stem}.o')] for s in sources])
    library = folder / 'style_gan_ops.so'
    paths = [part for path in cpp_extension.library_paths() for part in (f'-L{path}', f'-Wl,-rpath,{path}')]
    objects = [str(folder / f'{s.stem}.o') for s in sources]
    compile_all([[cxx, '-shared', '-fopenmp', *objects, *paths, '-ltorch_cpu', '-lc10', '-o', str(library)]])
    torch.ops.load_library(library)
    return torch.ops.style_gan_ops
