"""The commands of the documentation: found in its pages, and parsed or run in this process."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import click
import pytest

from dnnlib.util import EasyDict
from training import training_loop

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('models/**/*.md'), ROOT / 'datasets' / 'README.md'])
OMITTED = ('...', '…')  # stand for what a page leaves out


class Command(NamedTuple):
    """A command line of a page. program: `train.py` or `-m training.curves`; args: its arguments.

    abridged: the page leaves out some of the arguments.
    """

    page: str
    line: str
    program: str
    args: list[str]
    abridged: bool


def commands(page: Path) -> list[Command]:
    """The lines of a Markdown page that start Python or torchrun, in code blocks or as `inline code`."""
    text = re.sub(r'\\\n\s*', '', page.read_text(encoding='utf-8'))
    start = r'(?:timeout \S+ )?(?:python|torchrun) '
    found = [(line, False) for line in re.findall(rf'^\s*({start}.*)$', text, re.M)]
    found += [(line, True) for line in re.findall(rf'`({start}[^`]+)`', text)]
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    return [command for line, inline in found if (command := parse_line(line, name, inline))]


def parse_line(line: str, page: str = '', inline: bool = False) -> Command | None:
    """None for a line that starts no program, such as torchrun by itself."""
    line = re.sub(r'\s+(# |> ).*', '', ' '.join(line.split()))  # a comment, or where the output goes
    words = shlex.split(line)
    if words[0] == 'timeout':
        words = words[2:]
    if words[0] == 'torchrun':
        words = ['python', *words[next((i for i, word in enumerate(words) if word.endswith('.py')), len(words)):]]
    if len(words) > 2 and words[1] in ('-m', '-c'):
        words[1:3] = [' '.join(words[1:3])]
    if len(words) < 2:
        return None
    args = [word for word in words[2:] if word not in OMITTED]
    return Command(page, line, words[1], args, inline or len(args) < len(words) - 2)


def run(program: str, args: Sequence[str]) -> tuple[int, str]:
    """(exit status, all output) of a program of this project, run in this process."""
    out = io.StringIO()
    with (mock.patch.object(sys, 'argv', [program, *args]), mock.patch.object(sys, 'path', list(sys.path)),
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings()):
        warnings.filterwarnings('ignore', message='.*found in sys.modules', category=RuntimeWarning)
        try:
            if program.startswith('-c '):
                exec(program[3:], {})
            elif program.startswith('-m '):
                runpy.run_module(program[3:], run_name='__main__')
            else:
                sys.path.insert(0, str((ROOT / program).parent))  # as Python does
                runpy.run_path(str(ROOT / program), run_name='__main__')
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None), out.getvalue()
    return 0, out.getvalue()


class Understood(BaseException):
    """Raised where the work would begin. context: of click; None in programs that use argparse."""

    def __init__(self, context: click.Context | None):
        super().__init__()
        self.context = context


def parse(program: str, args: Sequence[str], abridged: bool = False) -> tuple[int, str, click.Context | None]:
    """Like `run`, but stops before the work: (exit status, all output, click's context with the values).

    abridged: arguments that the program requires may be missing.
    """
    parse_args = argparse.ArgumentParser.parse_args

    def begin(command: click.Command, context: click.Context) -> None:
        if not isinstance(command, click.Group):  # whose commands are still to be parsed
            raise Understood(context)

    def parse_args_and_begin(parser: argparse.ArgumentParser, *given: Any, **kwargs: Any) -> None:
        parse_args(parser, *given, **kwargs)
        raise Understood(None)

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(click.Command, 'invoke', begin))
        patches.enter_context(mock.patch.object(argparse.ArgumentParser, 'parse_args', parse_args_and_begin))
        if abridged:
            patches.enter_context(mock.patch.object(click.Parameter, 'value_is_missing', lambda *_: False))
        try:
            return *run(program, args), None
        except Understood as stopped:
            return 0, '', stopped.context


def stop_runs_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let train.py in this process save and exit after a few steps, as by Ctrl-C."""
    train = training_loop.training_loop

    def train_briefly(config: EasyDict, stop_requested: Any, read_ahead: Any) -> bool:
        asked: list[int] = []
        return train(config, lambda: asked.append(1) or len(asked) >= steps, read_ahead)

    monkeypatch.setattr(training_loop, 'training_loop', train_briefly)
