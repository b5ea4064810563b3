"""Options in files: what is read, what is refused, and that they come back as they were. No torch."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import train
from dnnlib.util import EasyDict, OptionError
from training import option_files
from training.config import DatasetInfo, build_config, run_description
from training.methods import complete_options
from training.presets import CFG_NAMES

DATA = DatasetInfo(name='afhq', resolution=256, label_dim=3, size=1000)
BASE = ('--outdir=runs', '--data=afhq.zip')


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('STYLEGAN_OPS', raising=False)


def options(*args):
    """The options that a command line gives, by name."""
    return option_files.given(train.main.make_context('train', list(args)))


def config(*args):
    """(name of the run, configuration) of a command line."""
    context = train.main.make_context('train', list(args))
    o = complete_options(EasyDict(context.params, gpus=context.params['gpus'] or 1), context.obj)
    return run_description(o, DATA), build_config(o, DATA)


def text(content, name='options.yaml'):
    Path(name).write_text(content)
    return f'--config={name}'


def refused(message, *args):
    with pytest.raises(OptionError) as caught:
        train.main.make_context('train', list(args))
    assert message in str(caught.value) and '\n' not in str(caught.value), caught.value


def test_yaml_and_json_mean_what_the_command_line_means():
    line = ['--gamma=1e-3', '--mirror=1', '--batch-gpu=4', '--method=cg-gan,clr-gan', '--anneal=lr=0.0005,gamma=0', '--desc=on',
            '--metrics=none', '--i_dim=7', '--z-dim=512']
    yaml = ('# a comment\ngamma: 1e-3\nmirror: true\nbatch_gpu: 4\nmethod: [cg-gan, clr-gan]\nanneal: {lr: 0.0005, gamma: 0}\n'
            'desc: on\nmetrics: none\ni_dim: 7\nz-dim: 512\n')
    as_json = json.dumps({'gamma': 0.001, 'mirror': True, 'batch-gpu': 4, 'method': ['cg-gan', 'clr-gan'], 'z-dim': 512,
                          'anneal': {'lr': 0.0005, 'gamma': 0}, 'desc': 'on', 'metrics': 'none', 'i_dim': 7})
    expected = options(*BASE, *line)
    assert expected['batch-gpu'] == 4 and expected['desc'] == 'on' and expected['mirror'] is True
    assert options(*BASE, text(yaml)) == options(*BASE, text(as_json, 'o.json')) == expected


def test_the_command_line_wins_and_required_options_may_be_in_the_file():
    config_option = text('outdir: a\ndata: b.zip\ngamma: 5\nkimg: 100\n')
    assert options(config_option, '--gamma=2') == {'outdir': 'a', 'data': 'b.zip', 'gamma': 2.0, 'kimg': 100}
    assert options(config_option, '--outdir', 'c')['outdir'] == 'c'


@pytest.mark.parametrize('content, message', [
    ('gama: 1\n', 'options.yaml: gama: no option of train.py; did you mean gamma?'),
    ('xyzzy: 1\n', 'options.yaml: xyzzy: no option of train.py; leave it out'),
    ('dry-run: 1\n', 'options.yaml: dry-run: only for the command line'),
    ('gamma: high\n', "options.yaml: gamma: 'high' is not a valid float"),
    ('kimg: 1.5\n', "options.yaml: kimg: '1.5' is not a valid integer"),
    ('seed: true\n', "options.yaml: seed: 'true' is not a valid integer"),
    ('cfg: huge\n', "options.yaml: cfg: 'huge' is not one of 'auto', 'stylegan2'"),
    ('mirror: maybe\n', "options.yaml: mirror: 'maybe' is not a valid boolean"),
    ('gamma: [1, 2]\n', 'options.yaml: gamma: a list, where one value belongs'),
    ('gamma: {a: 1}\n', 'options.yaml: gamma: a mapping, where one value belongs'),
    ('anneal: {lr: [1]}\n', 'options.yaml: anneal: a mapping, where one value belongs'),
    ('anneal: {speed: 1}\n', "options.yaml: anneal: 'speed' is not one of lr, glr"),
    ('method: [cg-gun]\n', "options.yaml: method: 'cg-gun' is not one of stylegan2, i-stylegan"),
    ('gamma:\n', "options.yaml: gamma: '' is not a valid float"),
    ('gamma: 1\ngamma: 2\n', 'options.yaml: not usable as YAML (gamma: given twice'),
    ('batch-gpu: 1\nbatch_gpu: 2\n', 'options.yaml: batch_gpu: given twice'),
    ('- gamma\n', 'options.yaml: not a mapping from options to values'),
    ('gamma: 1\n  kimg: 2\n', 'options.yaml: mapping values are not allowed here in line 2'),
    ('{[1]: 2}\n', 'options.yaml: not usable as YAML'),
    ('a: &a [*a]\n', 'options.yaml: found unconstructable recursive node in line 1'),
    ('!!python/object/apply:os.system ["touch hacked"]\n', 'options.yaml: not a mapping from options to values'),
    ('[' * 900, 'options.yaml: '), ('\x00', 'options.yaml: not usable as YAML'),
    ('#' * (1 << 20) + '#', 'options.yaml: not usable as YAML (too large')])
def test_what_is_wrong_is_one_line_with_the_file_and_the_key(content, message):
    refused(message, *BASE, text(content))
    assert not Path('hacked').exists()


@pytest.mark.parametrize('content, message', [
    ('{"gamma": null}', 'o.json: gamma: null is no value; leave it out'),
    ('{"gamma": 1, "gamma": 2}', 'o.json: not usable as JSON (gamma: given twice'),
    ('{"gamma": ', 'o.json: not usable as JSON (Expecting value'), ('3', 'o.json: not a mapping')])
def test_wrong_json(content, message):
    refused(message, *BASE, text(content, 'o.json'))


def test_files_that_are_not_there():
    Path('run').mkdir()
    refused('no.yaml: cannot be read (no such file or directory)', *BASE, '--config=no.yaml')
    refused('run: a directory; give a file to --config, or a run directory to --like', *BASE, '--config=run')
    refused('--like=run: no training_options.json there; name a run directory, or a run in --outdir', *BASE, '--like=run')


def test_a_value_that_is_wrong_by_itself_is_traced_to_its_file():
    config_option = text('gamma: -1\nmixing: 0.5\n')
    context = train.main.make_context('train', [*BASE, config_option, '--mixing=2'])
    with pytest.raises(OptionError, match=r'^--gamma must be non-negative \(gamma in options.yaml\)$'), \
            option_files.naming_files(context):
        raise OptionError('--gamma must be non-negative')
    with pytest.raises(OptionError, match=r'^--mixing must be between 0 and 1$'), option_files.naming_files(context):
        raise OptionError('--mixing must be between 0 and 1')  # the command line has that one


def test_options_of_methods_of_ones_own():
    Path('mine.py').write_text(
        'from training.methods import Method, option\n'
        'class Mine(Method):\n    name, title = "mine", "Mine"\n    options = [option("--mine-weight", help="", type=float)]\n'
        'METHOD = Mine()\n')
    expected = options(*BASE, '--method=./mine.py', '--mine-weight=3')
    for content in ('method: ./mine.py\nmine_weight: 3\n', 'method: [./mine.py]\nmine-weight: 3.0\n'):
        assert options(*BASE, text(content)) == expected
    refused('options.yaml: mine-weight: no option of train.py', *BASE, text('mine-weight: 3\n'))
    refused('options.yaml: mine-weight: no option of train.py', *BASE, '--method=cg-gan',
            text('method: ./mine.py\nmine-weight: 3\n'))


# --- The same again ---


def write_run(path, content):
    Path(path).mkdir(parents=True)
    Path(path, 'training_options.json').write_text(json.dumps({'training_set_kwargs': {}, **content}))


def test_like_takes_the_options_that_a_run_recorded():
    write_run('runs/00003-x', {'options': {'outdir': 'runs', 'data': 'd.zip', 'batch-gpu': 4, 'method': ['cg-gan']}})
    expected = {'outdir': 'runs', 'data': 'd.zip', 'batch-gpu': 4, 'method': ['cg-gan']}
    for args in (['--like=runs/00003-x'], ['--like=00003-x', '--outdir=runs'], ['--config=runs/00003-x/training_options.json']):
        assert options(*args) == expected
    assert options('--like=runs/00003-x', text('batch-gpu: 2\nkimg: 3\n'), '--kimg=5') == {**expected, 'batch-gpu': 2, 'kimg': 5}


def test_a_run_without_a_record_says_so():
    write_run('old', {})
    refused('old/training_options.json: of a run that did not record its options (there is no item `options`)', '--like=old')


def test_what_a_run_records_makes_a_new_run():
    asked = {'outdir': 'r', 'resume': 'a.pkl', 'resume-kimg': 0, 'transfer': 'partial'}
    assert option_files.of_run(asked, None) == asked
    assert option_files.of_run({'outdir': 'r', 'resume': 'latest'}, None) == {'outdir': 'r'}
    write_run('r/0', {'options': asked})
    assert option_files.of_run({'outdir': 'r', 'kimg': 5, 'resume': 'r/0'}, 'r/0') == {**asked, 'kimg': 5}
    write_run('r/1', {})
    assert option_files.of_run({'outdir': 'r', 'resume': 'r/1', 'resume-kimg': None}, 'r/1') == {'outdir': 'r'}


# --- There and back ---


METHODS = ['stylegan2', 'i-stylegan', 'cg-gan', 'csdi', 'clr-gan', 'r3gan', 'cg-gan,clr-gan']


@pytest.mark.parametrize('method', [None, *METHODS])
@pytest.mark.parametrize('cfg', CFG_NAMES)
def test_saved_options_give_the_same_configuration(cfg, method):
    args = [*BASE, f'--cfg={cfg}', '--metrics=none', *([f'--method={method}'] if method else [])]
    for name in ('saved.yaml', 'saved.json'):
        option_files.save(name, options(*args))
        assert options(f'--config={name}') == options(*args)
        assert config(f'--config={name}') == config(*args)


TEXT = st.text(st.characters(exclude_characters='\0'))


def values_of(param):
    """Values of an option, as on the command line."""
    kind = type(param.type).__name__
    if kind == 'Choice':
        return st.sampled_from(param.type.choices)
    if kind == 'Assignments':
        return st.dictionaries(st.sampled_from(param.type.names), st.floats(0, 1e9), min_size=1).map(
            lambda numbers: ','.join(f'{k}={v!r}' for k, v in numbers.items()))
    return {'IntParamType': st.integers(), 'FloatParamType': st.floats(allow_nan=False, allow_infinity=False),
            'BoolParamType': st.booleans(), 'MethodNames': st.sampled_from(METHODS),
            'PathText': TEXT.filter(str.strip)}.get(kind, TEXT)


PARAMS = [param for param in train.main.get_params(train.main.make_context('train', list(BASE)))
          if param.expose_value and param.name.replace('_', '-') not in option_files.OF_THE_CALL]


@pytest.mark.parametrize('odd', ['\x85', '\u2028', '\u2029', 'a\tb', 'ü', '\ufeff', "'"])
def test_odd_characters_come_back(odd):
    expected = options(*BASE, f'--desc=a{odd}b' if odd.isprintable() else f'--g-class={odd}')
    option_files.save('odd.yaml', expected)
    assert options('--config=odd.yaml') == expected


@given(st.data(), st.sampled_from(['yaml', 'json']))
@settings(max_examples=40, deadline=None)
def test_any_options_come_back(data, suffix):
    chosen = data.draw(st.lists(st.sampled_from(PARAMS), unique_by=lambda p: p.name, max_size=8))
    line = [f'--{param.name}={data.draw(values_of(param))}' for param in chosen]
    expected = options(*BASE, *line)
    option_files.save(f'any.{suffix}', expected)
    assert options(f'--config=any.{suffix}') == expected
