"""What turns C++ and CUDA sources into a library for this machine: compilers, flags, and a key that says all of that.

Small and explicit on purpose: torch.utils.cpp_extension does much more, takes half a second to import, and leaves a lock
behind when it is killed.
"""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_utils.building import CannotBuild, cuda

TORCH = Path(torch.__file__).parent
CXX_FLAGS = ('-O3', '-fPIC', '-march=native', '-fno-math-errno', '-fno-trapping-math', '-w')
HEADERS = ('*.h', '*.hpp', '*.cuh')


@dataclass(frozen=True)
class Recipe:
    """How to build one library. `key` names the result: equal keys, equal libraries."""

    name: str                   # of the library
    kind: str                   # 'cpu', or 'cuda' for both
    sources: tuple[Path, ...]
    cxx: tuple[str, ...]        # the compiler's command
    cxx_version: str
    cxx_flags: tuple[str, ...]
    nvcc: str                   # the path, and below the version; '' for kind 'cpu'
    nvcc_version: str
    nvcc_flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    architectures: str          # for people: GPUs, or the CPU

    @property
    def key(self) -> str:
        """<kind>-<version of torch>-<digest of everything else>."""
        digest = hashlib.sha256()
        for part in (self.name, self.cxx_version, self.nvcc_version, cpu_digest(), *self.cxx_flags, *self.nvcc_flags,
                     *self.link_flags):
            digest.update(part.encode() + b'\0')
        folder = self.sources[0].parent
        for path in sorted({*self.sources, *(p for pattern in HEADERS for p in folder.glob(pattern))}):
            digest.update(path.name.encode() + b'\0' + hashlib.sha256(path.read_bytes()).digest())
        return f'{self.kind}-{torch.__version__}-{digest.hexdigest()[:16]}'

    @property
    def file_name(self) -> str:
        """Of the library."""
        return self.name + ('.dylib' if sys.platform == 'darwin' else '.so')

    def ninja_file(self) -> str:
        """The text of build.ninja, for a folder of its own."""
        cxx = f'{shlex.join(self.cxx)} {shlex.join(self.cxx_flags)}'
        lines = ['rule cxx', f'  command = {_escaped(cxx)} -c $in -o $out',
                 'rule nvcc', f'  command = {_escaped(shlex.join([self.nvcc, *self.nvcc_flags]))} -c $in -o $out',
                 'rule link', f'  command = {_escaped(shlex.join(self.cxx))} -shared $in -o $out '
                              f'{_escaped(shlex.join(self.link_flags))}']
        objects = []
        for source in self.sources:
            objects.append(f'{source.name}.o')
            rule = 'nvcc' if source.suffix == '.cu' else 'cxx'
            lines.append(f'build {_escaped_path(objects[-1])}: {rule} {_escaped_path(str(source))}')
        lines.append(f'build {self.file_name}: link {" ".join(map(_escaped_path, objects))}')
        return '\n'.join([*lines, f'default {self.file_name}', ''])


def make_recipe(name: str, folder: Path, kind: str) -> Recipe:
    """The recipe for the sources in a folder: *.cpp but *_cuda.cpp, and for kind 'cuda' these and *.cu as well.

    Raises CannotBuild if there is no compiler for them.
    """
    sources = tuple(p.absolute() for p in sorted(folder.glob('*.cpp')) if kind == 'cuda' or not p.stem.endswith('_cuda'))
    if not sources:
        raise CannotBuild(f'there are no sources in {folder}', 'install the whole project')
    if sys.platform == 'win32':
        raise CannotBuild('they are built on Linux and macOS only', 'use WSL')
    cxx = compiler()
    version = compiler_version(cxx)
    include = [TORCH / 'include', TORCH / 'include' / 'torch' / 'csrc' / 'api' / 'include']
    flags = [*CXX_FLAGS, f'-std={cxx_standard()}', f'-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}']
    link = [f'-L{TORCH / "lib"}', '-ltorch', '-ltorch_cpu', '-lc10']
    nvcc, nvcc_version, nvcc_flags, architectures = '', '', (), f'native ({cpu_name()})'
    if kind == 'cuda':
        toolkit = cuda.find()
        sources += tuple(p.absolute() for p in sorted(folder.glob('*.cu')))
        nvcc, nvcc_version, architectures = str(toolkit.nvcc), toolkit.version, ';'.join(toolkit.architectures)
        nvcc_flags = toolkit.flags(ccbin=cxx[-1] if os.environ.get('CXX') else None)
        include.append(toolkit.include)
        link = [*link, '-lc10_cuda', '-ltorch_cuda', *(f'-L{path}' for path in toolkit.libraries), '-lcudart']
    openmp, openmp_link = openmp_flags(version)
    return Recipe(name, kind, sources, cxx, version, (*flags, *openmp, *(f'-isystem{path}' for path in include)),
                  nvcc, nvcc_version, nvcc_flags, (*link, *openmp_link), architectures)


