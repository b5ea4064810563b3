"""Build a library in C++ and CUDA once with torch.utils.cpp_extension, and keep it in the user's cache.

    <root>/<key>.so      complete, or absent
    <root>/build.log     output of the latest build
    <root>/.lock         held while building; the system releases it when the process ends, even by kill -9
    <root>/.build.*/     a build in progress, or left by a killed process

The build runs in a child process, because importing cpp_extension takes half a second and changes distutils. The child loads the
result once, so a library that cannot be loaded never enters the cache. It works in a folder of its own, because the lock file of
cpp_extension outlives a killed process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

from dnnlib.files import atomic_open, lock, remove_leftovers
from torch_utils import cuda_driver

CXX_FLAGS = ('-O3', '-march=native', '-fno-math-errno', '-fno-trapping-math', '-w')
NVCC_FLAGS = ('-O3', '-w', '-fmad=false')  # -fmad=false as for NVRTC: both give the same bits
LOAD = 'import json, sys; from torch.utils import cpp_extension; cpp_extension.load(**json.load(sys.stdin))'
WAIT = 1800.0  # seconds to wait for another process's build; a longer build hangs


class CannotBuild(Exception):
    """The library is not available. `reason` and `remedy` are a few words each, without a full stop."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(f'{reason}; {remedy}')
        self.reason, self.remedy = ' '.join(reason.split()), remedy
        self.told = False  # whether the user has seen it


def cached_path(root: Path, sources: Path, kind: str) -> Path:
    """Path of the library of a folder of sources, whether or not it is built. Equal paths mean equal libraries.

    kind: 'cpu', or 'cuda' for both. Raises CannotBuild if the compiler is unknown or, for 'cuda', the GPU architecture.
    """
    parts = [_macros(), repr((CXX_FLAGS, NVCC_FLAGS, torch.compiled_with_cxx11_abi())).encode()]
    if kind == 'cuda':
        parts.append(f'{torch.version.cuda} {_gpus()}'.encode())
    for path in sorted(sources.iterdir()):
        parts += [path.name.encode(), path.read_bytes()]
    digest = hashlib.sha256(b''.join(hashlib.sha256(part).digest() for part in parts))
    return root / f'{kind}-{torch.__version__}-{digest.hexdigest()[:16]}.so'


def obtain(path: Path, name: str, sources: Path, kind: str, duration: str) -> Path:
    """Build the library at `path`, as returned by cached_path, unless it exists. One process builds while others wait.

    duration: of a build, in words. Returns `path`. Raises CannotBuild with the reason.
    """
    if path.is_file():
        return path
    root = path.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with lock(root / '.lock', WAIT, lambda: _say('Waiting for another process that compiles the operators ...')):
            if not path.is_file():
                _build(path, name, sources, kind, duration)
    except BlockingIOError:
        raise CannotBuild(f'another process has held {root / ".lock"} for {WAIT / 60:.0f} minutes', 'stop that process') from None
    except OSError as err:
        raise CannotBuild(f'{root} cannot be written ({(err.strerror or str(err)).lower()})',
                          'free some space, or set DNNLIB_CACHE_DIR to another folder') from err
    return path


def tools(kind: str) -> dict[str, str]:
    """Find the tools for a build. Returns the environment variables to build with. Raises CannotBuild for a missing tool."""
    _macros()
    # pip installs ninja beside this Python, in a folder that is on PATH only in an activated environment.
    path_variable = f'{os.environ.get("PATH", os.defpath)}{os.pathsep}{Path(sys.executable).parent}'
    env = {**os.environ, 'PATH': path_variable, 'CXX': compiler()[0]}
    if shutil.which('ninja', path=env['PATH']) is None:
        raise CannotBuild('ninja is missing', 'install it (pip install ninja)')
    if kind == 'cuda':
        _gpus()
        env['CUDA_HOME'] = str(_cuda_home())
    return env


