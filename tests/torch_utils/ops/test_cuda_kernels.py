"""The CUDA kernels: their bodies, run on the CPU block by block and thread by thread; and that they compile."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers.compiling import CSRC, compile_all, compiler
from helpers.native_cases import FORMATS, PIECEWISE, activations, by_definition, close, resamplings
from hypothesis import given, settings

from torch_utils.ops import torch_kernels
from torch_utils.ops.bias_act import activation_funcs
from torch_utils.ops.upfirdn2d import filter_size, setup_filter

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]  # numbered as in portable.h
TILED, DIRECT, DIRECT_64 = 0, 1, 2
SOME = settings(derandomize=True, deadline=None, max_examples=30)
ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]


@pytest.fixture(scope='session')
def walk(tmp_path_factory):
    """walk_grid.cpp as a library."""
    library = tmp_path_factory.mktemp('walk_grid') / 'walk_grid.so'
    source = Path(__file__).with_name('walk_grid.cpp')
    compile_all([[compiler(), '-std=c++17', '-O1', '-shared', '-fPIC', f'-I{CSRC}', str(source), '-o', str(library)]])
    functions = ctypes.CDLL(str(library))
    for name in ('divide', 'place_channel'):
        getattr(functions, name).restype = ctypes.c_int64
    functions.place_tile.restype = ctypes.c_bool
    return functions


def numbers(*values):
    return (ctypes.c_int64 * len(values))(*(int(v) for v in values))


def address(t):
    return None if t is None else ctypes.c_void_p(t.data_ptr())


def layout(x, f, up, down, padding, flip, channels_last):
    """The numbers of a call and the shape of its result."""
    n, c, h, w = x
    axes, out = [], []
    for i, (size, taps) in enumerate(zip((w, h), filter_size(f), strict=True)):
        before, after = padding[2 * i:2 * i + 2]
        out.append((size * up[i] + before + after - taps) // down[i] + 1)
        axes += [size, out[i], up[i], down[i], before, taps]
    return numbers(*axes, *((n, c) if channels_last else (n * c, 1)), f.ndim == 1, flip), (n, c, out[1], out[0])


def upfirdn2d(walk, kernel, x, f, up, down, padding, flip, gain):
    """The result of a kernel, and how many elements its threads took at once."""
    channels_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    call, shape = layout(x.shape, f, up, down, padding, flip, channels_last)
    y = torch.full(shape, float('nan'), dtype=x.dtype).contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    f = f.float().contiguous()
    width = walk.walk_upfirdn2d(DTYPES.index(x.dtype), kernel, call, ctypes.c_double(gain), address(x), address(f), address(y))
    return y, width


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=resamplings())
@SOME
def test_upfirdn2d_of_any_kind(walk, dtype, memory_format, case):
    x, *call = case
    x = x.to(dtype).contiguous(memory_format=memory_format)
    expected, served = by_definition(x.double(), *call), []
    for kernel in (TILED, DIRECT, DIRECT_64):
        y, width = upfirdn2d(walk, kernel, x, *call)
        served.append(width)
        if width:
            close(y, expected)
    separable = call[0].ndim == 1
    assert all(width >= 0 for width in served)
    if x.is_contiguous():
        assert served[TILED]
    assert separable == (served[DIRECT] == 0)


USUAL = [(setup_filter([1, 3, 3, 1]), u, d, p) for u, d, p in ((1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 1, (-1, 3)))]
USUAL += [(setup_filter(range(1, 13)), u, d, p) for u, d, p in ((2, 1, (6, 5)), (1, 2, (5, 5)), (1, 1, (6, 5)))]


@pytest.mark.parametrize('size', [(1, 3, 33, 68), (2, 16, 5, 7), (3, 8, 4, 4), (1, 2, 2, 3)])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('case', range(len(USUAL)))
def test_upfirdn2d_of_the_usual_kinds(walk, case, dtype, size):
    """Several tiles, several planes in one, the forms that know the filter, loads of one and of several elements."""
    f, up, down, pad = USUAL[case]
    x = torch.randn(size, dtype=torch.float64).to(dtype)
    call = f, (up, up), (down, down), (*pad, *pad), case % 2 == 0, 1.5
    y, width = upfirdn2d(walk, TILED, x, *call)
    assert width == (4 if size[3] % 4 == 0 else 1)
    close(y, by_definition(x.double(), *call))
    if f.ndim == 2:
        x = x.to(memory_format=torch.channels_last)
        y, width = upfirdn2d(walk, DIRECT, x, *call)
        n = 16 // dtype.itemsize
        assert width == (n if size[1] % n == 0 else 1)
        close(y, by_definition(x.double(), *call))


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=activations())
@SOME
def test_bias_act(walk, native_ops, dtype, memory_format, case):
    """Forward against plain PyTorch in float64; derivatives against the kernels for the CPU, which have tests of their own."""
    act, *tensors, (dim, alpha, gain, clamp) = case
    x, b, dy, ddx = (None if t is None else t.to(dtype) for t in tensors)
    if x.ndim == 4:
        x, dy, ddx = (t.contiguous(memory_format=memory_format) for t in (x, dy, ddx))
    number = list(activation_funcs).index(act)
    inner = x.stride(dim)
    shape = x.numel() // (x.shape[dim] * inner), x.shape[dim], inner

    def run(order, known, bias, dy, ddx, results, wide):
        results = [torch.full_like(x, float('nan')) for _ in range(results)]
        width = walk.walk_bias_act(
            DTYPES.index(dtype), numbers(*shape, number, order, wide), *map(ctypes.c_double, (alpha, gain, clamp)),
            *map(address, (known, bias, dy, ddx, *results, *[None] * (2 - len(results)))))
        even = b is None and x.numel() % 16 == 0
        assert width == (1 if wide else 16 // dtype.itemsize) or not even
        return results

    for wide in (False, True):
        y, = run(0, x, b, None, None, 1, wide)
        close(y, torch_kernels.bias_act(x.double(), None if b is None else b.double(), dim, act, alpha, gain,
                                        None if clamp < 0 else clamp))
        known = x if act not in PIECEWISE else y if act != 'linear' or clamp >= 0 else None
        orders = [(1, run(1, known, b, dy, None, 1, wide))]
        if act not in PIECEWISE:
            orders.append((2, run(2, known, b, dy, ddx, 2, wide)))
        # In half precision the clamp is where rounding puts it: take y from the kernel, and x as it was rounded.
        as64 = [None if t is None else t.to(torch.float32 if dtype.itemsize == 2 else dtype) for t in (ddx, dy, x, b, y)]
        limit = clamp if clamp < 0 else torch.tensor(clamp, dtype=dtype).item()
        call = dim, number, alpha, gain, limit if act in PIECEWISE else clamp
        for order, results in orders:
            if order == 1:
                expected = [native_ops.bias_act_backward(*as64[1:], *call)]
            else:
                expected = native_ops.bias_act_backward2(*as64, *call)
            for result, value in zip(results, expected, strict=True):
                close(result, value.double(), 4)


def test_index_arithmetic(walk):
    """Divisions by multiplication are exact, up to the largest number; both roundings of negative numbers."""
    largest = 2 ** 31 - 1
    for divisor in (1, 2, 3, 5, 7, 64, 640, 641, 65535, 65537, 10 ** 9 + 7, largest - 1, largest):
        for n in {0, 1, divisor - 1, divisor, divisor + 1, 3 * divisor - 1, largest // divisor * divisor - 1,
                  largest // divisor * divisor, largest}:
            if 0 <= n <= largest:
                assert walk.divide(32, ctypes.c_int64(n), ctypes.c_int64(divisor)) == n // divisor, (n, divisor)
                assert walk.divide(64, ctypes.c_int64(n << 20), ctypes.c_int64(divisor)) == (n << 20) // divisor
    for a in range(-9, 10):
        for b in range(1, 5):
            assert walk.divide_up(a, b) == -(-a // b) and walk.divide_down(a, b) == a // b


@pytest.mark.parametrize('channels_last', [False, True])
def test_tensors_beyond_32_bits(walk, channels_last):
    """Places in tensors that are too large to allocate here."""
    x = n, c, h, w = 70, 600, 512, 513  # 1.1e10 elements
    call, (_, _, out_h, out_w) = layout(x, setup_filter([1, 3, 3, 1]), (2, 1), (1, 1), (2, 1, 2, 1), False, channels_last)
    last = n * c * out_h * out_w - 1
    for number in (0, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 12345, last):
        place = numbers(*[0] * 4)
        walk.place_direct(64, call, ctypes.c_int64(number), place)
        if channels_last:
            rest, channel = divmod(number, c)
            rest, ox = divmod(rest, out_w)
            image, oy = divmod(rest, out_h)
            assert list(place) == [ox, oy, image * h * w * c + channel, number]
        else:
            rest, ox = divmod(number, out_w)
            plane, oy = divmod(rest, out_h)
            assert list(place) == [ox, oy, plane * h * w, number]
        element = number
        channel = element % c if channels_last else element // (h * w) % c
        assert walk.place_channel(numbers(n * (h * w if channels_last else 1), c, 1 if channels_last else h * w),
                                  ctypes.c_int64(element)) == channel
    if not channels_last:  # a tile's planes are counted in 64 bits, its pixels within a plane in 32
        tile = numbers(*[0] * 7)
        assert walk.place_tile(call, ctypes.c_int64(0), tile)
        _, _, _, planes, width, height, blocks = tile
        assert blocks == -(-n * c // planes) * -(-out_w // width) * -(-out_h // height)
        assert walk.place_tile(call, ctypes.c_int64(blocks - 1), tile)
        assert list(tile[:3]) == [(n * c - 1) // planes * planes, (out_w - 1) // width * width, (out_h - 1) // height * height]
        huge = layout((1, 1, 50_000, 50_000), torch.ones(1, 1), (1, 1), (1, 1), (0,) * 4, False, False)[0]
        assert not walk.place_tile(huge, ctypes.c_int64(0), tile)


@pytest.mark.parametrize('dtype', DTYPES[:2])
def test_half_precision_on_the_host_rounds_as_pytorch_does(walk, dtype):
    """All values and their neighbours in float32: normal, subnormal, infinite, not a number."""
    every = torch.arange(2 ** 16, dtype=torch.int32).to(torch.int16).view(dtype).float()
    bits = every.view(torch.int32)[:, None] + torch.tensor([0, 1, -1, 0x1000, 0xfff, 0x8000, 0x7fff, -0x1000], dtype=torch.int32)
    x = bits.view(torch.float32).flatten().contiguous()
    half, back = torch.empty(len(x), dtype=dtype), torch.empty(len(x))
    walk.convert(DTYPES.index(dtype), ctypes.c_int64(len(x)), address(x), address(half), address(back))
    torch.testing.assert_close(half, x.to(dtype), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(back, x.to(dtype).float(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(back.signbit()[~x.isnan()], x.signbit()[~x.isnan()])


@pytest.mark.slow
@pytest.mark.parametrize('source', ['upfirdn2d', 'bias_act'])
def test_compiles_for_every_architecture(source, tmp_path):
    """At most 64 registers, so that a multiprocessor holds 1024 threads, and next to nothing spilt to memory."""
    if shutil.which('nvcc') is None:
        pytest.skip('no nvcc')
    for architecture in ARCHITECTURES:
        command = ['nvcc', '-std=c++17', '-O3', f'-arch=sm_{architecture}', '-Xptxas=-v', '-c', str(CSRC / f'{source}.cu')]
        result = subprocess.run([*command, '-o', str(tmp_path / 'kernels.o')], capture_output=True, text=True)
        assert result.returncode == 0 and 'warning' not in result.stderr, result.stderr
        registers = [int(r) for r in re.findall(r'Used (\d+) registers', result.stderr)]
        spilt = [int(s) for s in re.findall(r'(\d+) bytes spill', result.stderr)]
        print(f'{source} sm_{architecture}: {len(registers)} kernels, {min(registers)} to {max(registers)} registers')
        assert max(registers) <= 64 and max(spilt) <= 16
