"""The interface of a method. No torch here: `--help` needs it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import click

from dnnlib.util import EasyDict, OptionError


class Method:
    """What one method adds to StyleGAN2: its options and what follows from them.

    A method is a folder, or a file, whose module has an instance as METHOD:

    name       what --method calls it
    title      heading of its options in --help
    order      where its options, terms and part of the run's name come among those of the other methods
    options    click options; each is None where it was not given
    published  values that --method=<name> sets for options that were not given
    implies    values that any of its own options sets for options that were not given
    defaults   values of its own options where nothing else sets them
    terms      its loss terms: {'G/name': 'module.Class'}, where the module lies in its folder
    extends    names of methods that it includes: snapshots of it are not called by those names
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

    path: str | None = None  # of a method of the user's own; the registry sets it
    package: str = ''        # the module that it was found in; likewise

    def complete(self, o: EasyDict, given: set[str]) -> None:
        """Fill in and check options. given: its own options that were given explicitly. Raises OptionError for values that are
        out of range, contradict each other, or would have no effect."""

    def is_active(self, o: EasyDict) -> bool:
        """Whether a run with these options uses the method."""
        return self.name in (o.method or ())

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        """Add to the configuration of a run (training.config), which has everything but what methods of higher order add.

        label_dim: of the dataset, 0 without labels. Raises OptionError for options that don't fit the dataset or networks.
        """

    def describe(self, o: EasyDict) -> str:
        """Its part of the run directory's name, such as '-clr5-0.5'; '' for none."""
        return ''

    # --- For use in methods ---

    def add_term(self, c: EasyDict, key: str, **kwargs: Any) -> None:
        """Add the loss term `key`, one of `terms`, to a configuration. kwargs: of its class."""
        if self.path is not None:
            kwargs = dict(class_name=f'{self.package}.{self.terms[key]}', **kwargs)
        c.loss_kwargs['terms'][key] = kwargs

    def own_names(self) -> list[str]:
        """The names of its options, as in `o`."""
        return [option.name for option in self.options]


def option(*names: str, help: str, **kwargs: Any) -> click.Option:
    """An option of a method: `option('--lambda-orth', help=..., type=float)`. A type of bool takes a value: 1 or 0."""
    metavars: dict[Any, str] = {float: 'FLOAT', int: 'INT', bool: 'BOOL'}
    metavar = metavars.get(kwargs.get('type'))
    return click.Option(list(names), help=help, **{'metavar': metavar, **kwargs})


def check_not_negative(o: EasyDict, *names: str) -> None:
    """Raises OptionError for options that are negative or not finite."""
    for name in names:
        if not 0 <= o[name] < math.inf:
            raise OptionError(f'--{name} must be non-negative')
