"""Calls to the CUDA driver, recorded by a fake driver."""

import contextlib
import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.compiling import compile_all, compiler

from torch_utils import cuda_driver, nvrtc
from torch_utils.building import CannotBuild
from torch_utils.ops import nvrtc_ops, plans


def forget():
    cuda_driver._driver.cache_clear()
    cuda_driver._context.cache_clear()


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp('fake_driver') / 'libfake.so'
    source = Path(__file__).with_name('fake_driver.cpp')
    compile_all([[compiler(), '-std=c++17', '-shared', '-fPIC', str(source), '-o', str(path)]])
    return path


@pytest.fixture
def calls(library, monkeypatch):
    """Returns what the driver was asked to do since the last call."""
    monkeypatch.setattr(cuda_driver, 'LIBRARY', str(library))
    forget()
    function = ctypes.CDLL(str(library)).last_calls
    function.restype = ctypes.c_char_p
    function()
    yield lambda: function().decode().splitlines()
    forget()


def test_questions_need_no_context(calls):
    assert cuda_driver.capabilities() == [(8, 6), (9, 6)] and cuda_driver.version() == (12, 4) and calls() == []


def test_kernels_are_loaded_and_launched_on_their_gpu(calls):
    function = cuda_driver.load(b'code', 'kernel', 1)
    assert calls() == ['retain 11', 'context 11', 'load code', 'function kernel']
    parameters = ctypes.c_double(2.5), ctypes.c_int64(-1 << 40)
    cuda_driver.launch(function, 3, 256, 1024, 0x123400000007, parameters, 1)
    assert calls() == ['context 11', f'launch 2 3 1 1 256 1 1 1024 stream 7 parameters 2.500000 {-1 << 40}']
    with pytest.raises(cuda_driver.DriverError, match='cuModuleLoadData: device kernel image is invalid'):
        cuda_driver.load(b'corrupt', 'kernel', 0)
    with pytest.raises(cuda_driver.DriverError, match='cuDeviceGet: unknown error'):
        cuda_driver.load(b'code', 'kernel', 2)


def test_without_a_driver(monkeypatch):
    monkeypatch.setattr(cuda_driver, 'LIBRARY', 'libnothing.so.1')
    forget()
    with pytest.raises(cuda_driver.DriverError, match=r'loading the driver of the GPU: libnothing\.so\.1'):
        cuda_driver.capabilities()
    forget()


@pytest.fixture
def launcher(calls, monkeypatch):
    """A GpuLauncher on the GPUs of the fake driver. compiled: how its kernels were obtained."""
    compiled = []

    def obtain(compiler, root, source, headers, kernel, architecture, fresh):
        compiled.append((kernel, architecture, fresh))
        return 'symbol', b'code' if kernel != 'old' and (fresh or kernel != 'damaged') else b'corrupt'

    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(nvrtc, 'library', lambda cuda: SimpleNamespace(version=(13, 0), architectures=lambda: [80, 86, 90]))
    monkeypatch.setattr(nvrtc, 'obtain', obtain)
    monkeypatch.setattr(torch.cuda, 'device', lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: SimpleNamespace(cuda_stream=0x123400000000 + device.index))
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: [(8, 6), (12, 0)][device.index])
    launcher = nvrtc_ops.GpuLauncher()
    launcher.compiled = compiled
    return launcher


def test_a_kernel_is_compiled_once_for_each_gpu_and_launched_on_the_current_stream(launcher, calls):
    parameters = ctypes.c_double(1), ctypes.c_int64(2)
    for index in (0, 1, 0):
        launcher(plans.Launch('good', parameters[0], 5, 64), torch.device('cuda', index), parameters)
    assert launcher.compiled == [('good', 'sm_86', False), ('good', 'compute_90', False)]
    launches = [call for call in calls() if call.startswith('launch')]
    assert launches == [f'launch 2 5 1 1 256 1 1 64 stream {i} parameters 1.000000 2' for i in (0, 1, 0)]


def test_a_corrupt_cache_is_replaced_and_an_old_driver_is_named(launcher):
    parameters, gpu = (ctypes.c_double(1), ctypes.c_int64(2)), torch.device('cuda', 0)
    launcher(plans.Launch('damaged', parameters[0], 5), gpu, parameters)
    assert [fresh for *_, fresh in launcher.compiled] == [False, True]
    words = r"the GPU's driver does not load what NVRTC 13\.0 compiles for sm_86 \(.*image is invalid\); update the driver"
    with pytest.raises(CannotBuild, match=words):
        launcher(plans.Launch('old', parameters[0], 5), gpu, parameters)


def test_other_builds_of_pytorch_have_no_launcher(monkeypatch):
    monkeypatch.setattr(torch.version, 'cuda', None)
    with pytest.raises(CannotBuild, match='this PyTorch is not built for CUDA'):
        nvrtc_ops.GpuLauncher()
