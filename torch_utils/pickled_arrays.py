"""Read arrays and tensors from pickles with our own functions: vocabularies for torch_utils.safe_pickle.

Every size in a file is compared with the bytes that the file holds, before anything of that size is allocated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torch_utils.safe_pickle import Budget, Name, RecordError, Stub, describe, parse

ITEM_TYPES = ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'b1')
STORAGES = dict(FloatStorage='f4', HalfStorage='f2', DoubleStorage='f8', LongStorage='i8', IntStorage='i4', ShortStorage='i2',
                CharStorage='i1', ByteStorage='u1', BoolStorage='b1')
MAX_DIMS = 8
# A legacy torch.save stream starts with these two numbers, each in a pickle of its own.
TORCH_MAGIC, TORCH_PROTOCOL = 0x1950a86a20f9469cfc6c, 1001


class DType(Stub):
    """Stands for `numpy.dtype(code)`. Its state is the byte order; only little-endian is read."""

    __slots__ = ('type',)

    def __init__(self, code: Any, *flags: Any):
        if code not in ITEM_TYPES:
            raise RecordError(f'it has an array of {describe(code)}, and only arrays of numbers are read')
        self.type = np.dtype(code)

    def build(self, state: Any) -> None:
        if state[1] not in ('<', '|'):
            raise RecordError('it has an array that is not little-endian')


class Array(Stub):
    """A NumPy array that its state fills. `values` is read-only, and None until then."""

    __slots__ = ('budget', 'values')

    def __init__(self, budget: Budget) -> None:
        self.budget, self.values = budget, None

    def build(self, state: Any) -> None:
        _version, shape, dtype, fortran, data = state
        if type(dtype) is not DType:
            raise RecordError('it has an array of unknown type')
        if type(data) is str:
            data = data.encode('latin1')  # bytes from Python 2
        if type(data) is not bytes or _count(shape) * dtype.type.itemsize != len(data):
            raise RecordError('it has an array that is damaged, or of objects')
        self.budget.spend(len(data))
        self.values = np.frombuffer(data, dtype.type).reshape(shape, order='F' if fortran is True else 'C')


def numpy_names(budget: Budget) -> Mapping[str, Name]:
    """Vocabulary of pickled NumPy numbers and arrays, from all versions of Python and NumPy."""
    array_type = Name('numpy.ndarray')

    def reconstruct(kind: Any, *_shape_and_type: Any) -> Array:
        if kind is not array_type:
            raise RecordError('it has an array of unknown class')
        return Array(budget)

    def scalar(dtype: Any, data: Any) -> int | float | bool:
        if type(dtype) is not DType:
            raise RecordError('it has a number of unknown type')
        return np.frombuffer(data.encode('latin1') if type(data) is str else data, dtype.type, count=1)[0].item()

    def encode(text: Any, encoding: Any) -> bytes:  # how Python 3 writes bytes in protocols of Python 2
        if type(text) is not str or encoding not in ('latin1', 'latin-1'):
            raise RecordError('it has bytes in an unknown encoding')
        budget.spend(len(text))
        return text.encode('latin1')

    names = {'numpy.ndarray': array_type, 'numpy.dtype': Name('numpy.dtype', call=DType),
             '_codecs.encode': Name('_codecs.encode', call=encode)}
    names |= {name: Name(name, call=lambda: b'') for name in ('builtins.bytes', '__builtin__.bytes')}  # empty bytes
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names[f'{module}._reconstruct'] = Name(f'{module}._reconstruct', call=reconstruct)
        names[f'{module}.scalar'] = Name(f'{module}.scalar', call=scalar)
    return names


class Storage:
    """Numbers of a torch storage: `values` [numel], read-only."""

    __slots__ = ('values',)

    def __init__(self, values: np.ndarray):
        self.values = values


def tensor_names(budget: Budget) -> Mapping[str, Name]:
    """Vocabulary of pickled torch tensors. Parameters and tensors become read-only NumPy arrays with the same strides."""
    def parameter(tensor: Any, *_grad_and_hooks: Any) -> np.ndarray:
        if type(tensor) is not np.ndarray:
            raise RecordError('it has a parameter without a tensor')
        return tensor

    names: dict[str, Callable[..., Any]] = {
        'torch._utils._rebuild_parameter': parameter,
        'torch._utils._rebuild_tensor_v2': functools.partial(_view, budget),
        'torch.storage._load_from_bytes': functools.partial(_read_storage, budget),
    }
    return {name: Name(name, call=call) for name, call in names.items()}


def _view(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, _requires_grad: Any = False,
          _hooks: Any = None, _metadata: Any = None) -> np.ndarray:
    if type(storage) is not Storage:
        raise RecordError('it has a tensor without a storage')
    flat, count = storage.values, _count(size)
    _count(stride)
    if len(stride) != len(size) or type(offset) is not int or offset < 0:
        raise RecordError('it has a tensor that is damaged')
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count == 0:
        return np.empty(size, flat.dtype)
    if count > len(flat) or last >= len(flat):
        raise RecordError('it has a tensor that is larger than its storage')
    budget.spend(count * flat.itemsize)  # tensors may share a storage, but their total must not exceed the file's size
    return np.lib.stride_tricks.as_strided(flat[offset:], size, [step * flat.itemsize for step in stride], writeable=False)


def _read_storage(budget: Budget, data: Any) -> Storage:
    """Read the storage from a complete legacy torch.save stream: five pickles, a count, the numbers."""
    if type(data) is not bytes:
        raise RecordError('it has a storage that is no bytes')
    if data[:4] == b'PK\3\4':
        raise RecordError('it has a storage that is a ZIP archive, which no network snapshot has')
    position, values = 0, []
    types = {f'torch.{name}': Name(f'torch.{name}') for name in STORAGES}

    def describe_storage(pid: Any) -> tuple[np.dtype, str, int]:
        tag, kind, key, _location, numel = pid[:5]
        if tag != 'storage' or type(kind) is not Name or type(key) is not str or type(numel) is not int:
            raise RecordError('it has a storage that is damaged')
        return np.dtype(STORAGES[kind.name.removeprefix('torch.')]), key, numel

    for i in range(5):
        value, position = parse(data, types if i == 3 else {}, budget, position, describe_storage if i == 3 else None)
        values.append(value)
    magic, protocol, system, described, keys = values
    if type(magic) is not int or magic != TORCH_MAGIC or type(protocol) is not int or protocol != TORCH_PROTOCOL:
        raise RecordError('it has a storage of an unknown format')
    if type(system) is not dict or system.get('little_endian') is not True:
        raise RecordError('it has a storage that is not little-endian')
    dtype, key, numel = described
    if type(keys) is not list or len(keys) != 1 or type(keys[0]) is not str or keys[0] != key or numel < 0:
        raise RecordError('it has a storage that is damaged')
    start = position + 8
    if len(data) != start + numel * dtype.itemsize or int.from_bytes(data[position:start], 'little') != numel:
        raise RecordError(f'it has a storage of {describe(str(numel))} numbers that brings {len(data) - start} bytes')
    return Storage(np.frombuffer(data, dtype, count=numel, offset=start))


def _count(shape: Any) -> int:
    """Number of elements. Raises RecordError unless `shape` is a tuple of a few non-negative integers."""
    if type(shape) is not tuple or len(shape) > MAX_DIMS or any(type(n) is not int or not 0 <= n < 1 << 48 for n in shape):
        raise RecordError('it has an array or tensor of impossible shape')
    return math.prod(shape)
