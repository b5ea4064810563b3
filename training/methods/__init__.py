"""The registry of methods. Every subfolder is a method. Nothing here imports torch, so `--help` is quick; terms are imported
when used.

docs/adding-a-method.md explains how to add a method, here or elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from dnnlib import cli, plugins
from dnnlib.util import EasyDict, OptionError, UserError
from training.methods.method import Method, check_not_negative, option

if TYPE_CHECKING:
    from training.losses import Term

__all__ = ['Method', 'MethodNames', 'built_in', 'check_not_negative', 'complete_options', 'load_methods', 'make_terms', 'option',
           'term_class']


@cache
def built_in() -> tuple[Method, ...]:
    """Methods in this folder, sorted by their `order`."""
    found = [_method_of(importlib.import_module(f'{__name__}.{module.name}'))
             for module in pkgutil.iter_modules(__path__) if module.ispkg]
    return tuple(sorted(found, key=lambda method: (method.order, method.name)))


def load_methods(paths: Iterable[str]) -> tuple[Method, ...]:
    """Return the built-in methods and the user's own methods from folders or .py files. Raises UserError if one cannot be
    loaded, or if its name or an option is already taken."""
    methods = list(built_in())
    for path in dict.fromkeys(paths):
        method = _method_of(plugins.load_module(path))
        method.path = path
        names = {name for m in methods for name in m.own_names()}
        if method.name in [m.name for m in methods]:
            raise UserError(f'--method={path}: there is a method called {method.name} already; give it another name')
        if taken := names.intersection(method.own_names()):
            raise UserError(f'--method={path}: --{min(taken)} is an option of another method; give it another name')
        methods.append(method)
    return tuple(methods)


def _method_of(module: Any) -> Method:
    method = getattr(module, 'METHOD', None)
    if not isinstance(method, Method):
        raise UserError(f'--method={module.__file__}: it has no METHOD = ..., an instance of training.methods.Method')
    method.package = module.__name__
    return method


def is_path(word: str) -> bool:
    """Whether a word of --method is a file or folder."""
    return '/' in word or word.endswith('.py') or word.startswith(('.', '~'))


class MethodNames(cli.ParamType):
    """Method names or paths, separated by commas: `cg-gan,clr-gan,./my_method`. Gives a list without repetitions. Names are
    checked."""

    name = 'list'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        words, known = [word.strip() for word in str(value).split(',')], [method.name for method in built_in()]
        for word in words:
            if word not in known and not is_path(word):
                self.fail(f'{word!r} is not one of {", ".join(known)}, nor a path such as ./my_method', param, ctx)
        return list(dict.fromkeys(words))


def paths_in(values: Iterable[str]) -> list[str]:
    """Paths among the values of --method."""
    return [word.strip() for value in values for word in value.split(',') if is_path(word.strip())]


# --- From options to configuration ---


def complete_options(options: EasyDict, methods: Sequence[Method] | None = None) -> EasyDict:
    """Fill in options that were not given with what methods set or imply, and check the result.

    In the result, `cond` is True or False, and `methods` holds the methods. Raises OptionError for options that contradict each
    other or would have no effect.
    """
    o = EasyDict(options)
    o.methods = built_in() if methods is None else tuple(methods)
    names = {method.path or method.name: method.name for method in o.methods}
    if o.method is not None:
        o.method = [names[word] for word in o.method]
    given = {method.name: {name for name in method.own_names() if o[name] is not None} for method in o.methods}
    for name, value in _set_by_name(o).items():
        o[name] = value if o[name] is None else o[name]
    for method in o.methods:
        for name, value in (method.implies if given[method.name] else {}).items():
            o[name] = value if o[name] is None else o[name]
    for method in o.methods:
        method.complete(o, given[method.name])
    o.cond = bool(o.cond)
    return o


def _set_by_name(o: EasyDict) -> dict[str, Any]:
    """Options that the methods of --method set together. Raises OptionError if they contradict each other."""
    names: list[str] = o.method or []
    options: dict[str, Any] = {}
    if 'stylegan2' in names and len(names) > 1:
        raise OptionError(f'--method={",".join(names)}: stylegan2 means none of the others; leave it out')
    for method in o.methods:
        for name, value in (method.published if method.name in names else {}).items():
            if options.setdefault(name, value) != value and o[name] is None:
                raise OptionError(f'--method={",".join(names)}: they set --{name} to different values; give it explicitly '
                                  'or leave one of them out')
    return options


def configure(o: EasyDict, c: EasyDict, label_dim: int) -> None:
    """Let every method add to the configuration c. Raises OptionError."""
    for method in o.methods:
        method.configure(o, c, label_dim)
    active = [method for method in o.methods if method.is_active(o)]
    included = {name for method in active for name in method.extends}
    c.methods = [method.name for method in active if method.name not in included]
    c.plugins = [str(plugins.full_path(method.path)) for method in active if method.path is not None]


def describe(o: EasyDict) -> str:
    """Part of the run directory's name that describes the methods."""
    return ''.join(method.describe(o) for method in o.methods)


# --- From configuration to terms; only this part imports torch ---


def term_class(key: str) -> type:
    """Class of a built-in term, given its key such as 'G/path_length'. Raises KeyError for an unknown key."""
    name = {key: f'{method.package}.{cls}' for method in built_in() for key, cls in method.terms.items()}[key]
    module, _, cls = name.rpartition('.')
    return getattr(importlib.import_module(module), cls)


def make_terms(config: Mapping[str, Mapping[str, Any]]) -> list[Term]:
    """Make terms (training.losses.Term) from {'G/path_length': {'weight': 2.0, 'interval': 4}, ...}. Skips terms of weight 0.

    The key determines the class of a term. The item `class_name` overrides it; its module must be importable (dnnlib.plugins).
    """
    terms = []
    for key, kwargs in config.items():
        if kwargs.get('weight', 1.0) == 0:
            continue
        kwargs = dict(kwargs)
        module, _, name = kwargs.pop('class_name', '').rpartition('.')
        terms.append((getattr(importlib.import_module(module), name) if name else term_class(key))(**kwargs))
    return terms
