"""Compile CUDA kernels with NVRTC, NVIDIA's compiler as a library, and keep them in the user's cache.

    <root>/<kernel>-<architecture>-<key>    one compiled kernel: its symbol, a line feed, its code

Every CUDA build of PyTorch includes NVRTC. It needs no CUDA toolkit, C++ compiler or GPU. Calls go through ctypes, as in PyTorch
itself. The alternatives do not fit: PyTorch depends on `cuda.bindings` only from 2.11 on; `torch.cuda._compile_kernel` is
private, newer than 2.4, and has no cache across processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import re
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from dnnlib.files import atomic_open
from torch_utils.building import CannotBuild

# Multiply-adds are fused only where the sources say so. All versions of nvcc and NVRTC then give the same bits.
OPTIONS = ('--std=c++17', '--fmad=false', '--device-as-default-execution-space')
LOAD_INSTEAD = 'install the one that this PyTorch was built with (pip install nvidia-cuda-nvrtc)'


class Nvrtc:
    """The library at `path`. Raises OSError if it cannot be loaded, AttributeError if it is a different library."""

    def __init__(self, path: str):
        for other in Path(path).parent.glob('libnvrtc-builtins*.so*'):  # NVRTC looks for it by name alone
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(other), mode=ctypes.RTLD_GLOBAL)
        self._functions = ctypes.CDLL(path)
        self._functions.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call('nvrtcVersion', ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def architectures(self) -> list[int]:
        """Supported architectures in ascending order: 75 means compute capability 7.5."""
        count = ctypes.c_int()
        self._call('nvrtcGetNumSupportedArchs', ctypes.byref(count))
        numbers = (ctypes.c_int * count.value)()
        self._call('nvrtcGetSupportedArchs', numbers)
        return sorted(numbers)

    def compile(self, source: str, headers: dict[str, bytes], kernel: str, architecture: str,
                options: tuple[str, ...] = ()) -> tuple[str, bytes, str]:
        """Compile `kernel` from `source`, which may include `headers`. kernel: a __global__ function, or a template with its
        arguments.

        architecture: sm_90, or compute_90 for code that the driver translates further. Returns the kernel's symbol, its code and
        the compiler's messages. Raises CannotBuild with the first error.
        """
        program = ctypes.c_void_p()
        names = [name.encode() for name in headers]
        self._call('nvrtcCreateProgram', ctypes.byref(program), source.encode(), b'kernels.cu', len(headers),
                   _strings(headers.values()), _strings(names))
        try:
            self._call('nvrtcAddNameExpression', program, kernel.encode())
            arguments = [option.encode() for option in (f'--gpu-architecture={architecture}', *OPTIONS, *options)]
            failed = self._functions.nvrtcCompileProgram(program, len(arguments), _strings(arguments))
            log = self._bytes('ProgramLog', program).rstrip(b'\0').decode(errors='replace')
            if failed:
                error = next((line for line in log.splitlines() if 'error' in line), self._text(failed))
                raise CannotBuild(f'NVRTC {self.version[0]}.{self.version[1]} cannot compile {kernel} ({error[:160]})',
                                  'please report this')
            symbol = ctypes.c_char_p()
            self._call('nvrtcGetLoweredName', program, kernel.encode(), ctypes.byref(symbol))
            code = self._bytes('CUBIN' if architecture.startswith('sm_') else 'PTX', program)
            assert symbol.value is not None  # the call has succeeded
            return symbol.value.decode(), code, log
        finally:
            self._functions.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f'nvrtcGet{what}Size', program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f'nvrtcGet{what}', program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: Any) -> None:
        if error := getattr(self._functions, function)(*arguments):
            raise CannotBuild(f'{function} of NVRTC failed ({self._text(error)})', LOAD_INSTEAD)

    def _text(self, error: int) -> str:
        return self._functions.nvrtcGetErrorString(error).decode()


def _strings(values: Iterable[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    values = list(values)
    return (ctypes.c_char_p * len(values))(*values)


@functools.cache
def library(cuda: str | None) -> Nvrtc:
    """Load the NVRTC with the major version of `cuda`, a torch.version.cuda. None takes the newest in this environment.

    Raises CannotBuild if there is none.
    """
    major = None if cuda is None else int(cuda.split('.')[0])
    for path in _paths(major):
        with contextlib.suppress(OSError, AttributeError):
            found = Nvrtc(path)
            if major in (None, found.version[0]):
                return found
    raise CannotBuild(f'NVRTC{"" if major is None else f" {major}"} is missing', LOAD_INSTEAD)


def _paths(major: int | None) -> list[str]:
    """Candidate paths: NVIDIA's packages in this Python (from PyPI), PyTorch itself, and the system's search path."""
    suffix = '*' if major is None else f'{major}*'
    found = [path for folder, pattern in ((Path(sysconfig.get_paths()['purelib']), f'nvidia/*/lib/libnvrtc.so.{suffix}'),
                                          (Path(torch.__file__).parent, 'lib/libnvrtc[-.]*so*'))
             for path in folder.glob(pattern) if 'builtins' not in path.name]
    found.sort(key=lambda path: int((re.search(r'\.so\.(\d+)', path.name) or [0, 0])[1]), reverse=True)
    return [*map(str, found), 'libnvrtc.so' if major is None else f'libnvrtc.so.{major}']


def architecture(capability: tuple[int, int], supported: list[int]) -> str:
    """Choose the architecture to compile for, given a GPU's compute capability.

    It is the GPU's own. For a GPU newer than NVRTC, it is the newest that the driver can translate. Raises CannotBuild for a GPU
    that is too old.
    """
    number = 10 * capability[0] + capability[1]
    if number in supported:
        return f'sm_{number}'
    older = [other for other in supported if other < number]
    if not older:
        raise CannotBuild(f'NVRTC compiles for GPUs of compute capability {supported[0] / 10} and newer, and this one has '
                          f'{number / 10}', 'use an older PyTorch')
    return f'compute_{older[-1]}'


def obtain(compiler: Nvrtc, root: Path, source: str, headers: dict[str, bytes], kernel: str, architecture: str,
           fresh: bool = False) -> tuple[str, bytes]:
    """`compiler.compile` with a cache in the folder `root`. fresh: replace the cached kernel. Returns symbol and code.

    Several processes may call this at the same time: files appear complete. If `root` cannot be written, nothing is cached.
    """
    parts = [repr((compiler.version, OPTIONS, kernel)).encode(), source.encode(),
             *(part for name in sorted(headers) for part in (name.encode(), headers[name]))]
    key = hashlib.sha256(b''.join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:32]
    path = root / f'{kernel.split("<")[0]}-{architecture}-{key}'
    if not fresh:
        with contextlib.suppress(OSError, ValueError):
            name, code = path.read_bytes().split(b'\n', 1)
            return name.decode(), code
    symbol, code, _ = compiler.compile(source, headers, kernel, architecture)
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        with atomic_open(path) as f:
            f.write(symbol.encode() + b'\n' + code)
    return symbol, code
