"""generate.py as a group of subcommands: which is meant, what --help shows, what is imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import drawing

import generate

ROOT = Path(__file__).parents[2]


def explain(*args):
    result = CliRunner().invoke(generate.main, list(args), prog_name='generate.py')
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize('args', [['--seeds=0-1', '--noise_mode=none'], ['--projected_w=w.npz', '--trunc', '1']])
def test_images_is_what_is_done_without_a_command(tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    network = drawing.save_network('network.pkl', 0)
    np.savez('w.npz', w=np.random.RandomState(0).randn(2, 6, 8))
    args = [*args, '--device=cpu', f'--network={network}']
    flat, named = drawing.run(*args, '--outdir=flat'), drawing.run('images', *args, '--outdir=named')
    assert flat == named and flat[0] == 0
    written = {path.name: path.read_bytes() for path in Path('flat').iterdir()}
    assert len(written) == 2 and written == {path.name: path.read_bytes() for path in Path('named').iterdir()}


@pytest.mark.parametrize('args', [[], ['--sedes=1'], ['--network=x', '--outdir=y', '--noise-mode=z']])
def test_wrong_options_without_a_command_are_those_of_images(args):
    status, out, err = drawing.run(*args)
    assert (status, out) == (2, '') and ' images [OPTIONS]\n' in err
    assert err == drawing.run('images', *args)[2]


def test_help_shows_the_commands_and_the_default():
    text = explain('--help')
    assert 'The default command is images' in text
    for name in generate.COMMANDS:
        assert f'\n  {name} ' in text and f'python generate.py {name} ' in text


@pytest.mark.parametrize('name', generate.COMMANDS)
def test_every_command_explains_itself_with_examples(name):
    text = explain(name, '--help')
    assert text.startswith(f'Usage: generate.py {name} [OPTIONS]') and '--network PKL' in text
    assert 'python generate.py ' in text.partition('Examples:')[2]


def test_help_without_a_command_but_with_options_is_that_of_images():
    assert explain('--seeds=0', '--help') == explain('images', '--help') != explain('--help')


def test_an_unknown_command_is_refused():
    assert drawing.run('image', '--seeds=0') == (
        2, '', f"Error: there is no command 'image'; choose one of {', '.join(generate.COMMANDS)}\n")


def test_help_needs_no_torch():
    code = ('import generate, sys; generate.main(["--help"], standalone_mode=False); '
            'assert not {"torch", "numpy"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, check=True)
