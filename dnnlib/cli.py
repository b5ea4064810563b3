"""Shared parts of the command lines: option types, both spellings of every option, and one-line errors."""

from __future__ import annotations

import errno
import importlib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.shell_completion import CompletionItem

from dnnlib.errors import OptionError, UserError

DASHES = ('\u2013', '\u2014', '\u2212', '-\u2013', '-\u2014')  # dashes that word processors and web pages substitute for --
__version__ = '0.1.0'  # also in pyproject.toml and CITATION.cff
COMPLETE_VAR = '_STYLEGAN_COMPLETE'  # environment variable with which a shell requests completions (dnnlib.completion)

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # takes no argument in older versions of click
F = TypeVar('F', bound=Callable[..., Any])

MOST_NUMBERS = 10_000_000  # maximum length of one range: a longer one is a typing error and would fill the memory


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f'stylegan-research {__version__}')
        ctx.exit()


VERSION = click.Option(['--version'], is_flag=True, expose_value=False, is_eager=True, callback=_print_version,
                       help='Show the version and exit.')


class Command(click.Command):
    """A command that declares options as `--some-option` and also accepts `--some_option`.

    sections: headings for `--help`, each with the name of its first option: {'Dataset': 'data', ...}.
    """

    def __init__(self, *args: Any, sections: Mapping[str, str] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sections = sections or {}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *params, help_option = super().get_params(ctx)
        return [*params, VERSION, help_option]

    def get_sections(self, ctx: click.Context) -> Mapping[str, str]:
        """Headings for this call. Subclasses may add some."""
        return self.sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pages: dict[str, list[tuple[str, str]]] = {}
        sections, heading = {first: heading for heading, first in self.get_sections(ctx).items()}, 'Options'
        for param in self.get_params(ctx):
            heading = sections.get(param.name, heading)
            record = param.get_help_record(ctx)
            if record is not None:
                pages.setdefault(heading, []).append(record)
        for heading, records in pages.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for arg in args:
            if arg.startswith(DASHES):
                raise OptionError(f'{arg}: begins with a dash that is no hyphen; type --{arg.lstrip("-" + "".join(DASHES))}')
        return super().parse_args(ctx, [_hyphenated(arg) for arg in args])


class Group(click.Group):
    """Subcommands that are imported when they are called. If the command line names none, the default one runs.

    package: the module <package>.<name> holds the subcommand <name> as `command`.
    summaries: name -> one line for `--help`, available without an import. default: name of the default subcommand.
    """

    def __init__(self, *args: Any, package: str, summaries: Mapping[str, str], default: str, **kwargs: Any):
        kwargs.update(options_metavar='', subcommand_metavar=f'[COMMAND, or {default}] [OPTIONS]')
        super().__init__(*args, **kwargs)
        self.package, self.summaries, self.default = package, summaries, default

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the subcommand. Raises OptionError for an unknown name."""
        if cmd_name not in self.summaries:
            raise OptionError(f'there is no command {cmd_name!r}; choose one of {", ".join(self.summaries)}')
        return importlib.import_module(f'{self.package}.{cmd_name}').command

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *params, help_option = super().get_params(ctx)
        return [*params, VERSION, help_option]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names_command = args and (not args[0].startswith('-') or args[0] in (*ctx.help_option_names, *VERSION.opts))
        if not names_command and not (ctx.resilient_parsing and not args):  # an empty word completes to names, too
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of subcommands, without importing them, or the options of the default subcommand."""
        if not incomplete.startswith('-'):
            return [CompletionItem(name, help=text) for name, text in self.summaries.items() if name.startswith(incomplete)]
        command = self.get_command(ctx, self.default)
        with command.make_context(self.default, [], parent=ctx, resilient_parsing=True) as inner:
            return command.shell_complete(inner, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section('Commands'):
            formatter.write_dl(list(self.summaries.items()))


def _hyphenated(arg: str) -> str:
    if not arg.startswith('--'):
        return arg
    name, equals, value = arg.partition('=')
    return name.replace('_', '-') + equals + value


def values_in(args: Sequence[str], name: str) -> list[str]:
    """Return the values of `--name` on a command line that is not parsed yet. Both spellings of the name count."""
    args, flag, values = [_hyphenated(arg) for arg in args], f'--{name}', []
    for arg, following in zip_longest(args, args[1:]):
        if arg.startswith(f'{flag}='):
            values.append(arg.partition('=')[2])
        elif arg == flag and following is not None:
            values.append(following)
    return values


class NumRange(ParamType):
    """Seeds or indices: `0-7`, `1,5,9`, or a mixture (`1,5-9`). Gives a list of ints."""

    name = 'range'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        numbers: list[int] = []
        for part in str(value).split(','):
            match = re.fullmatch(r'\s*(\d+)-(\d+)\s*', part)
            if match:
                first, last = int(match[1]), int(match[2])
                if last < first:
                    self.fail(f'{part.strip()!r} runs backwards; write {last}-{first}', param, ctx)
                if last - first >= MOST_NUMBERS:
                    self.fail(f'{part.strip()!r} is more than {MOST_NUMBERS} numbers', param, ctx)
                numbers += range(first, last + 1)
            elif re.fullmatch(r'\s*-?\d+\s*', part):
                numbers.append(int(part))
            else:
                self.fail(f'{value!r} is not a list of numbers such as 0-7 or 1,5,9', param, ctx)
        return numbers


class ChoiceList(ParamType):
    """One or more of a set of words, separated by commas: `cg-gan,clr-gan`. Gives a list without repetitions."""

    name = 'list'

    def __init__(self, choices: list[str]):
        self.choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        words = [word.strip() for word in str(value).split(',')]
        for word in words:
            if word not in self.choices:
                self.fail(f'{word!r} is not one of {", ".join(self.choices)}', param, ctx)
        return list(dict.fromkeys(words))


class Assignments(ParamType):
    """Numbers by name: `lr=0.0005,gamma=0.1`. Gives a dict of finite, non-negative floats."""

    name = 'assignments'

    def __init__(self, names: list[str]):
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        numbers = {}
        for part in str(value).split(','):
            name, _, number = (text.strip() for text in part.partition('='))
            if name not in self.names:
                self.fail(f'{name!r} is not one of {", ".join(self.names)}', param, ctx)
            try:
                numbers[name] = float(number)
            except ValueError:
                self.fail(f'{part.strip()!r} is not {name}=NUMBER', param, ctx)
            if not 0 <= numbers[name] < math.inf:
                self.fail(f'{part.strip()!r}: {name} must be non-negative', param, ctx)
        return numbers


class FiniteRange(click.FloatRange):
    """A range that rejects NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f'{value} is not a finite number', param, ctx)
        return number


class PathText(ParamType):
    """A path or URL as text. Resolves `~`, which shells leave unresolved in `--data=~/faces.zip`."""

    name = 'path'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail('it is empty; give a path, or leave the option out', param, ctx)  # `--outdir=$OUT` with $OUT unset
        return os.path.expanduser(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type='file')]


PATH = PathText()


def bool_option(*names: str, default: bool | None = False, help: str = '', **kwargs: Any) -> Callable[[F], F]:
    """Make an option that takes a value: 1/0, true/false, yes/no, on/off (any case). Users write `--cond=1`."""
    return click.option(*names, type=bool, default=default, metavar='BOOL', help=help, **kwargs)


def run(command: click.Command) -> None:
    """Run a command as a program. A UserError prints one line and exits with the error's status (docs/command-line.md)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # file names may hold letters that the terminal lacks
    try:
        command(complete_var=COMPLETE_VAR)
    except UserError as err:
        _fail(str(err), err.exit_status)
    except OSError as err:
        if err.errno != errno.ENAMETOOLONG:
            raise
        _fail(f'{err.filename}: {str(err.strerror).lower()}; choose a shorter one', UserError.exit_status)


def _fail(text: str, status: int) -> NoReturn:
    print('Error: ' + ' '.join(text.split()), file=sys.stderr)
    sys.exit(status)
