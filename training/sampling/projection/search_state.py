"""The state of a projection in a file: an unfinished one goes on from there, and is never mixed up with another one."""

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
    """What is saved: `step` of `num_steps` units of work are done. state_dict: tensors and numbers in dicts."""

    step: int
    num_steps: int

    def state_dict(self) -> dict[str, Any]:
        """Everything that an equal one needs to continue from here."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state_dict of an equal one."""


def save(outdir: str | Path, marks: Mapping[str, str], projection: Resumable) -> None:
    """Write it, atomically. marks: what the result depends on: name -> anything that tells it from others.

    Raises UserError where that is not possible.
    """
    with open_output(Path(outdir, FILE_NAME), 'w+b') as f:
        torch.save(dict(marks=dict(marks), projection=projection.state_dict()), f)
        seal.seal(f, zipped=True)


def restore(outdir: str | Path, marks: Mapping[str, str], projection: Resumable, unit: str = 'step') -> None:
    """Let a projection go on from the state in a file, if there is one with the same marks, and say so.

    One with other marks, or a damaged one, is passed over, and that is said. Nothing in the file is executed. Raises UserError
    for a file that is something else.
    """
    path = Path(outdir, FILE_NAME)
    remove_leftovers(outdir, FILE_NAME)
    if not path.is_file():
        return
    with open(path, 'rb') as f:
        if not seal.check_seal(f)[0]:
            print(f'{path} is damaged; starting anew')
            return
        try:
            state = torch.load(f, map_location='cpu', weights_only=True)
            others = [name for name in marks if state['marks'].get(name) != marks[name]]
            if not others:
                projection.load_state_dict(state['projection'])
        except Exception as err:  # readers of binary files raise anything
            raise UserError(f'{path}: not the state of a projection; move it away') from err
    if others:
        print(f'{path} is of another projection ({", ".join(others)}: not the same); starting anew')
    else:
        print(f'Going on after {unit} {projection.step} of {projection.num_steps}')


def remove(outdir: str | Path) -> None:
    """What is finished need not go on."""
    Path(outdir, FILE_NAME).unlink(missing_ok=True)
