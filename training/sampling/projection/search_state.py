"""The state of a projection in a file. An unfinished projection resumes from it, and never from the state of another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from dnnlib import seal
from dnnlib.files import open_output, remove_leftovers
from dnnlib.util import UserError

FILE_NAME = 'projection-state.pt'


class Resumable(Protocol):
    """Work that can be saved: `step` of `num_steps` units are done. state_dict: tensors and numbers in dicts."""

    step: int
    num_steps: int

    def state_dict(self) -> dict[str, Any]:
        """Everything that the same work needs to continue."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state_dict of the same work."""


def save(outdir: str | Path, marks: Mapping[str, str], projection: Resumable) -> None:
    """Write the state atomically. marks: everything that the result depends on: name -> identifying value.

    Raises UserError if that is not possible.
    """
    with open_output(Path(outdir, FILE_NAME), 'w+b') as f:
        torch.save(dict(marks=dict(marks), projection=projection.state_dict()), f)
        seal.seal(f, zipped=True)


def restore(outdir: str | Path, marks: Mapping[str, str], projection: Resumable, unit: str = 'step') -> None:
    """Resume a projection from the state in a file, if its marks are the same, and print so.

    A state with other marks and a damaged state are skipped with a message. Nothing in the file is executed. Raises UserError for
    another kind of file.
    """
    path = Path(outdir, FILE_NAME)
    remove_leftovers(outdir, FILE_NAME)
    if not path.is_file():
        return
    with open(path, 'rb') as f:
        if not seal.check_seal(f)[0]:
            print(f'{path} is damaged; starting from the beginning')
            return
        try:
            state = torch.load(f, map_location='cpu', weights_only=True)
            others = [name for name in marks if state['marks'].get(name) != marks[name]]
            if not others:
                projection.load_state_dict(state['projection'])
        except Exception as err:  # readers of binary files raise anything
            raise UserError(f'{path}: not the state of a projection; move it away') from err
    if others:
        print(f'{path} is of another projection ({", ".join(others)}: not the same); starting from the beginning')
    else:
        print(f'Resuming after {unit} {projection.step} of {projection.num_steps}')


def remove(outdir: str | Path) -> None:
    """Remove the state of finished work."""
    Path(outdir, FILE_NAME).unlink(missing_ok=True)
