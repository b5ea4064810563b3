"""The operators on a GPU, compiled by NVRTC and by nvcc: right to rounding, and the same bits."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from helpers.native_cases import FORMATS, close

from torch_utils import building, custom_ops
from torch_utils.ops import backend, bias_act, torch_kernels, upfirdn2d
from torch_utils.ops.activations import activation_funcs

ROOT = Path(__file__).parents[2]
GPU = 'cuda'
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no CUDA device')]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SHAPES = [(2, 3, 33, 68), (4, 16, 8, 8), (1, 64, 5, 7)]
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 2e-5, torch.float64: 1e-11}
RESAMPLINGS = [([1, 3, 3, 1], dict(up=2, padding=[2, 1, 2, 1], gain=4)), ([1, 3, 3, 1], dict(down=2, padding=1)),
               ([1, 3, 3, 1], dict(padding=[2, 1, 2, 1])), (list(range(1, 13)), dict(up=2, padding=[6, 5, 6, 5])),
               (list(range(1, 13)), dict(down=2, padding=5)), (list(range(1, 100)), dict(padding=49)),
               ([1, 2, 4], dict(up=[2, 1], down=[1, 3], padding=[3, 1, -1, 2], flip_filter=True))]


@pytest.fixture(scope='module')
def cuda_library():
    """The library that nvcc builds, for comparison; skips without a CUDA toolkit."""
    try:
        custom_ops.load('cuda')
    except building.CannotBuild as err:
        pytest.skip(str(err))


def results(ops, dtype, device, memory_format, computed=None):
    """Values, first and second derivatives of both operators, of many kinds; from the same numbers of a dtype everywhere.

    computed: the dtype to compute in, if it is another one.
    """
    def like(t):
        return t.to(dtype).to(device, computed or dtype)

    with backend.using(ops, device):
        for shape, (taps, how) in itertools.product(SHAPES, RESAMPLINGS):
            numbers = torch.Generator().manual_seed(1)
            x, v = (like(torch.randn(shape, generator=numbers)).contiguous(memory_format=memory_format) for _ in range(2))
            x, f = x.requires_grad_(), upfirdn2d.setup_filter(taps, device=device)
            y = upfirdn2d.upfirdn2d(x, f, **how)
            first, = torch.autograd.grad((y * y).sum(), x, create_graph=True)
            second, = torch.autograd.grad((first * v).sum(), x)
            yield from (y, first, second)
        for shape, act, clamp in itertools.product(SHAPES, activation_funcs, (None, 0.7)):
            numbers = torch.Generator().manual_seed(2)
            x, v = (like(torch.randn(shape, generator=numbers)).contiguous(memory_format=memory_format) for _ in range(2))
            x, b = x.requires_grad_(), like(torch.randn(shape[1], generator=numbers)).requires_grad_()
            y = bias_act.bias_act(x, b, act=act, clamp=clamp)
            first = torch.autograd.grad((y * v).sum(), [x, b], create_graph=True)
            second, = torch.autograd.grad((first[0] * v).sum() + (x * v).sum(), x)
            yield from (y, *first, second)


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
def test_nvrtc_and_nvcc_give_the_same_bits(cuda_library, dtype, memory_format):
    for number, (a, b) in enumerate(zip(results('auto', dtype, GPU, memory_format), results('native', dtype, GPU, memory_format),
                                        strict=True)):
        assert a.stride() == b.stride() and torch.equal(a, b), number


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
def test_nvrtc_is_right(dtype, memory_format):
    """Against PyTorch on the CPU in float64. In half precision rounding may decide on which side of a clamp some numbers are;
    the gradient of a bias is a sum over such numbers."""
    ours = results('auto', dtype, GPU, memory_format)
    theirs = results('torch', dtype, 'cpu', memory_format, torch.float64)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a.dtype == dtype
        if dtype.itemsize == 2 and a.ndim == 1:
            continue
        scale = b.abs().max().clamp(min=1e-3)
        wrong = (a.double().cpu() - b).abs() / scale > TOLERANCE[dtype]
        assert wrong.double().mean() <= (0.01 if dtype.itemsize == 2 else 0), number


def test_auto_takes_nvrtc_without_compilers(tmp_path):
    """In a process of its own, with an empty cache, then with a full one; neither says anything."""
    code = ('import torch; from torch_utils.ops import backend; backend.select("auto", torch.device("cuda")); '
            'print(backend.selected())')
    env = {**os.environ, 'DNNLIB_CACHE_DIR': str(tmp_path), 'PATH': '', 'CXX': 'false', 'CUDA_HOME': '/nowhere'}
    for _ in range(2):
        done = subprocess.run([sys.executable, '-c', code], env=env, cwd=ROOT, text=True, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, 'nvrtc\n', '')
    assert list((tmp_path / 'ops').iterdir())


def test_kernels_run_on_the_current_stream_and_in_any_thread():
    x, found = torch.randn(64, 64, 256, 256, device=GPU), []

    def work():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            doubled = x * 2  # not finished when the operator is launched
            y = bias_act.bias_act(doubled, act='lrelu', gain=1)
        stream.synchronize()
        found.append(torch.equal(y, torch.where(x > 0, x * 2, x * 2 * 0.2)))

    with backend.using('auto', GPU):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [True]


def test_tensors_beyond_32_bits():
    x = torch.zeros(2 ** 31 + 4096, dtype=torch.bfloat16, device=GPU).view(-1, 4096)
    x[-1] = torch.arange(4096)
    with backend.using('auto', GPU):
        y = bias_act.bias_act(x, torch.ones(4096, dtype=x.dtype, device=GPU), act='linear')
    assert torch.equal(y[-1], x[-1] + 1) and bool((y[0] == 1).all())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='one GPU')
def test_every_gpu_computes():
    x = torch.randn(2, 3, 8, 8)
    with backend.using('auto', GPU):
        for index in range(2):
            y = bias_act.bias_act(x.to(f'cuda:{index}'), act='swish')
            assert y.device.index == index
            close(y.cpu(), torch_kernels.bias_act(x.double(), None, 1, 'swish', 0.0, 2 ** 0.5, None))


def test_the_launching_process_takes_no_memory():
    code = ('import torch; from torch_utils.ops import backend\n'
            'for ops in ("auto", "torch"): backend.prepare(ops, torch.device("cuda"))\n'
            'print(torch.cuda.is_initialized())')
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, 'False\n'), done.stderr
