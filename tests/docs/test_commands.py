"""The commands of the pages: all are parsed; those of the README and of getting-started.md are run, on tiny data."""

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.documented import ROOT, commands, parse, parse_line, run, stop_runs_after
from helpers.stand_in import replace_detectors

import train  # noqa: F401 (with all that must see the real detectors, before a test replaces them)
from dnnlib.util import EasyDict, UserError
from metrics.registry import parse_metrics
from training import methods, option_files
from training.config import DatasetInfo, build_config
from training.sampling.projection import similarity  # noqa: F401 (the same)

PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('models/**/*.md'), ROOT / 'datasets' / 'README.md'])
NOT_PARSED = {
    '-c': 'a line of Python itself',
    '-m venv': 'a part of Python',
    '-m pytest': 'the tests themselves',
    'tests/help_texts.py': 'takes no options, and writes into docs/',
    'tests/gpu/tables.py': 'takes no options, and writes into docs/',
}
NOT_RUN = {
    '-m venv': 'installs',
    '-m training.doctor': 'measures the machine for a minute; tests/training/doctor',
    'generate.py explore': 'serves until it is ended; tests/commands/test_generate_explore.py',
}
STEPS = 2
SMALL = {  # options that do not change the names of runs
    'train.py': '--cbase=64 --cmax=16 --z-dim=16 --map-depth=1 --workers=1 --metrics=none --device=cpu',
    'calc_metrics.py': '--device=cpu',
    'generate.py': '--device=cpu',
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with what the pages let their reader write: a method, networks, options in a file, a run."""
    monkeypatch.chdir(tmp_path)
    method, networks, configuration = ((ROOT / 'docs' / page).read_text(encoding='utf-8')
                                       for page in ('adding-a-method.md', 'own-networks.md', 'configuration.md'))
    options = re.search(r'## The file\n\n((?: {4}.*\n)+)', configuration)[1]
    blocks = [*re.findall(r'`(my_method/\w+\.py)`.*?```python\n(.*?)```', method, re.S),
              *re.findall(r'`(dcgan\.py)`.*?```python\n(.*?)```', networks, re.S),
              ('faces.yaml', re.sub('^    ', '', options, flags=re.M)),
              ('small.yaml', 'outdir: runs\ndata: datasets/glyphs.zip'),
              ('runs/00003-faces-mirror-auto1/training_options.json',
               json.dumps(dict(training_set_kwargs={}, options=dict(outdir='runs', data='datasets/faces.zip'))))]
    for name, text in blocks:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


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


# --- The commands that a newcomer runs, in their order ---


@pytest.fixture
def photos(tmp_path, monkeypatch, tmp_path_factory):
    """A working directory with twelve photographs in a folder, another one beside it, and some letters. Runs stop after STEPS."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in (*(f'photos/{i}.jpg' for i in range(12)), 'face.jpg'):
        Path(name).parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 256, (150, 140, 3), dtype=np.uint8)).save(name)
    Path('letters.txt').write_text('ABCDEFGHIJKL')
    replace_detectors(monkeypatch, tmp_path_factory.mktemp('cache'))
    stop_runs_after(STEPS, monkeypatch)


def shortened(command):
    """The arguments of a command as they are here, with more of them that make it short. Later ones win."""
    text, program = ' '.join(command.args), command.program
    more = SMALL.get(program, '').split()
    if program == 'train.py' and re.search('i-stylegan|cg-gan|cond_mode=flow', text):
        more += ['--i-dim=8']
    if program == 'dataset_tool.py' and '--check' not in text:
        more += ['--workers=1', '--chars=letters.txt' if 'glyphs' in text else '--resolution=16x16']
    if program == 'calc_metrics.py':
        more += ['--metrics=jacobian'] if 'jacobian' in text else ['--num=12']
    more += {'project': ['--num-steps=2'], 'translate': ['--steps=1'], 'video': ['--w-frames=2']}.get(command.args[0], [])
    return [*map(as_it_is_here, command.args), *more]


def as_it_is_here(word):
    """A run directory by its number, and its newest snapshot: the page has other options, or leaves out a part of the name."""
    found = re.search(r'runs/(\d{5})-[^/]+', word)
    if found is None:
        return word
    run_dir = next(Path('runs').glob(f'{found[1]}-*'))
    snapshot = max(run_dir.glob('network-snapshot-*.pkl')).name
    return re.sub(r'network-snapshot-\d+\.pkl', snapshot, word.replace(found[0], str(run_dir)))


@pytest.mark.parametrize('name', ['README.md', 'docs/getting-started.md'])
def test_a_newcomer_can_run_them_one_after_the_other(name, photos):
    done = []
    for command in commands(ROOT / name):
        if not command.abridged and not command.line.startswith(tuple(f'python {program}' for program in NOT_RUN)):
            status, out = run(command.program, shortened(command))
            assert status == 0, f'{command.line}\n{out[-2000:]}'
            done.append(command.program)
    assert {'dataset_tool.py', 'train.py', 'generate.py', 'calc_metrics.py'} <= set(done) and len(done) >= 12
    assert Path('runs/00000-photos-mirror-auto1').is_dir()  # the name on the page
