"""Parts of pickles for torch_utils.safe_pickle: names, objects, keys, the cost limits of reading, and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_STEPS = 1_000_000  # maximum instructions per file: ten times as many as in the largest published network pickle


class RecordError(ValueError):
    """A pickle or record is damaged, of another kind, or does not fit. The text is one line."""


class UnknownName(RecordError):
    """A pickle uses a name that is outside the vocabulary."""


class Name:
    """Stands for a class or function that a pickle names.

    call(*args): result of calling it. new(*args): result of creating an instance. None: not allowed.
    """

    __slots__ = ('call', 'name', 'new')

    def __init__(self, name: str, call: Callable[..., Any] | None = None, new: Callable[..., Any] | None = None):
        self.name, self.call, self.new = name, call, new


class Stub:
    """An object in a pickle that takes a state. `build(state)` stores the state."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        raise NotImplementedError


class Budget:
    """Cost limits of reading a file of `size` bytes: instructions, and bytes of the arrays and texts that calls make."""

    def __init__(self, size: int):
        self.steps, self.bytes = MAX_STEPS, 2 * size + (1 << 20)

    def spend(self, size: int) -> None:
        """Use up `size` bytes. Raises RecordError if too few are left."""
        self.bytes -= size
        if self.bytes < 0:
            raise RecordError('it unpacks to far more than its size')


Vocabulary = Callable[[Budget], Mapping[str, Name]]  # 'module.name' -> Name, for the names that a file may use


def plain_key(key: Any) -> Any:
    """Check the key of a dict or set. Raises RecordError for a key whose hash could be slow or made to collide."""
    if type(key) in (str, bytes, bool, type(None)) or (type(key) is int and abs(key) < 1 << 32):
        return key
    raise RecordError(f'it has a key that is no plain value ({type(key).__name__})')


def describe(name: Any) -> str:
    """Make a name from a file safe for a message: one short line without control characters."""
    text = ascii(name)[1:-1] if type(name) is str else type(name).__name__
    return text if len(text) <= 100 else f'{text[:100]}...'
