"""The source text in exported pickles: all our networks in one module that needs only torch.

A published pickle holds the text of the module that defines its classes. The program that opens it executes this text. Our text
consists of our own modules, so it draws the same images: the classes of `networks`, and everything that they use. These modules
therefore run in the oldest environment of published code, Python 3.7 and torch 1.7.1. A test checks it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT, STAND_INS = (f'{__name__}.{name}' for name in ('networks', 'operators'))
PROJECT = Path(__file__).parents[4]
OURS = ('dnnlib', 'torch_utils', 'training')
PERSISTENT = 'from torch_utils.persistence import persistent_class as persistent'  # of the program that opens the pickle
TITLE = '"""The networks of StyleGAN2 and i-StyleGAN in plain PyTorch, written independently. License: Apache-2.0."""\n\n'


@functools.cache
def source() -> str:
    """The text. The same modules give the same text."""
    text = _Text()
    for name in _parsed(ROOT).definitions:
        text.add(ROOT, name)
    imports = '\n'.join(['from __future__ import annotations', '', *sorted(text.imports)])
    return '\n\n\n'.join([TITLE + imports, *text.parts]) + '\n'


class _Text:
    """Statements of our modules, each after the statements that it uses."""

    def __init__(self) -> None:
        self.imports = {PERSISTENT}
        self.parts: list[str] = []
        self._added: set[ast.stmt] = set()

    def add(self, module: str, name: str) -> None:
        """Add the definition of `name` in a module, if it is in one of our modules."""
        file = _parsed(module)
        if name in file.definitions:
            self._add_definition(module, name, file)
        elif name in file.imports:
            self._add_import(name, *file.imports[name])

    def _add_definition(self, module: str, name: str, file: _File) -> None:
        node = file.definitions[name]
        if node in self._added:
            return
        self._added.add(node)
        for used in dict.fromkeys(_names(node)):
            if used == name and used in file.imports:  # a class of `networks`, made of ours of the same name
                self._add_import(used, *file.imports[used])
            elif used in _parsed(STAND_INS).definitions:
                self.add(STAND_INS, used)
            else:
                self.add(module, used)
        first = min([node.lineno, *(d.lineno for d in getattr(node, 'decorator_list', ()))])
        self.parts.append('\n'.join(file.lines[first - 1:node.end_lineno]))

    def _add_import(self, name: str, line: str, module: str, original: str) -> None:
        if name == 'persistent':
            return
        if module.split('.')[0] in OURS:
            assert name == original, f'{line}: names of our own cannot be changed'
            self.add(module, name)
        else:
            self.imports.add(line)


class _File(NamedTuple):
    """A module: its lines, its statements by the names that they define, its imports by name: (line, module, original name)."""

    lines: list[str]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[str, str, str]]


@functools.cache
def _parsed(module: str) -> _File:
    path = PROJECT / module.replace('.', '/')
    text = (path / '__init__.py' if path.is_dir() else path.with_suffix('.py')).read_text(encoding='utf-8')
    file = _File(text.splitlines(), {}, {})
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            origin = f'from {node.module} ' if isinstance(node, ast.ImportFrom) else ''
            for alias in node.names:
                line = f'{origin}import {alias.name}' + (f' as {alias.asname}' if alias.asname else '')
                file.imports[alias.asname or alias.name] = line, getattr(node, 'module', alias.name), alias.name
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            file.definitions[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                file.definitions.update((n.id, node) for n in ast.walk(target) if isinstance(n, ast.Name))
    return file


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a statement reads, without annotations, which are never evaluated."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    for field, value in ast.iter_fields(node):
        if field not in ('annotation', 'returns'):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _names(child)
