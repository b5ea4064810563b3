"""Every operator is tested as PyTorch computes it, as the native library does, and as a GPU does whose kernels NVRTC compiles.

The GPU is emulated: a C++ compiler compiles the same kernels for the CPU.
"""

import contextlib

import pytest
import torch
from helpers.emulated_gpu import EmulatedGpu

from torch_utils import custom_ops
from torch_utils.building import CannotBuild
from torch_utils.ops import backend, native_kernels, nvrtc_ops

EMULATED = 'style_gan_emulated'


@pytest.fixture(scope='session')
def native():
    """The native operators, built into the user's cache when they are tested for the first time; skips without a compiler."""
    try:
        custom_ops.load('cpu')
    except CannotBuild as err:
        if err.reason.startswith(('there is no C++ compiler', 'ninja is missing')):
            pytest.skip(f'the native operators cannot be built here: {err}')
        raise


@pytest.fixture(scope='session')
def native_ops(native):
    """torch.ops.style_gan_ops: the raw operators of the library."""
    return torch.ops.style_gan_ops


@pytest.fixture(scope='session')
def gpu(tmp_path_factory):
    """An emulated GPU that torch.ops.style_gan_emulated launches kernels on, for tensors on the CPU; skips without a compiler."""
    gpu = EmulatedGpu(tmp_path_factory.mktemp('emulated_gpu'))
    gpu.library = nvrtc_ops.Operators(gpu).register(EMULATED, 'CPU')
    native_kernels.describe(EMULATED)
    return gpu


@contextlib.contextmanager
def computing(who):
    """Have 'torch', 'native' or 'emulated' compute for a while; the fixtures native and gpu must have been asked for."""
    with backend.using('torch' if who == 'emulated' else who):
        if who == 'emulated':
            backend._own, backend._own_devices = native_kernels.Kernels(EMULATED, 'nvrtc'), ('cpu',)
        yield


def _available(request):
    if request.param != 'torch':
        request.getfixturevalue({'native': 'native', 'emulated': 'gpu'}[request.param])
    return request.param


@pytest.fixture(params=['torch', 'native', 'emulated'])
def ops(request):
    """Who computes during a test."""
    with computing(_available(request)):
        yield request.param


@pytest.fixture(params=['native', 'emulated'])
def both(request):
    """A function that calls its argument twice, with the operators of PyTorch and with ours, and returns both results."""
    ours = _available(request)

    def call(fn):
        results = []
        for who in ('torch', ours):
            with computing(who):
                results.append(fn())
        return results

    return call
