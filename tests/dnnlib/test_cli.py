"""What the command lines share: both spellings of options, ranges of numbers, errors in one line."""

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dnnlib import OptionError, UserError, cli

ROOT = Path(__file__).parents[2]


@click.command(cls=cli.Command)
@click.option('--some-value', type=str)
@click.option('-n', '--dry-run', is_flag=True)
@click.option('--seeds', type=cli.NumRange())
@cli.bool_option('--use-it', default=None, help='Whether.')
def command(**options):
    """A command."""
    if options['some_value'] == 'bad':
        raise UserError('some thing is bad;\n  choose another')
    if options['some_value'] == 'worse':
        raise OptionError('--some-value is worse')
    if options['some_value'] == 'unknown':
        raise ZeroDivisionError('unknown trouble')
    click.echo(repr(options))


def parse(*args):
    return command.main(list(args), standalone_mode=False)


def options(*args):
    result = CliRunner().invoke(command, list(args))
    assert result.exit_code == 0, result.output
    return {k: v for k, v in ast.literal_eval(result.output).items() if v not in (None, False)}


@pytest.mark.parametrize('args', [['--some_value=a_b'], ['--some_value', 'a_b'], ['--some-value=a_b'], ['--some-value', 'a_b']])
def test_both_spellings_mean_the_same(args):
    assert options(*args) == {'some_value': 'a_b'}


def test_only_the_name_is_respelled():
    assert options('--some_value=--a_b=c_d') == {'some_value': '--a_b=c_d'}
    assert options('--dry_run') == options('--dry-run') == options('-n') == {'dry_run': True}


@pytest.mark.parametrize('text, value', [('1', True), ('true', True), ('Yes', True), ('ON', True), ('t', True),
                                         ('0', None), ('False', None), ('no', None), ('off', None), ('N', None)])
def test_truth_has_many_spellings(text, value):
    assert options(f'--use_it={text}').get('use_it') == value


def test_a_truth_value_must_be_one():
    with pytest.raises(click.BadParameter, match='maybe'):
        parse('--use-it=maybe')
    with pytest.raises(click.UsageError, match='requires an argument'):
        parse('--use-it')


@pytest.mark.parametrize('text, numbers', [
    ('7', [7]), ('0-3', [0, 1, 2, 3]), ('5-5', [5]), ('1,5,9', [1, 5, 9]), ('1,5-7,2', [1, 5, 6, 7, 2]), (' 1 , 3 - 4', None),
    (' 1 , 3-4 ', [1, 3, 4]), ('3,3', [3, 3]), ('-1', [-1]), ('-2,4', [-2, 4]), ('007', [7]),
    ('', None), ('a', None), ('1,', None), ('1-', None), ('-1-2', None), ('1-2-3', None), ('1.5', None), ('3-1', None),
    ('1;2', None)])
def test_ranges_of_numbers(text, numbers):
    if numbers is None:
        with pytest.raises(click.BadParameter) as caught:
            parse(f'--seeds={text}')
        assert '\n' not in caught.value.message and caught.value.exit_code == 2
    else:
        assert options(f'--seeds={text}') == {'seeds': numbers}


def test_a_backward_range_is_shown_the_right_way_round():
    with pytest.raises(click.BadParameter, match="'9-7' runs backwards; write 7-9"):
        parse('--seeds=1,9-7')


def test_a_list_stays_a_list():
    assert cli.NumRange().convert([3, 1], None, None) == [3, 1]


def finish(monkeypatch, capsys, *args):
    """(exit status, stdout, stderr) of the command run as a program."""
    monkeypatch.setattr(sys, 'argv', ['program', *args])
    with pytest.raises(SystemExit) as caught:
        cli.run(command)
    return caught.value.code or 0, *capsys.readouterr()


def test_wrong_input_ends_with_one_line_and_status_1(monkeypatch, capsys):
    assert finish(monkeypatch, capsys, '--some-value=bad') == (1, '', 'Error: some thing is bad; choose another\n')


def test_wrong_options_end_with_status_2(monkeypatch, capsys):
    assert finish(monkeypatch, capsys, '--some-value=worse') == (2, '', 'Error: --some-value is worse\n')
    for args in (['--none-such=1'], ['--seeds=x'], ['stray']):
        status, out, err = finish(monkeypatch, capsys, *args)
        assert (status, out) == (2, '')
        assert err.startswith('Usage: ') and err.splitlines()[-1].startswith('Error: ')


def test_success_and_help_end_with_status_0(monkeypatch, capsys):
    assert finish(monkeypatch, capsys)[0] == 0
    status, out, err = finish(monkeypatch, capsys, '--help')
    assert (status, err) == (0, '') and '--use-it BOOL' in out


def test_unknown_trouble_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['program', '--some_value=unknown'])
    with pytest.raises(ZeroDivisionError):
        cli.run(command)


def test_a_real_process_ends_likewise():
    code = 'import click\nfrom dnnlib import OptionError, cli\n' \
           '@click.command(cls=cli.Command)\ndef main():\n    print("begun")\n    raise OptionError("not\\nso")\ncli.run(main)'
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (2, 'begun\n', 'Error: not so\n')


def test_a_slip_in_a_range_does_not_fill_the_memory():
    result = CliRunner().invoke(command, ['--seeds=0-99999999999'])
    assert result.exit_code == 2 and 'more than 10000000 numbers' in result.output


def test_values_are_found_on_a_line_that_is_not_parsed():
    line = ['--some_value', 'a', '--seeds', '1', '--some-value=b=c', '--some-values=d', '--some-value']
    assert cli.values_in(line, 'some-value') == ['a', 'b=c'] and cli.values_in(line, 'seeds') == ['1']
    assert cli.values_in(line, 'none') == []
