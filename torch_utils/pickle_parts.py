"""What pickles consist of for torch_utils.safe_pickle: names, objects, keys; what reading them may cost; errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_STEPS = 1_000_000  # instructions per file; the largest published network pickles have a tenth of that


class RecordError(ValueError):
    """A pickle or record that is damaged, of another kind, or does not fit. Its text is one line."""


class UnknownName(RecordError):
    """A pickle uses a name that is not in the vocabulary."""


class Name:
    """What a pickle gets in place of a class or function that it names.

    call(*args): what a call of it gives. new(*args): what creating an instance gives. None: not to be done.
    """

    __slots__ = ('call', 'name', 'new')

    def __init__(self, name: str, call: Callable[..., Any] | None = None, new: Callable[..., Any] | None = None):
        self.name, self.call, self.new = name, call, new


class Stub:
    """An object out of a pickle that takes a state: `build(state)` keeps it."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        raise NotImplementedError


class Budget:
    """What reading a file of `size` bytes may cost: instructions, and bytes of the arrays and texts that calls make."""

    def __init__(self, size: int):
        self.steps, self.bytes = MAX_STEPS, 2 * size + (1 << 20)

    def spend(self, size: int) -> None:
        """Take `size` bytes. Raises RecordError when there are none left."""
        self.bytes -= size
        if self.bytes < 0:
            raise RecordError('it unpacks to far more than its size')


Vocabulary = Callable[[Budget], Mapping[str, Name]]  # the names, 'module.name' -> Name, that a file may use


def plain_key(key: Any) -> Any:
    """The key of a dict or set. Raises RecordError for one whose hash could take long, or collide with others' by intent."""
    if type(key) in (str, bytes, bool, type(None)) or (type(key) is int and abs(key) < 1 << 32):
        return key
    raise RecordError(f'it has a key that is no plain value ({type(key).__name__})')


def describe(name: Any) -> str:
    """A name out of a file, fit for a message: one short line without control characters."""
    text = ascii(name)[1:-1] if type(name) is str else type(name).__name__
    return text if len(text) <= 100 else f'{text[:100]}...'
