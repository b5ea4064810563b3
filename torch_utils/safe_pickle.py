"""Pickles read as data: a pickle machine of our own that cannot run anything.

Python's unpickler imports what a file names and calls it. This one knows the same instructions, but a name in the file
only ever becomes a `Name`, an inert token out of a closed vocabulary; what calling or creating it gives is decided by the
reader's own functions, and every other name is refused. There is no way to widen the vocabulary from outside.

It is bounded, too: every length is compared with what is left of the file before anything is read, instructions are
counted, and only plain keys are hashed. A file can therefore neither run code nor exhaust time or memory.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Callable, Mapping
from typing import IO, Any

from torch_utils.pickle_machine import Machine
from torch_utils.pickle_parts import Budget, Name, RecordError, Stub, UnknownName, Vocabulary, describe, plain_key

__all__ = ['Budget', 'Name', 'RecordError', 'Stub', 'UnknownName', 'Vocabulary', 'describe', 'load', 'parse', 'plain_key']


def no_names(budget: Budget) -> Mapping[str, Name]:
    """The vocabulary of pickles that hold plain values only."""
    return {}


def load(file: IO[bytes], vocabulary: Vocabulary = no_names) -> Any:
    """Read the pickle at the position of a file. Raises RecordError if it is damaged or uses a name out of the vocabulary.

    vocabulary: called with the Budget of this file, returns the names, 'module.name' -> Name, that it may use.
    """
    data: bytes | mmap.mmap
    try:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            # Mapped rather than read: the system can drop it from memory whenever it likes.
            data, position = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), file.tell()
        else:
            data, position = file.read(), 0
    except (OSError, ValueError) as err:
        raise RecordError(f'it is damaged or no regular file: {" ".join(str(err).split())}') from err
    budget = Budget(len(data))
    return parse(data, vocabulary(budget), budget, position)[0]


def parse(data: bytes | mmap.mmap, names: Mapping[str, Name], budget: Budget, position: int = 0,
          persistent: Callable[[Any], Any] | None = None) -> tuple[Any, int]:
    """Read the pickle at `position`: its value, and the position after it. Raises RecordError.

    persistent: what becomes of a persistent id; without it, these are refused.
    """
    machine = Machine(data, names, budget, position, persistent)
    try:
        return machine.run(), machine.position
    except RecordError:
        raise
    except Exception as err:  # an instruction that finds something else than it needs can raise anything
        raise RecordError('it is damaged or no pickle at all') from err
