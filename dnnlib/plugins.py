"""The user's own code, named on the command line: `package.module.Name`, or `folder/file.py:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from dnnlib.errors import UserError


def full_path(path: str | Path) -> Path:
    """Return the absolute path, with ~ resolved."""
    return Path(path).expanduser().resolve()


def module_name(path: str | Path) -> str:
    """Name under which `load_module` imports a file or folder. Different paths have different names."""
    path = full_path(path)
    return f'plugin_{re.sub(r"[^0-9A-Za-z_]", "_", path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}'


def load_module(path: str | Path) -> ModuleType:
    """Import a .py file, or a folder with an __init__.py, from any place. Repeated calls return the same module.

    From then on the module can be imported as module_name(path), so 'module_name.Class' names a class in it. Files in the folder
    can import each other relatively. Raises UserError if the file or folder is missing, is not Python, or imports a package that
    is not installed. Any other exception from the code keeps its traceback.
    """
    path, name = full_path(path), module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    file = path / '__init__.py' if path.is_dir() else path
    if not file.is_file() or file.suffix != '.py':
        raise UserError(f'{path}: neither a .py file nor a folder with an __init__.py')
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(path)] if path.is_dir() else None)
    assert spec is not None and spec.loader is not None  # true for every .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as err:
        del sys.modules[name]
        if isinstance(err, SyntaxError):
            raise UserError(f'{err.filename or file}: line {err.lineno}: {err.msg}; correct it') from err
        if isinstance(err, ModuleNotFoundError):
            raise UserError(f'{file}: {err}; install that, or correct the name') from err
        raise
    return module


def load_object(name: str) -> Any:
    """Return the object named by `package.module.Name` or `path/to/file.py:Name`. Raises UserError if it does not exist."""
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
        raise UserError(f'{path} has no {attribute}') from None


def absolute(name: str) -> str:
    """Make the path in `path/to/file.py:Name` absolute, so that the name means the same in every process. A dotted name is
    unchanged."""
    path, colon, attribute = name.rpartition(':')
    return f'{Path(path).expanduser().resolve()}:{attribute}' if colon else name


def location(cls: type) -> str:
    """Name of a class for load_object: `package.module.Class`, or `path/to/file.py:Class` with an absolute path."""
    module = sys.modules.get(cls.__module__)
    if module is None or module.__file__ is None or not cls.__module__.startswith('plugin_'):
        return f'{cls.__module__}.{cls.__qualname__}'
    file = Path(module.__file__)
    return f'{file.parent if file.name == "__init__.py" else file}:{cls.__qualname__}'


def public_name(cls: type) -> str:
    """Name of a class in files: `package.module.Class`, or `file.Class` if load_module imported it from file.py."""
    path, colon, name = location(cls).rpartition(':')
    return f'{Path(path).stem}.{name}' if colon else name


def remake(name: str, state: dict[str, Any]) -> Any:
    """Make an instance of the named class with these attributes. Used by __reduce__, because pickle cannot import paths."""
    cls = load_object(name)
    value = cls.__new__(cls)
    value.__dict__.update(state)
    return value


def classes_in(module: ModuleType) -> list[type]:
    """Public classes that a module itself defines, in alphabetical order."""
    return [value for name, value in sorted(vars(module).items())
            if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith('_')]


def lacks(value: Any, protocol: type) -> list[str]:
    """List what `value` lacks to satisfy a typing.Protocol: names of attributes, methods and arguments (`mapping.latent(c)`).

    An attribute annotated with a Protocol is checked recursively. Types and results are not checked.
    """
    missing = []
    for name, hint in get_type_hints(protocol).items():
        if not hasattr(value, name):
            missing.append(name)
        elif getattr(hint, '_is_protocol', False):
            missing += [f'{name}.{part}' for part in lacks(getattr(value, name), hint)]
    for name, method in vars(protocol).items():
        if not inspect.isfunction(method) or (name.startswith('_') and name not in ('__len__', '__getitem__')):
            continue
        if not callable(getattr(value, name, None)):
            missing.append(f'{name}()')
            continue
        wanted = list(inspect.signature(method).parameters)[1:]
        taken = inspect.signature(getattr(value, name)).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            missing += [f'{name}({argument})' for argument in wanted if argument not in taken and not name.startswith('_')]
    return missing
