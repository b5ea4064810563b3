"""Choose the kernel, grid and parameters of an operator on a GPU, for kernels that NVRTC compiles.

In the native library, bias_act.cu and upfirdn2d.cu make these choices. The structures equal those of the headers in csrc/, field
by field; a test has the compiler compare them.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import c_bool, c_double, c_int, c_int32, c_int64, c_uint32, c_void_p
from typing import NamedTuple

import torch

TYPES = {torch.float16: 'float16_t', torch.bfloat16: 'bfloat16_t', torch.float32: 'float', torch.float64: 'double'}
# The source of every kernel.
SOURCE = '#include "bias_act_grid.h"\n#include "upfirdn2d_grid.h"\nusing namespace style_gan_ops;\n'
THREADS = 256  # threads per block, for all kernels
TILE_MEMORY = 40960  # maximum shared memory in bytes
FORWARD, BACKWARD, BACKWARD2 = range(3)
LINEAR, RELU, LRELU = range(3)  # numbers of the piecewise linear activations, as in activation_funcs
UNKNOWN = (0, 0, 0)
KNOWN_2D, KNOWN_SEPARABLE = ((1, 1, 4), (2, 1, 4), (1, 2, 4)), ((2, 1, 12), (1, 2, 12))  # up, down, taps: with_known_axes


class Launch(NamedTuple):
    kernel: str  # a template with its arguments
    plan: ctypes.Structure  # its first parameter; never changed
    blocks: int
    shared: int = 0  # bytes of shared memory


def _structure(name: str, **fields: type) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {'_fields_': list(fields.items())})


Axis = _structure('Axis', **{'in': c_int}, out=c_int, up=c_int, down=c_int, before=c_int, taps=c_int)
Upfirdn2d = _structure('Upfirdn2d', x=Axis, y=Axis, outer=c_int64, inner=c_int64, separable=c_bool, flip_filter=c_bool,
                       gain=c_double)
Divider32 = _structure('Divider<std::int32_t>', divisor=c_uint32, multiplier=c_uint32, shift=c_uint32)
Divider64 = _structure('Divider<std::int64_t>', divisor=c_int64)
TilePlan = _structure('TilePlan', op=Upfirdn2d, log_width=c_int, log_height=c_int, log_planes=c_int, in_width=c_int,
                      in_height=c_int, pack=c_int, tiles_x=c_int, tiles_y=c_int, plane_groups=c_int64, packs_in_row=Divider32,
                      in_rows=Divider32, bytes=c_int64)
DirectPlan32 = _structure('DirectPlan<std::int32_t>', op=Upfirdn2d, work=c_int32, groups=Divider32, width=Divider32,
                          height=Divider32)
DirectPlan64 = _structure('DirectPlan<std::int64_t>', op=Upfirdn2d, work=c_int64, groups=Divider64, width=Divider64,
                          height=Divider64)
BiasAct = _structure('BiasAct', outer=c_int64, channels=c_int64, inner=c_int64, has_bias=c_bool, act=c_int, slope=c_double,
                     gain=c_double, clamp=c_double)
BiasActPlan32 = _structure('BiasActPlan<std::int32_t>', op=BiasAct, size=c_int32, inner=Divider32, channels=Divider32)
BiasActPlan64 = _structure('BiasActPlan<std::int64_t>', op=BiasAct, size=c_int64, inner=Divider64, channels=Divider64)
BiasActData = _structure('BiasActData<float>', known=c_void_p, b=c_void_p, dy=c_void_p, ddx=c_void_p, first=c_void_p,
                         second=c_void_p)
STRUCTURES = (Axis, Upfirdn2d, Divider32, Divider64, TilePlan, DirectPlan32, DirectPlan64, BiasAct, BiasActPlan32,
              BiasActPlan64, BiasActData)


def kernels(dtype: torch.dtype) -> list[str]:
    """Names of all kernels for a dtype."""
    wide, result = 16 // dtype.itemsize, []
    for straight, orders in ((True, (FORWARD, BACKWARD)), (False, (FORWARD, BACKWARD, BACKWARD2))):
        result += [_bias_act_kernel(dtype, n, bits, straight, order) for n, bits in ((1, 64), (1, 32), (wide, 32))
                   for order in orders]
    result += [_tiled_kernel(dtype, False, known) for known in (UNKNOWN, *KNOWN_2D)]
    result += [_tiled_kernel(dtype, True, known) for known in (UNKNOWN, *KNOWN_SEPARABLE)]
    result += [_direct_kernel(dtype, n, bits, UNKNOWN) for n, bits in ((1, 64), (1, 32), (wide, 32))]
    return result + [_direct_kernel(dtype, wide, 32, known) for known in KNOWN_2D]


def _bias_act_kernel(dtype: torch.dtype, n: int, bits: int, straight: bool, order: int) -> str:
    return f'bias_act_kernel<{TYPES[dtype]}, {n}, std::int{bits}_t, {str(straight).lower()}, {order}>'


def _tiled_kernel(dtype: torch.dtype, separable: bool, known: tuple[int, int, int]) -> str:
    return f'tiled_kernel<{TYPES[dtype]}, {str(separable).lower()}, {_known_axis(known)}>'


def _direct_kernel(dtype: torch.dtype, n: int, bits: int, known: tuple[int, int, int]) -> str:
    return f'direct_kernel<{TYPES[dtype]}, {n}, std::int{bits}_t, {_known_axis(known)}>'


def _known_axis(known: tuple[int, int, int]) -> str:
    return f'KnownAxis<{", ".join(map(str, known))}>'


def fits_in_32_bits(elements: int) -> bool:
    return elements <= 0x7fffffff - (1 << 16)


def _divider(divisor: int) -> ctypes.Structure:
    """Make Divider<std::int32_t> of portable.h."""
    shift = 31 + (divisor - 1).bit_length()
    return Divider32(divisor, ((1 << shift) + divisor - 1) // divisor, shift)


@functools.lru_cache(maxsize=4096)
def bias_act(dtype: torch.dtype, order: int, shape: tuple[int, int, int], has_bias: bool, act: int, alpha: float, gain: float,
             clamp: float, aligned: bool) -> Launch:
    """Plan bias_act. shape: outer, channels, inner of BiasAct. aligned: whether all tensors start at multiples of 16 bytes."""
    outer, channels, inner = shape
    size, wide, straight = outer * channels * inner, 16 // dtype.itemsize, act <= LRELU
    op = BiasAct(*shape, has_bias, act, {LINEAR: 1.0, RELU: 0.0}.get(act, alpha), gain, clamp)
    n, bits = 1, 32
    if not fits_in_32_bits(size):
        bits, plan = 64, BiasActPlan64(op, size, Divider64(inner), Divider64(channels))
    else:
        plan = BiasActPlan32(op, size, _divider(inner), _divider(channels))
        even = inner % wide == 0 or (inner == 1 and channels % wide == 0) if has_bias else size % wide == 0
        n = wide if aligned and even else 1
    kernel = _bias_act_kernel(dtype, n, bits, straight, BACKWARD if straight and order != FORWARD else order)
    return Launch(kernel, plan, -(-size // (THREADS * n)))


@functools.lru_cache(maxsize=4096)
def upfirdn2d(dtype: torch.dtype, x: tuple[int, ...], y: tuple[int, ...], outer: int, inner: int, separable: bool,
              flip_filter: bool, gain: float, alignment: int) -> Launch | None:
    """Plan upfirdn2d. x, y: fields of each Axis. alignment: largest of 1, 2, 4, ... 16 bytes that divides both images'
    addresses.

    None means one pass per axis: a separable filter that the tiled kernel does not take.
    """
    op = Upfirdn2d(Axis(*x), Axis(*y), outer, inner, separable, flip_filter, gain)
    alike = tuple((a.up, a.down, a.taps) for a in (op.x, op.y))
    known = alike[0] if alike[0] == alike[1] and alike[0] in (KNOWN_SEPARABLE if separable else KNOWN_2D) else UNKNOWN
    if plan := _tiles(op, dtype, alignment):
        blocks = plan.plane_groups * plan.tiles_y * plan.tiles_x
        return Launch(_tiled_kernel(dtype, separable, known), plan, blocks, plan.bytes)
    if separable:
        return None
    (x_in, x_out), (y_in, y_out), wide, n, bits = x[:2], y[:2], 16 // dtype.itemsize, 1, 32
    if not fits_in_32_bits(outer * inner * (x_in * y_in + x_out * y_out)):
        known, bits = UNKNOWN, 64
    elif inner % wide == 0 and alignment >= 16:
        n = wide
    else:
        known = UNKNOWN
    groups = inner // n
    work = outer * y_out * x_out * groups
    if bits == 64:
        plan = DirectPlan64(op, work, *map(Divider64, (groups, x_out, y_out)))
    else:
        plan = DirectPlan32(op, work, *map(_divider, (groups, x_out, y_out)))
    return Launch(_direct_kernel(dtype, n, bits, known), plan, -(-work // THREADS))


def _tiles(op: ctypes.Structure, dtype: torch.dtype, alignment: int) -> ctypes.Structure | None:
    """plan_tiles of upfirdn2d_tiled.h."""
    ax, ay = op.x, op.y
    x_in, y_in = getattr(ax, 'in'), getattr(ay, 'in')
    if op.inner != 1 or max(ax.taps, ay.taps) > 64 or not (fits_in_32_bits(x_in * y_in) and fits_in_32_bits(ax.out * ay.out)):
        return None
    log_width, log_height = _log(ax.out, 2, 5), _log(ay.out, 2, 5)
    width, height = 1 << log_width, 1 << log_height
    pack = 4 if x_in % 4 == 0 and alignment >= 4 * dtype.itemsize else 1
    in_width = -(-(_reach(ax, width) + pack - 1) // pack) * pack
    in_height = _reach(ay, height)
    filter_size = ax.taps + ay.taps if op.separable else ax.taps * ay.taps
    for log_planes in range(_log(op.outer, 0, 10 - log_width - log_height), -1, -1):
        planes = 1 << log_planes
        middle = planes * in_height * width if op.separable else 0
        size = (filter_size + planes * in_height * in_width + middle) * (8 if dtype == torch.float64 else 4)
        if size <= TILE_MEMORY:
            return TilePlan(op, log_width, log_height, log_planes, in_width, in_height, pack, -(-ax.out // width),
                            -(-ay.out // height), -(-op.outer // planes), _divider(in_width // pack), _divider(in_height), size)
    return None


def _reach(axis: ctypes.Structure, count: int) -> int:
    """Number of samples that `count` neighbouring outputs read together."""
    return ((count - 1) * axis.down + axis.taps - 1) // axis.up + 1


def _log(size: int, least: int, most: int) -> int:
    return max(least, min(most, (size - 1).bit_length()))
