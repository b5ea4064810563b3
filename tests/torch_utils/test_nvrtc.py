"""NVRTC compiles without a GPU: every kernel of the operators, for every architecture; and what is kept in the cache."""

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from torch_utils import nvrtc
from torch_utils.building import CannotBuild
from torch_utils.ops import nvrtc_ops, plans

ARCHITECTURES = ['sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90', 'sm_100', 'sm_120']
STRUCTURES = [value for value in vars(plans).values() if isinstance(value, type) and issubclass(value, ctypes.Structure)]


@pytest.fixture(scope='module')
def compiler():
    """The NVRTC of requirements-dev.txt, or of a CUDA build of PyTorch."""
    try:
        return nvrtc.library(torch.version.cuda)
    except CannotBuild as err:
        pytest.skip(str(err))


@pytest.mark.parametrize('number', range(len(ARCHITECTURES)))
def test_every_kernel_compiles(compiler, number):
    """Each for one architecture in turn, with no more registers than let a multiprocessor hold 1024 threads."""
    kernels = [kernel for dtype in plans.TYPES for kernel in plans.kernels(dtype)]
    assert len(set(kernels)) == 4 * 28
    for kernel in kernels[number::len(ARCHITECTURES)]:
        _compile(compiler, kernel, ARCHITECTURES[number])


@pytest.mark.slow
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_every_kernel_compiles_for_every_architecture(compiler, architecture):
    for dtype in plans.TYPES:
        for kernel in plans.kernels(dtype):
            _compile(compiler, kernel, architecture)


def _compile(compiler, kernel, architecture):
    symbol, code, log = compiler.compile(plans.SOURCE, nvrtc_ops.headers(), kernel, architecture, ('--ptxas-options=-v',))
    assert symbol.encode() in code and code.startswith(b'\x7fELF') and 'warning' not in log, log
    registers, spilt = re.findall(r'Used (\d+) registers', log), re.findall(r'(\d+) bytes spill', log)
    assert len(registers) == 1 and int(registers[0]) <= 64 and max(map(int, spilt)) <= 16, f'{kernel}: {log}'


def test_python_packs_parameters_as_the_kernels_read_them(compiler):
    checks = [f'static_assert({name} == {value});' for name, value in
              [(f'{op}_threads', plans.THREADS) for op in ('bias_act', 'direct', 'tile')] + [('tile_memory', plans.TILE_MEMORY)]]
    for structure in STRUCTURES:
        name = structure.__name__
        checks.append(f'static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "{name}");')
        for field, kind in structure._fields_:
            # __INTADDR__: what the macro offsetof expands to in this compiler, which has no headers.
            place, member = getattr(structure, field), f'(({name}*)0)->{field}'
            checks.append(f'static_assert(__INTADDR__(&({member})) == {place.offset}, "{name}::{field}");')
            checks.append(f'static_assert(sizeof({member}) == {ctypes.sizeof(kind)}, "{name}::{field}");')
    assert len(STRUCTURES) == 11
    kernel = plans.kernels(torch.float32)[0]
    compiler.compile(plans.SOURCE + '\n'.join(checks), nvrtc_ops.headers(), kernel, 'sm_90')
    with pytest.raises(CannotBuild, match='static assertion'):
        compiler.compile(plans.SOURCE + checks[-1].replace('==', '!='), nvrtc_ops.headers(), kernel, 'sm_90')


def test_architectures():
    supported = [75, 80, 86, 90, 120]
    assert nvrtc.architecture((8, 6), supported) == 'sm_86'
    assert nvrtc.architecture((12, 1), supported) == 'compute_120'  # the driver translates it
    assert nvrtc.architecture((8, 9), supported) == 'compute_86'
    with pytest.raises(CannotBuild, match=r'compute capability 7\.5 and newer, and this one has 6\.1; use an older PyTorch'):
        nvrtc.architecture((6, 1), supported)


def test_a_gpu_newer_than_nvrtc_gets_ptx(compiler):
    symbol, code, _ = compiler.compile('__global__ void twice(float* x) { *x *= 2; }', {}, 'twice', 'compute_90')
    assert b'.target sm_90' in code and symbol.encode() in code


SOURCE = '#include "n.h"\ntemplate <int n> __global__ void fill(int* p) { p[threadIdx.x] = n + N; }'


def test_kernels_are_kept_until_something_changes(compiler, tmp_path, monkeypatch):
    made, compile_ = [], nvrtc.Nvrtc.compile
    monkeypatch.setattr(nvrtc.Nvrtc, 'compile', lambda *args: made.append(args) or compile_(*args))

    def obtain(header=b'#define N 1', kernel='fill<2>', architecture='sm_90', **kwargs):
        return nvrtc.obtain(compiler, tmp_path / 'new' / 'cache', SOURCE, {'n.h': header}, kernel, architecture, **kwargs)

    first = obtain()
    assert obtain() == first and len(made) == 1 and first[1].startswith(b'\x7fELF')
    path, = (tmp_path / 'new' / 'cache').iterdir()
    assert path.name.startswith('fill-sm_90-')
    obtain(b'#define N 3')
    obtain(kernel='fill<4>')
    obtain(architecture='sm_80')
    monkeypatch.setattr(compiler, 'version', (99, 0))
    obtain()
    assert len(made) == 5
    monkeypatch.undo()
    path.write_bytes(b'garbage')
    assert obtain() == first
    path.write_bytes(b'name\ngarbage')  # found out when it is loaded
    assert obtain(fresh=True) == first and obtain() == first


def test_many_at_once_and_a_cache_that_cannot_be_written(compiler, tmp_path):
    def obtain(root):
        return nvrtc.obtain(compiler, root, SOURCE, {'n.h': b'#define N 1'}, 'fill<2>', 'sm_90')

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(obtain, [tmp_path / 'cache'] * 4))) == 1
    assert len(list((tmp_path / 'cache').iterdir())) == 1
    (tmp_path / 'file').touch()
    assert obtain(tmp_path / 'file' / 'cache') == obtain(tmp_path / 'cache')


def test_errors_are_one_line(compiler):
    with pytest.raises(CannotBuild, match=r'NVRTC \d+\.\d cannot compile nothing \(.*error.*\); please report this'):
        compiler.compile('__global__ void k() { undefined; }', {}, 'nothing', 'sm_90')
    with pytest.raises(CannotBuild, match='NVRTC 7 is missing; install the one that this PyTorch was built with'):
        nvrtc.library('7.0')
