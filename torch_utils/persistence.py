"""Modules as inert records, stored in pickles that cannot run code.

A record is a dict of plain values: class name, constructor arguments, tensors as (dtype, shape, bytes). A pickle of records
names no class and no function. The reader (torch_utils.safe_pickle) refuses every pickle that does.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import pickle
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from dnnlib.plugins import load_object
from torch_utils import safe_pickle
from torch_utils.safe_pickle import RecordError as RecordError

FORMAT = 1
DTYPES = {str(t).removeprefix('torch.'): t for t in (torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.uint8,
                                                      torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)}


def persistent(cls: type[Any]) -> type[Any]:
    """Decorate a class so that instances record their constructor arguments, by name, in `init_kwargs`.

    A class that is already decorated is unchanged.
    """
    if '_is_persistent' in vars(cls):
        return cls
    init, signature = cls.__init__, inspect.signature(cls.__init__)
    rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)

    @functools.wraps(init)
    def remembering(self: Any, *args: Any, **kwargs: Any) -> None:
        given = dict(signature.bind(self, *args, **kwargs).arguments)
        given.pop('self')
        given |= {} if rest is None else given.pop(rest, {})
        given = copy.deepcopy(given)  # copied first: the constructor may change them
        init(self, *args, **kwargs)
        self.init_kwargs = given

    cls.__init__, cls._is_persistent = remembering, True
    return cls


def construct(*, class_name: str, **kwargs: Any) -> nn.Module:
    """Make a module of `package.module.Class` or `path/to/file.py:Class`. The class becomes @persistent if it is not yet."""
    return persistent(load_object(class_name))(**kwargs)


def to_record(module: nn.Module, class_name: str | None = None, half: bool = False) -> dict[str, Any]:
    """Describe a module whose class is @persistent. Weights are copied to the CPU in their present state.

    class_name: name of the class in the record; by default the class's name without its module. half: round float32 tensors to
    float16, which halves the size. Tensors with numbers too large for float16 stay float32.
    """
    return {
        'format': FORMAT,
        'class_name': class_name or type(module).__name__,
        'init_kwargs': _plain(module.init_kwargs),
        'tensors': {name: _pack(halved(t) if half else t) for name, t in module.state_dict().items()},
    }


def from_record(record: Any, classes: Mapping[str, type], trusted: bool = False) -> nn.Module:
    """Build the module that a record describes: in eval mode, without gradients, on the CPU.

    classes: name -> class; only these may be built. trusted: see `build`. Raises RecordError if the record is damaged or names
    another class.
    """
    if not isinstance(record, dict) or record.get('format') != FORMAT:
        raise RecordError('it holds no network record of this version')
    name, kwargs, tensors = (record.get(k) for k in ('class_name', 'init_kwargs', 'tensors'))
    if not isinstance(name, str) or name not in classes or not isinstance(kwargs, dict) or not isinstance(tensors, dict):
        raise RecordError(f'it holds an unknown or damaged network ({name!r})')
    try:
        seen: set[int] = set()
        state = {k: _unpack(v, seen) for k, v in tensors.items()}
    except Exception as err:  # content of a file can raise anything
        raise RecordError(f'its {name} cannot be rebuilt: {" ".join(str(err).split())}') from err
    return build(classes[name], kwargs, state, trusted=trusted)


def build(cls: type[Any], kwargs: dict[str, Any], state: Mapping[str, torch.Tensor], constants: str | None = None,
          trusted: bool = False) -> nn.Module:
    """Build a module from arguments and a state dict: in eval mode, without gradients, on the CPU.

    Arguments and state come from a file. Before memory is allocated, a check ensures that they fit each other. float32 tensors
    may be stored as float16.
    constants: tensors whose name ends with this may be missing; they keep the constructor's values. trusted: the constructor may
    make tensors that the state does not hold. A user's own class may need this for buffers and initial values.
    Raises RecordError if arguments and state don't fit.
    """
    try:
        with contextlib.nullcontext() if trusted else _Limits(len(state), sum(t.numel() for t in state.values())):
            module = cls(**kwargs).eval().requires_grad_(False)
        expected = module.state_dict()
        state = {k: t.float() if t.dtype == torch.float16 and k in expected and expected[k].dtype == torch.float32 else t
                 for k, t in state.items()}
        for k, t in expected.items():
            if k in state and (state[k].dtype, state[k].shape) != (t.dtype, t.shape):
                raise RecordError(f'{k} is {state[k].dtype} {list(state[k].shape)} instead of {t.dtype} {list(t.shape)}')
        missing = {k for k in expected if k not in state and not (constants and k.endswith(constants))}
        for what, names in [('lacks', missing), ('has unknown', state.keys() - expected.keys())]:
            if names:
                raise RecordError(f'it {what} {", ".join(sorted(map(safe_pickle.describe, names))[:5])}')
        module.load_state_dict({**expected, **state}, strict=True)
    except Exception as err:  # arguments and tensors from a file can make a constructor raise anything
        raise RecordError(f'its {cls.__name__} cannot be rebuilt: {" ".join(str(err).split())[:300]}') from err
    return module


def tensor_names(cls: type[Any], kwargs: dict[str, Any], tensors: int, numbers: int) -> list[str]:
    """Names in the state dict of a module built with these arguments.

    tensors, numbers: how many tensors the file holds, and how many numbers in all of them. Raises RecordError if the module
    cannot be built or needs more.
    """
    try:
        with _Limits(tensors, numbers):
            return list(cls(**kwargs).state_dict())
    except Exception as err:
        raise RecordError(f'its {cls.__name__} cannot be rebuilt: {" ".join(str(err).split())[:300]}') from err


class _Limits(TorchFunctionMode):
    """Inside this context, a constructor cannot make more parameters or numbers than a file holds.

    It is stopped before memory is allocated. Otherwise a small file could ask for a billion layers, or for layers of any width.
    """

    FACTORIES = (torch.randn, torch.empty, torch.zeros, torch.ones, torch.full)
    SPARE = 4096  # allowance for temporary numbers

    def __init__(self, tensors: int, numbers: int):
        super().__init__()
        self._tensors, self._numbers = tensors, numbers
        self._tensors_left, self._numbers_left = tensors, numbers + self.SPARE

    def __enter__(self) -> _Limits:
        self._hook = register_module_parameter_registration_hook(self._count_parameter)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hook.remove()
        super().__exit__(*error)

    def _count_parameter(self, *_: Any) -> None:
        self._tensors_left -= 1
        if self._tensors_left < 0:
            raise RecordError(f'its arguments ask for more than the {self._tensors} tensors that it has')

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in self.FACTORIES:
            shape = kwargs['size'] if 'size' in kwargs else args[0] if isinstance(args[0], (list, tuple)) else args
            self._numbers_left -= math.prod(shape)
            if self._numbers_left < 0:
                raise RecordError(f'its arguments ask for more than the {self._numbers} numbers that it has')
        return func(*args, **kwargs)


def dump(value: Any, file: BinaryIO) -> None:
    """Pickle plain values (dict, list, tuple, str, bytes, numbers, None). Raises TypeError for anything else."""
    pickle.dump(_plain(value), file, protocol=4)


def load(file: BinaryIO) -> Any:
    """Read a pickle of plain values. Raises RecordError if it is damaged or names a class or function."""
    return safe_pickle.load(file)


def halved(t: torch.Tensor) -> torch.Tensor:
    half = t.half() if t.dtype == torch.float32 else t
    return half if half.isfinite().all() else t


def _pack(t: torch.Tensor) -> dict[str, Any]:
    t = t.detach().cpu().contiguous()
    return {'dtype': str(t.dtype).removeprefix('torch.'), 'shape': tuple(t.shape),
            'data': t.reshape(-1).view(torch.uint8).numpy().tobytes()}


def _unpack(packed: Any, seen: set[int]) -> torch.Tensor:
    if not isinstance(packed, dict) or packed.get('dtype') not in DTYPES or not isinstance(packed.get('data'), bytes):
        raise RecordError('a tensor in it is damaged')
    if id(packed['data']) in seen and len(packed['data']) > 8:
        raise RecordError('tensors in it share their bytes')  # else a small file could become a large network
    seen.add(id(packed['data']))
    shape: Any = packed.get('shape')
    flat = torch.empty(len(packed['data']), dtype=torch.uint8)
    flat.numpy()[:] = np.frombuffer(packed['data'], dtype=np.uint8)
    return flat.view(DTYPES[packed['dtype']]).reshape(shape)


def _plain(value: Any) -> Any:
    """Copy nested containers, and convert dict and list subclasses to the plain types."""
    if isinstance(value, Mapping):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if isinstance(value, list) else tuple)(_plain(v) for v in value)
    if type(value) is str:
        return sys.intern(value)  # pickle writes identical strings only once: make equal strings identical
    if value is None or type(value) in (bytes, int, float, bool):
        return value
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    raise TypeError(f'{type(value).__name__} is not a plain value')
