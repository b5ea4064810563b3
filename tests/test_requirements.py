"""Every package that the commands import is in requirements.txt, or in requirements-extras.txt if only some options need it."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
OURS = {'dnnlib', 'torch_utils', 'training', 'metrics', 'train', 'generate', 'dataset_tool', 'calc_metrics'}
COME_WITH_OTHERS = {'packaging', 'fastapi', 'starlette', 'uvicorn'}  # matplotlib needs the first, nicegui the rest
IF_INSTALLED = {'pyspng'}  # decodes PNG faster


def named_in(name):
    lines = [line.partition('#')[0].strip() for line in (ROOT / name).read_text(encoding='utf-8').splitlines()]
    return {Requirement(line).name.lower().replace('_', '-') for line in lines if line}


def imported():
    """Top-level names of other projects -> a file that imports them."""
    found = {}
    for path in [*ROOT.glob('*.py'), *(path for folder in OURS for path in ROOT.glob(f'{folder}/**/*.py'))]:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found |= {name.partition('.')[0]: path.relative_to(ROOT) for name in names}
    return {name: path for name, path in found.items() if name not in OURS | set(sys.stdlib_module_names)}


def test_what_commands_import_is_required():
    projects, allowed = packages_distributions(), named_in('requirements.txt') | named_in('requirements-extras.txt')
    found = imported()
    assert {'torch', 'numpy', 'click', 'nicegui'} <= found.keys()
    for name, path in found.items():
        known = {project.lower().replace('_', '-') for project in projects.get(name, [name])}
        assert known & allowed or name in COME_WITH_OTHERS | IF_INSTALLED, f'{path} imports {name}, which no requirement has'


def test_no_package_is_required_twice():
    names = [named_in(f'requirements{kind}.txt') for kind in ('', '-extras', '-dev')]
    assert len(set.union(*names)) == sum(map(len, names))
