"""Small helpers without dependencies beyond the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnnlib.download import open_url  # public as dnnlib.util.open_url
from dnnlib.errors import OptionError, UserError
from dnnlib.plugins import load_object

__all__ = ['EasyDict', 'OptionError', 'UserError', 'construct_class_by_name', 'format_time', 'open_url']


class EasyDict(dict[str, Any]):
    """A dict whose items can also be read, set and deleted as attributes."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)

    if TYPE_CHECKING:  # mypy accepts only a function as a sign that any attribute can be set
        def __setattr__(self, key: str, item: Any, /) -> None: ...
    else:
        __setattr__ = dict.__setitem__

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(name)
        del self[name]


def construct_class_by_name(*args: Any, class_name: str, **kwargs: Any) -> Any:
    """Make an instance of `package.module.Class` or `path/to/file.py:Class`. The name must come from the user or from our code,
    never from a file."""
    return load_object(class_name)(*args, **kwargs)


def format_time(seconds: float) -> str:
    """Format a duration as `42s`, `5m 07s`, `3h 05m 09s` or `2d 03h 04m`, after rounding to whole seconds."""
    minutes, s = divmod(round(float(seconds)), 60)
    hours, m = divmod(minutes, 60)
    d, h = divmod(hours, 24)
    if d:
        return f'{d}d {h:02d}h {m:02d}m'
    if h:
        return f'{h}h {m:02d}m {s:02d}s'
    return f'{m}m {s:02d}s' if m else f'{s}s'