def compiler() -> tuple[str, ...]:
    """The C++ compiler's command: $CXX, else g++, else c++. Raises CannotBuild if there is none."""
    asked = shlex.split(os.environ.get('CXX', ''))
    for command in [asked] if asked else (['g++'], ['c++']):
        path = shutil.which(command[0])
        if path is not None:
            return (path, *command[1:])
    if asked:
        raise CannotBuild(f'the compiler CXX={asked[0]} was not found', 'correct or unset CXX')
    raise CannotBuild('there is no C++ compiler', 'install g++ (apt-get install g++), or set CXX to another one')


def compiler_version(cxx: Sequence[str]) -> str:
    """The first line of what a compiler says of itself. Raises CannotBuild if it is none."""
    try:
        done = subprocess.run([*cxx, '--version'], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise CannotBuild(f'the compiler {shlex.join(cxx)} does not run', 'set CXX to one that works') from err
    if done.returncode or not done.stdout.strip():
        raise CannotBuild(f'{shlex.join(cxx)} is no C++ compiler', 'set CXX to one that works')
    return done.stdout.splitlines()[0].strip()


def ninja() -> str:
    """The path of ninja: on PATH, or beside this Python. Raises CannotBuild if there is none."""
    beside = Path(sys.executable).parent  # where pip puts it; PATH has that only in an activated environment
    path = shutil.which('ninja') or shutil.which('ninja', path=str(beside))
    if path is None:
        raise CannotBuild('ninja is missing', 'install it (pip install ninja)')
    return path


def cxx_standard() -> str:
    """The C++ standard that the headers of this torch need, as its own tool for extensions has it: 'c++17', ..."""
    text = (TORCH / 'utils' / 'cpp_extension.py').read_text(encoding='utf-8')
    match = re.search(r'-std=(c\+\+\d+)', text)
    return match[1] if match else 'c++17'


def openmp_flags(version: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags to compile and to link with for threads: those of torch's own pool, so that torch.set_num_threads counts.

    Only with GCC: that of clang is another one than torch's, and two pools get into each other's way.
    """
    if 'clang' in version.lower():
        return (), ()
    own = sorted(glob.glob(f'{glob.escape(str(TORCH))}/lib/libgomp*.so*'))
    return ('-fopenmp',), (own[0],) if own else ('-fopenmp',)


def cpu_name() -> str:
    """What to call the CPU."""
    match = re.search(r'^model name\s*:\s*(.+)$', _cpuinfo(), re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def cpu_digest() -> str:
    """Stands for the instructions that the CPU has: home directories are shared by machines that differ in them."""
    # x86 and ARM. Sorted: some kernels list them in another order on another core.
    match = re.search(r'^(?:flags|Features)\s*:\s*(.+)$', _cpuinfo(), re.MULTILINE)
    flags = ' '.join(sorted(match[1].split())) if match else platform.processor()
    return hashlib.sha256(f'{platform.machine()} {cpu_name()} {flags}'.encode()).hexdigest()


def _cpuinfo() -> str:
    try:
        return Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def _escaped(text: str) -> str:
    return text.replace('$', '$$')


def _escaped_path(path: str) -> str:
    return re.sub(r'([$ :])', r'$\1', path)
