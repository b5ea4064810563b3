"""Options of train.py in files, for --config, --like and --save-config. No torch here.

A file is YAML or JSON, {option: value}, or the training_options.json of a run. Its item `options` holds the given options. Every
value has the same meaning as on the command line.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml
from click.core import ParameterSource

from dnnlib import cli
from dnnlib.files import atomic_open
from dnnlib.util import OptionError

RUN_FILE = 'training_options.json'
OF_THE_CALL = ('config', 'like', 'save-config', 'dry-run')  # they have no meaning in a file
OF_RESUMING = ('resume', 'resume-kimg', 'transfer')
SUFFIXES = ('.yaml', '.yml', '.json')
LARGEST = 1 << 20  # bytes
ORIGINS = f'{__name__}.origins'  # in click's Context.meta: name of a parameter -> the file that its value is from


class Item(NamedTuple):
    """One option in a file. key: as the file spells it."""

    value: Any
    file: str
    key: str


# --- Reading ---


def named_in(args: Sequence[str]) -> dict[str, Item]:
    """The options in the files of --like and --config on a command line that is not parsed yet; --config wins. Names are like
    `batch-gpu`. Raises OptionError for files that cannot be read."""
    found: dict[str, Item] = {}
    for run in cli.values_in(args, 'like')[-1:]:
        found |= _read(find_run(run, cli.values_in(args, 'outdir')[-1:]))
    for path in cli.values_in(args, 'config')[-1:]:
        found |= _read(Path(path).expanduser())
    return found


def find_run(run: str, outdir: Sequence[str]) -> Path:
    """The training_options.json of a run directory, or of a run with this name in `outdir`. Raises OptionError."""
    places = [Path(place).expanduser() for place in (run, *(f'{parent}/{run}' for parent in outdir))]
    found = next((place / RUN_FILE for place in places if (place / RUN_FILE).is_file()), None)
    if found is None:
        raise OptionError(f'--like={run}: no {RUN_FILE} there; name a run directory, or a run in --outdir')
    return found


def as_defaults(ctx: click.Context, params: Sequence[click.Parameter], items: Mapping[str, Item]) -> dict[str, Any]:
    """Values for Context.default_map, converted as those of the command line are; Context.meta remembers their files.

    params: all options that there are. Raises OptionError, with the file and the key, for an unknown option or a wrong value.
    """
    known = {param.name.replace('_', '-'): param for param in params if param.expose_value}  # --help does not
    known = {name: param for name, param in known.items() if name not in OF_THE_CALL}
    values = {}
    for name, item in items.items():
        param = known.get(name)
        if param is None:
            near = difflib.get_close_matches(name, known, n=1)
            raise OptionError(f'{item.file}: {item.key}: '
                              + ('only for the command line' if name in OF_THE_CALL else 'no option of train.py')
                              + (f'; did you mean {near[0]}?' if near else '; leave it out'))
        try:
            values[param.name] = param.type_cast_value(ctx, _text(param, item.value))
        except (click.BadParameter, ValueError) as err:
            raise OptionError(f'{item.file}: {item.key}: {" ".join(str(err).split()).rstrip(".")}') from err
        ctx.meta.setdefault(ORIGINS, {})[param.name] = item.file
    return values


def _text(param: click.Parameter, value: Any) -> str:
    """A value of a file as text of the command line. Raises ValueError."""
    if isinstance(value, list) and param.metavar == 'LIST' and all(isinstance(word, str) for word in value):
        return ','.join(value)
    if isinstance(value, dict) and isinstance(param.type, cli.Assignments) and not any(
            isinstance(number, list | dict) for number in value.values()):
        return ','.join(f'{key}={number}' for key, number in value.items())
    if isinstance(value, list | dict):
        raise ValueError(f'a {"list" if isinstance(value, list) else "mapping"}, where one value belongs')
    if value is None:
        raise ValueError('null is no value; leave it out')
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(path: Path) -> dict[str, Item]:
    content = _content(path)
    if 'training_set_kwargs' in content:
        content = content.get('options')
        if not isinstance(content, dict):
            raise OptionError(f'{path}: of a run that did not record its options (there is no item `options`); '
                              'give them on the command line, or in a YAML file')
    items: dict[str, Item] = {}
    for key, value in content.items():
        name = key.replace('_', '-')
        if name in items:
            raise OptionError(f'{path}: {key}: given twice; leave one out')
        items[name] = Item(value, str(path), key)
    return items


def _content(path: Path) -> dict[str, Any]:
    try:
        with open(path, 'rb') as f:
            data = f.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError('too large for a file of options')
        content = json.loads(data, object_pairs_hook=_distinct) if path.suffix == '.json' else yaml.load(data, _Loader)
    except IsADirectoryError as err:
        raise OptionError(f'{path}: a directory; give a file to --config, or a run directory to --like') from err
    except OSError as err:
        raise OptionError(f'{path}: cannot be read ({(err.strerror or str(err)).lower()}); name a YAML or JSON file') from err
    except yaml.MarkedYAMLError as err:
        line = f' in line {err.problem_mark.line + 1}' if err.problem_mark else ''
        raise OptionError(f'{path}: {err.problem}{line}') from err
    except (TypeError, ValueError, yaml.YAMLError, RecursionError) as err:
        raise OptionError(f'{path}: not usable as {"JSON" if path.suffix == ".json" else "YAML"} '
                          f'({" ".join(str(err).split())[:160]})') from err
    content = {} if content in (None, '') else content
    if not (isinstance(content, dict) and all(isinstance(key, str) for key in content)):
        raise OptionError(f'{path}: not a mapping from options to values, such as `kimg: 1000`')
    return content


class _Loader(yaml.BaseLoader):
    """Reads lists, mappings and texts, and no tags. It cannot create other objects.

    The options decide what is a number: `1e-3` is one, although yaml.safe_load reads text, and `desc: on` is a word.
    """

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        pairs = [(self.construct_object(key, deep=True), self.construct_object(value, deep=True)) for key, value in node.value]
        return _distinct(pairs)


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a repeated key. A dict would keep the last value."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f'{key}: given twice; leave one out')
        content[key] = value
    return content


@contextlib.contextmanager
def naming_files(ctx: click.Context) -> Iterator[None]:
    """Context that adds the names of files to an OptionError about options from files."""
    try:
        yield
    except OptionError as err:
        origins = {name: file for name, file in ctx.meta.get(ORIGINS, {}).items()
                   if ctx.get_parameter_source(name) == ParameterSource.DEFAULT_MAP}
        names = dict.fromkeys(name.replace('-', '_') for name in re.findall(r'--([a-z][\w-]*)', str(err)))
        places = [f'{name.replace("_", "-")} in {origins[name]}' for name in names if name in origins]
        if not places:
            raise
        raise OptionError(f'{err} ({", ".join(places)})') from err


# --- Writing ---


def given(ctx: click.Context) -> dict[str, Any]:
    """All given options with their values, in the order of --help. Names are like `batch-gpu`."""
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
    names = {param.name: param.name.replace('_', '-') for param in ctx.command.get_params(ctx)}
    return {option: ctx.params[name] for name, option in names.items()
            if option not in OF_THE_CALL and ctx.get_parameter_source(name) in sources}


def of_run(options: Mapping[str, Any], goes_on_in: str | None) -> dict[str, Any]:
    """The options that a run records. They start the same run again.

    goes_on_in: the run directory in which it resumes. Its original --resume is recorded then, instead of the directory.
    """
    if goes_on_in is None and options.get('resume') != 'latest':
        return dict(options)
    kept = {name: value for name, value in options.items() if name not in OF_RESUMING}
    if goes_on_in is not None:
        with contextlib.suppress(OptionError):  # of a run without a record
            before = _read(Path(goes_on_in, RUN_FILE))
            kept |= {name: before[name].value for name in OF_RESUMING if name in before}
    return kept


def check_name(path: str) -> None:
    """Raise OptionError if the file of --save-config has an unknown format."""
    if not path.endswith(SUFFIXES):
        raise OptionError(f'--save-config={path}: the name must end in {", ".join(SUFFIXES)}')


def save(path: str, options: Mapping[str, Any]) -> None:
    """Write options to a file, atomically, as --config takes them. Raises OptionError."""
    try:
        with atomic_open(path, 'w') as f:
            if path.endswith('.json'):
                f.write(json.dumps(options, indent=2) + '\n')
            else:
                f.write('# Options of train.py --config\n')
                plain = not re.search('[\x85\u2028\u2029]', json.dumps(options, ensure_ascii=False))  # line feeds in YAML
                f.write(yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=plain, width=10000) if options else '')
    except OSError as err:
        raise OptionError(f'--save-config={path}: cannot be written ({(err.strerror or str(err)).lower()}); '
                          'name another file') from err
