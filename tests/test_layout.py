"""Imports point one way, and there are no circles between rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {'dnnlib': set(), 'torch_utils': {'dnnlib'}, 'metrics': {'dnnlib', 'torch_utils'},
         'training': {'dnnlib', 'torch_utils', 'metrics'}}
FACES = ('dataset', 'augment', 'flow', 'snapshot', 'curves', 'report')  # may import any room


def imports(path):
    """The project's modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        found |= {name for name in names if name.split('.')[0] in BELOW}
    return found


@pytest.mark.parametrize('package', BELOW)
def test_packages_import_only_those_below_them(package):
    for path in (ROOT / package).rglob('*.py'):
        others = {name.split('.')[0] for name in imports(path)} - {package}
        assert others <= BELOW[package], f'{path.relative_to(ROOT)} imports {others - BELOW[package]}'


def room(parts):
    """The folder of training/ that a module lies in; a loose file is a room of its own, and so is a folder of commands."""
    return 'tool' if parts[1:3] == ['snapshots', 'tool'] else parts[1]


def test_rooms_of_training_form_no_circle():
    arrows = {}
    for path in (ROOT / 'training').rglob('*.py'):
        here = room(list(path.relative_to(ROOT).with_suffix('').parts))
        if here in ('__init__', *FACES):
            continue
        there = {room(name.split('.')) for name in imports(path) if name.startswith('training.')}
        arrows.setdefault(here, set()).update(there - {here, *FACES})
    done = set()
    while len(done) < len(arrows):
        free = {here for here in arrows if here not in done and not (arrows[here] & arrows.keys()) - done}
        rest = {here: sorted(arrows[here] - done) for here in arrows.keys() - done}
        assert free, f'a circle among {rest}'
        done |= free
