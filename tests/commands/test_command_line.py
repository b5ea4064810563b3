"""What all commands share: --version, completion in bash, no colours, and the exit status of Ctrl-C."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from helpers.programs import run_program

import calc_metrics
import dataset_tool
import generate
import train
from dnnlib import cli, completion
from training.snapshots import tool

ROOT = Path(__file__).parents[2]
VERSION = f'stylegan-research {cli.__version__}\n'


@pytest.mark.parametrize('command', [train.main, generate.main, dataset_tool.main, calc_metrics.main, tool.main],
                         ids=lambda command: command.callback.__module__)
def test_every_program_says_its_version(command):
    assert run_program(command, '--version') == (0, VERSION, '')


def test_commands_of_a_group_say_it_too():
    for args in (['mix', '--version'], ['--seeds=1', '--version']):
        assert run_program(generate.main, *args) == (0, VERSION, '')


def test_the_version_is_the_same_everywhere():
    project = re.search(r'^version = "(.*)"$', (ROOT / 'pyproject.toml').read_text(), flags=re.MULTILINE)[1]
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version']
    newest = re.search(r'^## (\S+?),? ', (ROOT / 'CHANGELOG.md').read_text(), flags=re.MULTILINE)[1]
    assert project == cited == newest == cli.__version__


def test_control_c_is_a_failure():
    @click.command(cls=cli.Command)
    def interrupted():
        raise KeyboardInterrupt

    assert run_program(interrupted)[0] == 1


def test_completion_knows_every_program():
    paths = [*ROOT.glob('*.py'), *ROOT.glob('training/**/*.py'), *ROOT.glob('torch_utils/*.py')]
    found = {path.relative_to(ROOT).as_posix() for path in paths if '    cli.run(main)' in path.read_text(encoding='utf-8')}
    named = {module.replace('.', '/') for module in completion.MODULES}
    others = {'training/run/report/report', 'training/run/curves'}  # training.report and training.curves call them
    assert {re.sub(r'(/__main__)?\.py$', '', name) for name in found} - others == named | {
        name.removesuffix('.py') for name in completion.PROGRAMS}


@pytest.mark.skipif(shutil.which('bash') is None or os.name == 'nt', reason='needs bash')
@pytest.mark.parametrize('words, expected', [
    (['train.py', '--me'], '--metrics --metric-seed --method'),
    (['train.py', '--data', r'a\ b.zip', '--cfg', '=', 'paper2'], 'paper256'),  # bash makes --cfg=paper2 three words
    (['./train.py', '--aug', '='], 'noaug ada fixed'),
    (['train.py', '--outdir', ''], ''),  # bash completes files then
    (['-m', 'training.doctor', '--js'], '--json'),
    (['other.py', '--me'], ''),
    (['-c', 'print(1)', '--me'], ''),
])
def test_bash_completes(words, expected):
    quoted = ' '.join(f"'{word}'" for word in [sys.executable, *words])
    script = (f'source <("{sys.executable}" -m dnnlib.completion); COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; '
              '_stylegan_complete; echo "${COMPREPLY[*]}"; complete -p python3')
    done = subprocess.run(['bash', '--norc', '-c', script], cwd=ROOT, capture_output=True, text=True)
    reply, registered = done.stdout.splitlines()
    assert (reply, done.stderr) == (expected, '') and registered.endswith('-F _stylegan_complete python3')


@pytest.mark.parametrize('words, expected', [(['do'], 'domains'), (['--noise'], '--noise-mode'), (['mix', '--col'], '--cols')])
def test_groups_complete_commands_and_the_options_of_the_default_one(words, expected, monkeypatch, capsys):
    monkeypatch.setenv(cli.COMPLETE_VAR, 'bash_complete')
    monkeypatch.setenv('COMP_WORDS', ' '.join(['generate.py', *words]))
    monkeypatch.setenv('COMP_CWORD', str(len(words)))
    with pytest.raises(SystemExit):
        cli.run(generate.main)
    assert capsys.readouterr().out == f'plain,{expected}\n'


@pytest.mark.skipif(os.name == 'nt', reason='needs a pseudo-terminal')
@pytest.mark.parametrize('args', [
    'train.py --help', 'train.py --kimg=x', 'dataset_tool.py --check=no.zip',
    'dataset_tool.py --source=synthetic --max-images=20 --width=8 --height=8 --domains=2 --dest={tmp}/shapes.zip'])
def test_no_colours_on_a_terminal(args, tmp_path):
    """No other terminal sequences either, except those that move a progress bar."""
    import pty
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != 'NO_COLOR'} | dict(TERM='xterm-256color')
    process = subprocess.Popen([sys.executable, *args.format(tmp=tmp_path).split()], cwd=ROOT, stdin=theirs, stdout=theirs,
                               stderr=theirs, env=environment)
    os.close(theirs)
    printed = b''
    try:
        while block := os.read(ours, 1 << 16):
            printed += block
    except OSError:  # how Linux says that nobody writes any more
        pass
    process.wait()
    os.close(ours)
    assert printed and not re.search(rb'\x1b\[[\d;]*m', printed)
