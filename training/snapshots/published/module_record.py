"""The objects of a published pickle as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_utils.safe_pickle import RecordError, Stub, describe

MAX_DEPTH, MAX_MODULES = 16, 20_000  # of modules in modules; a pickle can make a module its own part


class ModuleRecord(Stub):
    """A module of a pickle: the name of its class and its `__dict__`, as plain data.

    origin: which program wrote it, as far as its source text hints at that, or ''.
    """

    __slots__ = ('class_name', 'origin', 'state')

    def __init__(self, class_name: str):
        self.class_name, self.origin = class_name, ''
        self.state: dict[str, Any] = {}

    def build(self, state: Any) -> None:
        if type(state) is not dict:
            raise RecordError(f'the state of a {self.class_name} in it is damaged')
        self.state = state

    def part(self, path: str) -> ModuleRecord | None:
        """The submodule at a dotted path, if there is one."""
        record: Any = self
        for name in path.split('.') if path else ():
            parts = record.state.get('_modules')
            record = parts.get(name) if type(parts) is dict else None
            if type(record) is not ModuleRecord:
                return None
        return record

    def tensors(self) -> dict[str, np.ndarray]:
        """The state dict, by dotted name. Raises RecordError if it is damaged or endless."""
        found: dict[str, np.ndarray] = {}
        left = MAX_MODULES

        def visit(record: Any, prefix: str, depth: int) -> None:
            nonlocal left
            left -= 1
            if type(record) is not ModuleRecord or depth > MAX_DEPTH or left < 0:
                raise RecordError('a module in it is damaged, or part of itself')
            parameters, buffers, parts = (record.state.get(k, {}) for k in ('_parameters', '_buffers', '_modules'))
            hidden = record.state.get('_non_persistent_buffers_set', ())
            if any(type(group) is not dict or any(type(name) is not str for name in group)
                   for group in (parameters, buffers, parts)):
                raise RecordError('a module in it is damaged')
            for name, tensor in {**parameters, **{k: v for k, v in buffers.items() if k not in hidden}}.items():
                if tensor is not None:
                    if type(tensor) is not np.ndarray:
                        raise RecordError(f'its tensor {describe(prefix + name)} is damaged')
                    found[prefix + name] = tensor
            for name, part in parts.items():
                if part is not None:
                    visit(part, f'{prefix}{name}.', depth + 1)

        visit(self, '', 0)
        return found


class Ignored(Stub):
    """Stands for an object that is not needed, such as an activation function of a flow."""

    __slots__ = ()

    def __init__(self, *_: Any):
        pass

    def build(self, state: Any) -> None:
        pass
