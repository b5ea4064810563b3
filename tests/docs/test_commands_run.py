"""The commands of the pages are run, one after the other, on tiny data. test_commands.py parses those that are not."""

import re
from glob import glob

import pytest
from helpers.documented import PAGES, ROOT, commands, parse, run, stop_runs_after
from helpers.documented_place import Place, make_templates
from helpers.packed_making import write_idx
from helpers.stand_in import replace_detectors

import train  # noqa: F401 (with all that must see the real detectors, before a test replaces them)
from training.data.making import mnist
from training.sampling.projection import similarity  # noqa: F401 (the same)

NOT_RUN = {  # a part of '<page>: <line>': the reason, and the test that covers it
    'python -m venv': 'installs',
    'python -m pytest': 'the tests themselves',
    'python -m training.doctor': 'measures the machine for a minute: tests/training/doctor',
    'python -m torch_utils.custom_ops': 'compiles for a minute: tests/torch_utils/test_building.py',
    'generate.py explore': 'serves until it is ended: tests/commands/test_generate_explore.py',
    'python tests/help_texts.py': 'writes into docs/: tests/commands/test_help_texts.py',
    'python tests/gpu/tables.py': 'writes into docs/: tests/gpu/test_report.py',
    'python tests/compare_revisions.py': 'needs two revisions: tests/test_digests.py',
    'python tests/benchmarks/': 'measures for minutes',
    'torchrun ': 'several processes: tests/training/run/test_torchrun.py',
    '--gpus=': 'several processes: tests/training/run/test_launch.py',
    'https://huggingface.co': 'downloads: tests/training/snapshots/test_hub.py',
    'docs/own-networks.md': 'tests/commands/test_own_networks.py',
    'datasets/README.md: python dataset_tool.py --source': 'tests/commands/test_dataset_recipes.py',
    'docs/datasets.md: python dataset_tool.py --source': 'tests/commands/test_dataset_recipes.py',
    'run.py': 'takes hours: tests/docs/test_experiments.py draws the tables, test_experiment_jobs.py runs jobs',
}
LEFT = {  # a part of a line: files that the page promises, besides those of --dest and the like
}
SELF_CONTAINED = ('README.md', 'docs/getting-started.md')  # make what they need, except for photographs
SLOW = ()
STEPS = 2


def why_not(command):
    """The reason that a command is not run, or None."""
    if '--help' in command.args:
        return None
    reason = next((reason for part, reason in NOT_RUN.items() if part in f'{command.page}: {command.line}'), None)
    return reason or ('is not complete' if command.abridged and parse(command.program, command.args)[0] else None)


def to_run(page):
    return [command for command in commands(page) if not why_not(command)]


@pytest.fixture(scope='session')
def templates(tmp_path_factory):
    """A dataset and runs of a few steps."""
    folder = tmp_path_factory.mktemp('templates')
    with pytest.MonkeyPatch.context() as patch:
        stop_runs_after(STEPS, patch)
        make_templates(folder)
    return folder


@pytest.fixture
def place(templates, tmp_path, monkeypatch, tmp_path_factory):
    """A working directory with what the commands take. Runs stop after STEPS, detectors are random, and MNIST is noise."""
    monkeypatch.chdir(tmp_path)
    replace_detectors(monkeypatch, tmp_path_factory.mktemp('cache'))
    stop_runs_after(STEPS, monkeypatch)
    digits, _ = write_idx(tmp_path_factory.mktemp('mnist'), count=60)
    monkeypatch.setattr(mnist, 'find_mnist', lambda split='train': (*mnist.read_mnist(digits), 'a stand-in'))
    return Place(templates)


def promised(command):
    """Patterns of the files that a command leaves."""
    if {'--dry-run', '--help'} & set(command.args):
        return [word.partition('=')[2] for word in command.args if word.startswith('--save-config=')]
    named = [re.sub(r'\.mp4$', '.*', found[1]) for word in command.args  # a GIF, without a package
             if (found := re.match(r'--(?:dest|out|output|outdir|save-config)=(.*)', word))]
    return named + [name for part, names in LEFT.items() if part in command.line for name in names]


@pytest.mark.parametrize('name', [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(
    str(page.relative_to(ROOT)) for page in PAGES if commands(page))])
def test_commands_of_a_page_run_one_after_the_other(name, place):
    for command in to_run(ROOT / name):
        status, out = run(command.program, place.arguments(command))
        assert status == 0, f'{command.line}\n{out[-2000:]}'
        assert [path for path in promised(command) if not glob(path)] == [], command.line
    if name in SELF_CONTAINED:
        assert place.put <= {'photos', 'face.jpg'} | {f'photos/{i}.jpg' for i in range(12)}


def test_reasons_are_needed_and_name_tests():
    found = [command for page in PAGES for command in commands(page)]
    for part, reason in NOT_RUN.items():
        assert any(part in f'{command.page}: {command.line}' for command in found), part
        assert all((ROOT / path).exists() for path in re.findall(r'tests/[\w/.]+', reason)), reason
    for part in LEFT:
        assert any(part in command.line for command in found), part
