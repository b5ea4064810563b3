"""The CUDA kernels, run on the CPU block by block and thread by thread; how work is divided; and that nvcc compiles them."""

import contextlib
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
from hypothesis import strategies as st

from torch_utils.ops import nvrtc_ops, plans, torch_kernels
from torch_utils.ops.bias_act import activation_funcs
from torch_utils.ops.upfirdn2d import filter_size, setup_filter

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]  # numbered as in portable.h
TILED, DIRECT, DIRECT_64 = 'tiled', 'direct', 'direct, 64 bits'
SOME = settings(derandomize=True, deadline=None, max_examples=30)
ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]


@pytest.fixture(scope='session')
def walk(tmp_path_factory):
    """grid_plans.cpp as a library."""
    library = tmp_path_factory.mktemp('grid_plans') / 'grid_plans.so'
    source = Path(__file__).with_name('grid_plans.cpp')
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


@contextlib.contextmanager
def choosing(kernel):
    """Have a kernel chosen that is not the fastest one."""
    with pytest.MonkeyPatch.context() as patch:
        if kernel != TILED:
            patch.setattr(plans, '_tiles', lambda *_: None)
        if kernel == DIRECT_64:
            patch.setattr(plans, 'fits_in_32_bits', lambda elements: False)
        plans.upfirdn2d.cache_clear()
        plans.bias_act.cache_clear()
        yield
    plans.upfirdn2d.cache_clear()
    plans.bias_act.cache_clear()


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=resamplings())
@SOME
def test_upfirdn2d_of_any_kind(gpu, dtype, memory_format, case):
    """Also separable filters that make two passes, with the direct kernel."""
    x, f, *call = case
    x = x.to(dtype).contiguous(memory_format=memory_format)
    expected = by_definition(x.double(), f, *call)
    for kernel in (TILED, DIRECT, DIRECT_64):
        gpu.launches.clear()
        with choosing(kernel):
            y = torch.ops.style_gan_emulated.upfirdn2d(x, f, *call)
        assert y.dtype == dtype
        close(y, expected)
        used = {launch.split('_')[0] for launch in gpu.launches}
        planes = nvrtc_ops._memory_format(x) == torch.contiguous_format
        assert used == ({'tiled'} if kernel == TILED and planes else {'direct'})


USUAL = [(setup_filter([1, 3, 3, 1]), u, d, p) for u, d, p in ((1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 1, (-1, 3)))]
USUAL += [(setup_filter(range(1, 13)), u, d, p) for u, d, p in ((2, 1, (6, 5)), (1, 2, (5, 5)), (1, 1, (6, 5)))]


@pytest.mark.parametrize('size', [(1, 3, 33, 68), (2, 16, 5, 7), (3, 8, 4, 4), (1, 2, 2, 3)])
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('case', range(len(USUAL)))
def test_upfirdn2d_of_the_usual_kinds(gpu, case, dtype, size):
    """Several tiles, several planes in one, the forms that know the filter, loads of one and of several elements."""
    f, up, down, pad = USUAL[case]
    x = torch.randn(size, dtype=torch.float64).to(dtype)
    call = f, (up, up), (down, down), (*pad, *pad), case % 2 == 0, 1.5
    known = f'KnownAxis<{up}, {down}, {len(f)}>' if case < 6 else 'KnownAxis<0, 0, 0>'
    upfirdn2d = torch.ops.style_gan_emulated.upfirdn2d
    close(upfirdn2d(x, *call), by_definition(x.double(), *call))
    assert gpu.launches[-1] == f'tiled_kernel<{plans.TYPES[dtype]}, {"true" if f.ndim == 1 else "false"}, {known}>'
    if f.ndim == 2:
        x = x.to(memory_format=torch.channels_last)
        close(upfirdn2d(x, *call), by_definition(x.double(), *call))
        n = 16 // dtype.itemsize
        n, known = (n, known) if size[1] % n == 0 else (1, 'KnownAxis<0, 0, 0>')
        assert gpu.launches[-1] == f'direct_kernel<{plans.TYPES[dtype]}, {n}, std::int32_t, {known}>'


@pytest.mark.parametrize('memory_format', FORMATS)
@pytest.mark.parametrize('dtype', DTYPES)
@given(case=activations())
@SOME
def test_bias_act(gpu, native_ops, dtype, memory_format, case):
    """Forward against plain PyTorch in float64; derivatives against the kernels for the CPU, which have tests of their own."""
    act, *tensors, (dim, alpha, gain, clamp) = case
    x, b, dy, ddx = (None if t is None else t.to(dtype) for t in tensors)
    if x.ndim == 4:
        x, dy, ddx = (t.contiguous(memory_format=memory_format) for t in (x, dy, ddx))
    number = list(activation_funcs).index(act)
    ops, unused = torch.ops.style_gan_emulated, x.new_empty(0)
    for kernel in (TILED, DIRECT_64):
        with choosing(kernel):
            y = ops.bias_act(x, b, dim, number, alpha, gain, clamp)
            wide = 'std::int64_t' in gpu.launches[-1]
            assert wide == (kernel == DIRECT_64)
            close(y, torch_kernels.bias_act(x.double(), None if b is None else b.double(), dim, act, alpha, gain,
                                            None if clamp < 0 else clamp))
            known = (unused, y) if act in PIECEWISE else (x, unused)
            if act == 'linear' and clamp < 0:
                known = unused, unused
            call = dim, number, alpha, gain, clamp
            first = ops.bias_act_backward(dy, known[0], b, known[1], *call)
            second = ops.bias_act_backward2(ddx, dy, known[0], b, known[1], *call)
        # In half precision the clamp is where rounding puts it: take y from the kernel, and x as it was rounded.
        up = torch.float32 if dtype.itemsize == 2 else dtype
        b64, dy64, ddx64, *known64 = (None if t is None else t.to(up) for t in (b, dy, ddx, *known))
        limit = clamp if clamp < 0 else torch.tensor(clamp, dtype=dtype).item()
        call = dim, number, alpha, gain, limit if act in PIECEWISE else clamp
        close(first, native_ops.bias_act_backward(dy64, known64[0], b64, known64[1], *call).double(), 4)
        expected = native_ops.bias_act_backward2(ddx64, dy64, known64[0], b64, known64[1], *call)
        for result, value in zip(second, expected, strict=True):
            assert result.shape == value.shape
            if value.numel():
                close(result, value.double(), 4)


