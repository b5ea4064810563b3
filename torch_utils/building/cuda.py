"""The CUDA toolkit that fits this PyTorch, and the GPUs to build for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_utils.building import CannotBuild


@dataclass(frozen=True)
class Toolkit:
    """nvcc: its path. home: of the toolkit. version: as 12.8. architectures: as 8.0, 9.0a or 8.6+PTX."""

    nvcc: Path
    home: Path
    version: str
    architectures: tuple[str, ...]

    @property
    def include(self) -> Path:
        """Where cuda_runtime.h is."""
        return self.home / 'include'

    @property
    def libraries(self) -> list[Path]:
        """Where libcudart is looked for."""
        places = (self.home / 'lib64', self.home / 'lib', *self.home.glob('targets/*/lib'))
        return [path for path in places if path.is_dir()]

    def flags(self, ccbin: str | None = None) -> tuple[str, ...]:
        """For nvcc. ccbin: the C++ compiler it is to use."""
        flags = ['-O3', '-std=c++17', '-Xcompiler', '-fPIC', '-w']
        for architecture in self.architectures:
            number = architecture.removesuffix('+PTX').replace('.', '')
            codes = [f'sm_{number}'] + [f'compute_{number}'] * architecture.endswith('+PTX')
            flags += [f'-gencode=arch=compute_{number},code={code}' for code in codes]
        return (*flags, *(('-ccbin', ccbin) if ccbin else ()))


def find() -> Toolkit:
    """Raises CannotBuild if there is none, or none of the version that this torch was built with."""
    wanted = torch.version.cuda
    if wanted is None:
        raise CannotBuild('this PyTorch is not built for CUDA', 'install one that is')
    nvcc = find_nvcc()
    if nvcc is None:
        raise CannotBuild('the CUDA toolkit (nvcc) is missing', f'install CUDA {wanted}, or set CUDA_HOME')
    version = nvcc_version(nvcc)
    if version.split('.')[0] != wanted.split('.')[0]:
        raise CannotBuild(f'the CUDA toolkit is {version or "broken"}, and this PyTorch is for CUDA {wanted}',
                          f'install CUDA {wanted}, or set CUDA_HOME to where it is')
    return Toolkit(nvcc, home_of(nvcc), version, architectures())


def find_nvcc() -> Path | None:
    """$CUDA_HOME or $CUDA_PATH, what is on PATH, the usual place, or the packages of PyPI."""
    home = os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
    if home:
        return path if (path := Path(home, 'bin', 'nvcc')).is_file() else None
    on_path = shutil.which('nvcc')
    packages = Path(sysconfig.get_paths()['purelib'], 'nvidia')
    for path in [*([Path(on_path).resolve()] if on_path else []), Path('/usr/local/cuda/bin/nvcc'),
                 *sorted(packages.glob('*/bin/nvcc'))]:
        if path.is_file():
            return path
    return None


def nvcc_version(nvcc: Path) -> str:
    """Such as 12.8, or '' if it does not run."""
    match = re.search(r'release (\d+\.\d+)', _output(nvcc, '--version'))
    return match[1] if match else ''


def home_of(nvcc: Path) -> Path:
    """The folder of the toolkit of an nvcc, which may be a script that calls another one."""
    match = re.search(r'^#\$ TOP=(.+)$', _output(nvcc, '--dryrun', '-c', '-x', 'cu', os.devnull, '-o', os.devnull), re.MULTILINE)
    return Path(match[1].strip()).resolve() if match else nvcc.parents[1]


def _output(*command: str | os.PathLike) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout + done.stderr


def architectures() -> tuple[str, ...]:
    """$TORCH_CUDA_ARCH_LIST, or what the GPUs here are. Raises CannotBuild for neither, or names instead of numbers."""
    asked = re.split(r'[;,\s]+', os.environ.get('TORCH_CUDA_ARCH_LIST', '').strip())
    if asked != ['']:
        wrong = [name for name in asked if not re.fullmatch(r'\d+\.\d[a-z]?(\+PTX)?', name)]
        if wrong:
            raise CannotBuild(f'TORCH_CUDA_ARCH_LIST has {wrong[0]!r}, which is no number', 'write 8.0;9.0+PTX, or unset it')
        return tuple(dict.fromkeys(asked))
    if not torch.cuda.is_available():
        raise CannotBuild('there is no GPU here to build for', 'set TORCH_CUDA_ARCH_LIST (8.0;9.0)')
    capabilities = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    return tuple(f'{major}.{minor}' for major, minor in sorted(capabilities))
