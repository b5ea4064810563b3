"""Read pickles as data, with our own pickle machine that cannot run anything.

Python's unpickler imports what a file names, and calls it. This one knows the same instructions, but a name in the file only
becomes a `Name`: an inert token from a closed vocabulary. The reader's own functions decide the result of calling or creating
it. All other names are refused. The vocabulary cannot be widened from outside.

Reading is also bounded. Every length is compared with the rest of the file before anything is read, instructions are counted,
and only plain keys are hashed. So a file can neither run code nor exhaust time or memory.
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
    """Vocabulary of pickles that hold only plain values."""
    return {}


def load(file: IO[bytes], vocabulary: Vocabulary = no_names) -> Any:
    """Read the pickle at a file's position. Raises RecordError if it is damaged or uses a name outside the vocabulary.

    vocabulary: called with the Budget of this file, returns the allowed names, 'module.name' -> Name.
    """
    data: bytes | mmap.mmap
    try:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO):
            # Mapped, not read: the system can drop the pages from memory at any time.
            data, position = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), file.tell()
        else:
            data, position = file.read(), 0
    except (OSError, ValueError) as err:
        raise RecordError(f'it is damaged or no regular file: {" ".join(str(err).split())}') from err
    budget = Budget(len(data))
    return parse(data, vocabulary(budget), budget, position)[0]


def parse(data: bytes | mmap.mmap, names: Mapping[str, Name], budget: Budget, position: int = 0,
          persistent: Callable[[Any], Any] | None = None) -> tuple[Any, int]:
    """Read the pickle at `position`. Returns its value and the position after it. Raises RecordError.

    persistent: resolves a persistent id; without it, persistent ids are refused.
    """
    machine = Machine(data, names, budget, position, persistent)
    try:
        return machine.run(), machine.position
    except RecordError:
        raise
    except Exception as err:  # an instruction with unexpected operands can raise anything
        raise RecordError('it is damaged or no pickle at all') from err
