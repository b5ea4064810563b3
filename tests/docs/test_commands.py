"""The commands of the pages are understood: programs, options, and values. test_commands_run.py runs them."""

import json
import re

import pytest
from helpers.documented import PAGES, ROOT, commands, parse, parse_line
from helpers.documented_place import write_text, written_in_pages

from dnnlib.util import EasyDict, UserError
from metrics.registry import parse_metrics
from training import methods, option_files
from training.config import DatasetInfo, build_config

NOT_PARSED = {
    '-c': 'a line of Python itself',
    '-m venv': 'a part of Python',
    '-m pytest': 'the tests themselves',
    'tests/help_texts.py': 'takes no options, and writes into docs/',
    'tests/gpu/tables.py': 'takes no options, and writes into docs/',
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with what the pages let their reader write: a method, networks, options in a file, a run."""
    monkeypatch.chdir(tmp_path)
    for name, text in {**written_in_pages(), 'small.yaml': 'outdir: runs\ndata: datasets/glyphs.zip',
                       'runs/00003-faces-mirror-auto1/training_options.json': json.dumps(dict(
                           training_set_kwargs={}, options=dict(outdir='runs', data='datasets/faces.zip')))}.items():
        write_text(name, text)


def check_values(program, context):
    """Values and combinations that the command line by itself does not check. Raises UserError."""
    o = EasyDict(context.params)
    if program == 'train.py':
        o = methods.complete_options(EasyDict(o, gpus=o.gpus or 1, given=option_files.given(context)), context.obj)
        build_config(o, DatasetInfo(name='data', resolution=32, label_dim=3, size=100000))
    if program == 'calc_metrics.py':
        parse_metrics(o.metrics, o.detector, o.resize, o.num)


def what_is_wrong(command):
    """A line, or None."""
    if any(command.program == name or command.program.startswith(f'{name} ') for name in NOT_PARSED):
        return None
    if not command.program.startswith('-m ') and not (ROOT / command.program).is_file():
        return f'{command.line}: there is no {command.program}'
    status, out, context = parse(command.program, command.args, command.abridged)
    if status:
        return f'{command.line}: {out.strip().splitlines()[-1]}'
    try:
        check_values(command.program, context) if context else None
    except UserError as err:
        return f'{command.line}: {err}'
    return None


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_understood(page, place):
    assert [wrong for command in commands(page) if (wrong := what_is_wrong(command))] == []


def test_commands_are_found():
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 150 and {command.program for command in found} > {
        'train.py', 'generate.py', 'calc_metrics.py', 'dataset_tool.py', '-m training.snapshot', '-m training.curves'}


@pytest.mark.parametrize('line, message', [
    ('python train.py --outdir=runs --data=a.zip --gama=1', "No such option '--gama'"),
    ('python train.py ... --gamma=high', "'high' is not a valid float"),
    ('python train.py ... --gamma=-1', '--gamma must be non-negative'),
    ('torchrun --nnodes=2 train.py ... --method=cggan', "'cggan' is not one of stylegan2, i-stylegan, cg-gan"),
    ('python generate.py --outdir=out', "Missing option '--network'"),
    ('python generate.py draw --network=a.pkl', "there is no command 'draw'"),
    ('python calc_metrics.py --metrics=fid50x --network=a.pkl  # a comment', "not 'fid50x'"),
    ('timeout 4h python -m training.curves runs/* --output=a.png > log', "No such option '--output'"),
    ('python tests/benchmarks/none.py', 'there is no tests/benchmarks/none.py'),
])
def test_wrong_commands_are_noticed(line, message, place):
    assert message in what_is_wrong(parse_line(line))


def test_what_make_is_asked_for_is_in_the_makefile():
    makefile = (ROOT / 'Makefile').read_text()
    targets = set(re.search(r'^\.PHONY:(.*)$', makefile, re.M)[1].split())
    variables = set(re.findall(r'^(\w+) *[?:]?=', makefile, re.M))
    found = [words.split() for page in PAGES for words in re.findall(r'(?:^ {4}|`)make ([\w-]+(?: +\w+=\S+?)*)(?= *(?:`|#|$))',
                                                                   page.read_text(), re.M)]
    assert len(found) > 10
    for target, *assignments in found:
        assert target in targets and {text.partition('=')[0] for text in assignments} <= variables, target
