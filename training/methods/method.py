"""Interface of a method. Nothing here imports torch, because `--help` needs this module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import click

from dnnlib.util import EasyDict, OptionError


class Method:
    """One method: its options, and how they change StyleGAN2.

    A method is a folder or file whose module defines METHOD, an instance of this class:

        name       the word for --method
        title      heading of its options in --help
        order      sort key among methods, for options, terms and the run's name
        options    click options; each is None if it was not given
        published  values that --method=<name> sets for options that were not given
        implies    values that any of its own options sets for options that were not given
        defaults   values of its own options that nothing else sets
        terms      its loss terms: {'G/name': 'module.Class'}; the module is in the method's folder
        extends    names of methods that it includes; its snapshots do not list them
    """

    name: str
    title: str
    order = 100
    options: Sequence[click.Option] = ()
    published: Mapping[str, Any] = {}
    implies: Mapping[str, Any] = {}
    defaults: Mapping[str, Any] = {}
    terms: Mapping[str, str] = {}
    extends: Sequence[str] = ()

    path: str | None = None  # set by the registry for a user's own method
    package: str = ''        # module of the method; set by the registry

    def complete(self, o: EasyDict, given: set[str]) -> None:
        """Fill in and check options. given: the method's own options that were given explicitly. Raises OptionError for values
        that are out of range, contradict each other, or would have no effect."""

    def is_active(self, o: EasyDict) -> bool:
        """Whether a run with these options uses the method."""
        return self.name in (o.method or ())

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        """Add to the configuration of a run (training.config). Only additions of methods with a higher `order` are still
        missing.

        label_dim: of the dataset, 0 without labels. Raises OptionError for options that don't fit the dataset or the networks.
        """

    def describe(self, o: EasyDict) -> str:
        """Return the method's part of the run directory's name, such as '-clr5-0.5', or ''."""
        return ''

    # --- Helpers for methods ---

    def add_term(self, c: EasyDict, key: str, **kwargs: Any) -> None:
        """Add the loss term `key`, one of `terms`, to a configuration. kwargs: arguments of the term's class."""
        if self.path is not None:
            kwargs = dict(class_name=f'{self.package}.{self.terms[key]}', **kwargs)
        c.loss_kwargs['terms'][key] = kwargs

    def own_names(self) -> list[str]:
        """Names of the method's options, as in `o`."""
        return [option.name for option in self.options]


def option(*names: str, help: str, **kwargs: Any) -> click.Option:
    """Declare an option of a method: `option('--lambda-orth', help=..., type=float)`. With type=bool it takes a value, 1 or 0."""
    metavars: dict[Any, str] = {float: 'FLOAT', int: 'INT', bool: 'BOOL'}
    metavar = metavars.get(kwargs.get('type'))
    return click.Option(list(names), help=help, **{'metavar': metavar, **kwargs})


def check_not_negative(o: EasyDict, *names: str) -> None:
    """Raise OptionError for options that are negative or not finite."""
    for name in names:
        if not 0 <= o[name] < math.inf:
            raise OptionError(f'--{name} must be non-negative')
