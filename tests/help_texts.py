"""The --help texts of all commands, as kept in docs/: `python tests/help_texts.py` writes them anew."""

from __future__ import annotations

import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PROGRAMS = ('train', 'generate', 'dataset_tool', 'calc_metrics')
sys.path.insert(0, str(ROOT))


def help_text(program: str) -> str:
    """What `python <program>.py --help` prints on a wide terminal, and the same of each of its subcommands."""
    command = __import__(program).main
    pages = [(f'{program}.py', command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        pages += [(f'{program}.py {name}', command.get_command(context, name)) for name in command.list_commands(context)]
    return '\n\n'.join(f'$ python {title} --help\n{_page(title, page)}' for title, page in pages) + '\n'


def _page(title: str, command: click.Command) -> str:
    with click.Context(command, info_name=title, terminal_width=118) as context:
        return '\n'.join(line.rstrip() for line in command.get_help(context).splitlines())


def path(program: str) -> Path:
    """Where the text of a program is kept."""
    return ROOT / 'docs' / f'{program.replace("_", "-")}-help.txt'


if __name__ == '__main__':
    for name in PROGRAMS:
        path(name).write_text(help_text(name), encoding='utf-8')