def _build(path: Path, name: str, sources: Path, kind: str, duration: str) -> None:
    root, cuda = path.parent, kind == 'cuda'
    env = tools(kind)
    cxx, *options = compiler()
    _say(f'Compiling the operators for this machine, once; about {duration} ...')
    for left in root.glob('.build.*'):
        shutil.rmtree(left, ignore_errors=True)
    remove_leftovers(root)
    # Not linked with -fopenmp: the library uses the libgomp that torch has loaded, because two thread pools slow each other
    # down. Clang would need a different OpenMP library than torch's.
    openmp = [] if b'__clang__' in _macros() else ['-fopenmp']
    host_compiler = ['-ccbin', cxx] if os.environ.get('CXX') else []
    with tempfile.TemporaryDirectory(prefix='.build.', dir=root) as folder, open(root / 'build.log', 'wb') as log:
        arguments = dict(
            name=name, build_directory=folder, is_python_module=False, with_cuda=cuda, verbose=True,
            sources=[str(p.absolute()) for p in sorted(sources.iterdir())
                     if p.suffix in (('.cpp', '.cu') if cuda else ('.cpp',)) and (cuda or not p.stem.endswith('_cuda'))],
            extra_cflags=[*options, *CXX_FLAGS, *openmp], extra_cuda_cflags=[*NVCC_FLAGS, *host_compiler], extra_ldflags=options)
        done = subprocess.run([sys.executable, '-c', LOAD], input=json.dumps(arguments).encode(), stdout=log,
                              stderr=subprocess.STDOUT, cwd=folder, env=env)
        if done.returncode:
            raise CannotBuild(f'the build failed ({_first_error(root / "build.log")})', f'see {root / "build.log"}')
        with atomic_open(path) as f:
            f.write(Path(folder, f'{name}.so').read_bytes())


def compiler() -> list[str]:
    """Split $CXX into program and options. cpp_extension accepts only a program, and finds ccache by itself."""
    words = shlex.split(os.environ.get('CXX') or 'c++')
    first = next((i for i, word in enumerate(words) if i and word.startswith('-')), len(words))
    return words[first - 1:]


def _macros() -> bytes:
    """Macros that the C++ compiler predefines. They reveal its version and this CPU's instructions, which -march=native
    enables."""
    command = compiler()
    try:
        done = subprocess.run([*command, *CXX_FLAGS, '-dM', '-E', '-x', 'c++', os.devnull], capture_output=True,
                              stdin=subprocess.DEVNULL)
    except OSError as err:
        if os.environ.get('CXX'):
            raise CannotBuild(f'the compiler CXX={command[0]} does not run', 'correct or unset CXX') from err
        raise CannotBuild('there is no C++ compiler', 'install g++ (apt-get install g++), or set CXX to another one') from err
    if done.returncode or b'__cplusplus' not in done.stdout:
        raise CannotBuild(f'{shlex.join(command)} is no C++ compiler', 'set CXX to one that works')
    return done.stdout


def _gpus() -> str:
    """GPU architectures to build for: $TORCH_CUDA_ARCH_LIST, or else those of this machine's GPUs."""
    if torch.version.cuda is None:
        raise CannotBuild('this PyTorch is not built for CUDA', 'install one that is')
    if asked := os.environ.get('TORCH_CUDA_ARCH_LIST'):
        return asked
    with contextlib.suppress(cuda_driver.DriverError):
        if found := sorted(set(cuda_driver.capabilities())):
            return str(found)
    raise CannotBuild('there is no GPU here to build for', 'set TORCH_CUDA_ARCH_LIST (8.0;9.0)')


def _cuda_home() -> Path:
    """Path of the CUDA toolkit with the same major version as this torch. cpp_extension does not compare the versions."""
    wanted, asked = str(torch.version.cuda), os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
    nvcc = shutil.which('nvcc')
    homes = [Path(asked)] if asked else [*([Path(nvcc).resolve().parents[1]] if nvcc else []), Path('/usr/local/cuda'),
                                         *Path(sysconfig.get_paths()['purelib'], 'nvidia').glob('cu*')]
    for home in homes:
        # PATH may hold a script that calls nvcc; no headers lie beside it.
        headers = [*home.glob('include/cuda_runtime.h'), *home.glob('targets/*/include/cuda_runtime.h')]
        if headers and (home / 'bin' / 'nvcc').is_file():
            said = subprocess.run([home / 'bin' / 'nvcc', '--version'], capture_output=True, text=True).stdout
            version = re.search(r'release (\d+)', said)
            if version is None or version[1] != wanted.split('.')[0]:
                raise CannotBuild(f'the CUDA toolkit in {home} is {version[1] if version else "broken"}, and this PyTorch is for '
                                  f'CUDA {wanted}', f'install CUDA {wanted}, or set CUDA_HOME to where it is')
            return home
    raise CannotBuild('the CUDA toolkit (nvcc) is missing', f'install CUDA {wanted}, or set CUDA_HOME')


def _first_error(log: Path) -> str:
    """Find the line of a log that states the error, and shorten it."""
    lines = log.read_text(encoding='utf-8', errors='replace').strip().splitlines() or ['no output']
    telling = r'\b(error|fatal|cannot find|undefined symbol|not found|No space left)\b'
    text = next((line for line in lines if re.search(telling, line)), lines[-1])
    text = re.sub(r'^(?:/[^/:\s]+)+/', '', text.strip())  # keep only the file name
    return text if len(text) <= 160 else text[:157] + '...'


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