def fields(structure):
    """The numbers in a structure, in order."""
    return tuple(fields(value) if isinstance(value, ctypes.Structure) else value
                 for value in (getattr(structure, name) for name, _ in structure._fields_))


@pytest.mark.parametrize('dtype', DTYPES)
@given(data=st.data())
@SOME
def test_plans_are_those_of_the_native_library(walk, dtype, data):
    """The same structures in the same layout, elements per thread and index types, for tensors of any size."""
    draw, number = data.draw, DTYPES.index(dtype)
    side = st.integers(1, 3000)
    (w, h, taps_x, taps_y), up, down = [draw(st.tuples(*[st.integers(1, most)] * n)) for n, most in ((4, 3000), (2, 3), (2, 3))]
    taps_x, taps_y = min(taps_x % 70 + 1, w * up[0]), min(taps_y % 70 + 1, h * up[1])
    separable, channels_last, address_ = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([2, 8, 16]))
    f = torch.empty(taps_x if separable else (taps_y, taps_x))
    taps_y = taps_x if separable else taps_y
    padding = [draw(st.integers(0, 5)), taps_x, draw(st.integers(0, 5)), taps_y]
    shape = draw(st.integers(1, 64)), draw(st.sampled_from([1, 3, 8, 64, 512])), h, w
    call, (_, _, out_h, out_w) = layout(shape, f, up, down, padding, True, channels_last)
    image = ctypes.c_void_p(address_)
    launch = plans.upfirdn2d(dtype, tuple(call[:6]), tuple(call[6:12]), *call[12:14], separable, True, 1.5, address_)
    buffer = ctypes.create_string_buffer(256)
    if size := walk.tile_plan(number, call, ctypes.c_double(1.5), image, buffer):
        kind = plans.TilePlan
    elif separable:
        assert launch is None
        return
    else:
        elements = call[12] * call[13] * (w * h + out_w * out_h)
        bits = 32 if elements <= 2 ** 31 - 1 - 2 ** 16 else 64
        n = walk.direct_elements(number, call, image, image) if bits == 32 else 1
        kind = plans.DirectPlan32 if bits == 32 else plans.DirectPlan64
        size = walk.direct_plan(bits, call, ctypes.c_double(1.5), n, buffer)
        assert launch.kernel.startswith(f'direct_kernel<{plans.TYPES[dtype]}, {n}, std::int{bits}_t')
    assert size == ctypes.sizeof(kind) and fields(launch.plan) == fields(kind.from_buffer(buffer))

    shape = draw(st.tuples(side, st.sampled_from([1, 3, 8, 24, 512]), st.sampled_from([1, 7, 64, 4096, 1 << 20])))
    act, has_bias = draw(st.integers(0, 8)), draw(st.booleans())
    call = numbers(*shape, has_bias, act)
    launch = plans.bias_act(dtype, plans.FORWARD, shape, has_bias, act, 0.2, 1.4, 0.9, address_ == 16)
    bits = 32 if shape[0] * shape[1] * shape[2] <= 2 ** 31 - 1 - 2 ** 16 else 64
    n = walk.bias_act_elements(number, call, image) if bits == 32 else 1
    kind = plans.BiasActPlan32 if bits == 32 else plans.BiasActPlan64
    size = walk.bias_act_plan(bits, call, *map(ctypes.c_double, (0.2, 1.4, 0.9)), buffer)
    assert size == ctypes.sizeof(kind) and fields(launch.plan) == fields(kind.from_buffer(buffer))
    assert launch.kernel.startswith(f'bias_act_kernel<{plans.TYPES[dtype]}, {n}, std::int{bits}_t')


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
        command = ['nvcc', '-std=c++17', '-O3', '-fmad=false', f'-arch=sm_{architecture}', '-Xptxas=-v', '-c',
                   str(CSRC / f'{source}.cu')]
        result = subprocess.run([*command, '-o', str(tmp_path / 'kernels.o')], capture_output=True, text=True)
        assert result.returncode == 0 and 'warning' not in result.stderr, result.stderr
        registers = [int(r) for r in re.findall(r'Used (\d+) registers', result.stderr)]
        spilt = [int(s) for s in re.findall(r'(\d+) bytes spill', result.stderr)]
        print(f'{source} sm_{architecture}: {len(registers)} kernels, {min(registers)} to {max(registers)} registers')
        assert max(registers) <= 64 and max(spilt) <= 16
