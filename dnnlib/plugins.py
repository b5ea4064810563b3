"""Code of the user's own, named on the command line: `package.module.Name`, or `folder/file.py:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dnnlib.errors import UserError


def full_path(path: str | Path) -> Path:
    """The absolute path, with ~ resolved."""
    return Path(path).expanduser().resolve()


def module_name(path: str | Path) -> str:
    """The name under which `load_module` imports a file or folder: it tells one path from another."""
    path = full_path(path)
    return f'plugin_{re.sub(r"[^0-9A-Za-z_]", "_", path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}'


def load_module(path: str | Path) -> ModuleType:
    """Import a .py file, or a folder with an __init__.py, wherever it lies; the same module if that was done before.

    The module can be imported under module_name(path) from then on, so that 'module_name.Class' names a class in it, and files
    in the folder can import each other relatively. Raises UserError if there is no such file or folder; what the code itself
    raises keeps its traceback.
    """
    path, name = full_path(path), module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    file = path / '__init__.py' if path.is_dir() else path
    if not file.is_file() or file.suffix != '.py':
        raise UserError(f'{path}: neither a .py file nor a folder with an __init__.py')
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(path)] if path.is_dir() else None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_object(name: str) -> Any:
    """What `package.module.Name` or `path/to/file.py:Name` names. Raises UserError if there is no such thing."""
    path, colon, attribute = name.rpartition(':')
    if colon:
        module = load_module(path)
    else:
        path, _, attribute = name.rpartition('.')
        try:
            module = importlib.import_module(path)
        except (ImportError, ValueError) as err:
            raise UserError(f'{name}: cannot be imported ({err}); write package.module.Name or path/to/file.py:Name') from err
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise UserError(f'{name}: {path} has no {attribute}') from None
