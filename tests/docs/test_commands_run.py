"""The commands of the pages are run, one after the other, on tiny data. test_commands.py parses those that are not."""

import re
from glob import glob

import pytest
from helpers.documented import PAGES, ROOT, commands, parse, run, stop_runs_after
from helpers.documented_place import Place, Templates
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
    'python tests/compare_revisions.py': 'needs two revisions: tests/test_digests.py',
    'python tests/benchmarks/': 'measures for minutes',
    'torchrun ': 'several processes: tests/commands/test_train_hosts.py',
    '--gpus=': 'several processes: tests/commands/test_train.py',
    'https://huggingface.co': 'downloads: tests/training/snapshots/test_hub.py',
    'docs/own-networks.md': 'tests/commands/test_own_networks.py',
    'datasets/README.md: python dataset_tool.py --source': 'tests/commands/test_dataset_recipes.py',
    'docs/datasets.md: python dataset_tool.py --source': 'tests/commands/test_dataset_recipes.py',
    'run.py': 'takes hours: tests/docs/test_experiments.py draws the tables, test_experiment_jobs.py runs jobs',
}
LEFT = {  # a part of a line: files that the page promises, besides those of --dest and the like
    'train.py --outdir=runs --data=datasets/photos.zip --mirror=1': ['runs/00000-photos-mirror-auto1/report.html'],
    '--check=datasets/photos.zip': ['datasets/photos-mean.png'],
    '--contact-sheet=1': ['out/seed0000.png', 'out/contact-sheet.png'],
    'generate.py mix': ['out/grid.png'],
    'generate.py project': ['out/target.png', 'out/proj.png', 'out/projected_w.npz'],
    'generate.py translate': ['out/translations.png', 'out/latents.npz'],
    '--network=… --outdir=faces': ['faces/config.json', 'faces/model.safetensors', 'faces/README.md'],
    '--to=stylegan2-ada': ['out/stylegan2-ada-*.pkl'],
    '--to=onnx --network=runs': ['faces/mapping.onnx', 'faces/synthesis.onnx'],
    '--to=torch-export': ['faces/mapping.pt2', 'faces/synthesis.pt2'],
    'average --sigma=0.08': ['runs/00000-*/network-average-*-0.08.pkl'],
    '-m training.encoder --network=runs': ['runs/00000-mnist-cond/network-snapshot-*-encoder.safetensors'],
    '-m training.calibration --data=datasets/mnist.zip': ['calibration/calibration-mnist.json',
                                                          'calibration/calibration-mnist.png'],
    '-m training.report runs/00000-mnist': ['runs/00000-mnist-*/report.html'],
    '-m training.curves runs/00000-mnist': ['runs/00000-mnist-*/curves.png'],
    'fid10k_full --network=runs/00000-faces-auto1': ['runs/00000-faces-auto1/metric-fid*_full.jsonl'],
}
SELF_CONTAINED = ('README.md', 'docs/getting-started.md')  # make what they need, except for photographs
SLOW = tuple(f'docs/{name}.md' for name in ('cg-gan', 'clr-gan', 'export', 'generate', 'identifiability', 'metrics',
                                            'metrics-domains', 'metrics-offline', 'r3gan', 'snapshots', 'training'))
STEPS = 2


def why_not(command):
    """The reason that a command is not run, or None."""
    if '--help' in command.args:
        return None
    return next((reason for part, reason in NOT_RUN.items() if part in f'{command.page}: {command.line}'), None)


def is_complete(command):
    """Whether it has all that the program requires, although it may be inside a sentence."""
    return not command.abridged or not parse(command.program, command.args)[0]


def pages():
    for page in PAGES:
        if any(not command.abridged and not why_not(command) for command in commands(page)):
            name = str(page.relative_to(ROOT))
            yield pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())


@pytest.fixture(scope='session')
def templates(tmp_path_factory):
    return Templates(tmp_path_factory.mktemp('templates'))


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
    if {'--dry-run', '--help'} & set(command.args):  # nothing else
        return [word.partition('=')[2] for word in command.args if word.startswith('--save-config=')]
    named = [re.sub(r'\.mp4$', '.*', found[1]) for word in command.args  # a GIF, without a package
             if (found := re.match(r'--(?:dest|out|output|outdir|save-config)=(.*)', word))]
    return named + [name for part, names in LEFT.items() if part in command.line for name in names]


@pytest.mark.parametrize('name', pages())
def test_commands_of_a_page_run_one_after_the_other(name, place):
    for command in commands(ROOT / name):
        if why_not(command) or not is_complete(command):
            continue
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
