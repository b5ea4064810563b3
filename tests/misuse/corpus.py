"""The corpus: what is in the *.txt files beside this one, and how a command of it is run.

A case is the command as a user types it, its exit status, and a part of the one line that it ends with:

    $ train.py --outdir=out --data=good.zip --gama=2
    2 No such option: --gama

Lines that begin with # are headings. `\n` and the like are as in a shell.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.programs import run_program

PROGRAMS = {
    'train.py': 'train', 'generate.py': 'generate', 'dataset_tool.py': 'dataset_tool', 'calc_metrics.py': 'calc_metrics',
    **{f'-m {module}': f'{module}{rest}' for module, rest in {
        'training.snapshot': 's.tool', 'training.report': '', 'training.curves': '', 'training.calibration': '',
        'training.encoder': '.__main__', 'training.doctor': '.__main__', 'torch_utils.custom_ops': ''}.items()},
}
CORPUS = sorted(Path(__file__).parent.glob('*.txt'))


class Case(NamedTuple):
    """place: file and line. command: as typed. status and says: what is expected."""

    place: str
    command: str
    status: int
    says: str


def cases(path: Path) -> Iterator[Case]:
    """All cases of a file."""
    command = None
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if line.startswith('$ '):
            command = line[2:]
        elif line[:2] in ('1 ', '2 '):
            yield Case(f'{path.stem}:{number - 1}', command, int(line[0]), line[2:])
        elif line and not line.startswith('#'):
            raise ValueError(f'{path}:{number}: neither `$ command`, `status message` nor `# heading`')


def run(command: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) in this process."""
    words = shlex.split(command)
    count = 2 if words[0] == '-m' else 1
    module = importlib.import_module(PROGRAMS[' '.join(words[:count])])
    return run_program(module.main, *words[count:])


def contents(root: Path) -> dict[str, tuple[int, int] | None]:
    """Everything below a folder: size and time of the last change of what is no folder."""
    return {str(path.relative_to(root)): None if path.is_dir() else (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in sorted(root.rglob('*'))}
