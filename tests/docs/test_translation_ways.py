"""docs/experiments/translation/ways.py: three ways of translation for each network, with a trained encoder where it is needed."""

import json
import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / 'docs' / 'experiments' / 'translation' / 'ways.py'
NETWORK = 'network-snapshot-000124.pkl'


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Runs the program for a network of these methods. Metrics depend on the way; returns the commands."""
    namespace, commands = runpy.run_path(str(PROGRAM)), []

    def call(*command):
        commands.append(command)
        if command[0] == 'calc_metrics.py':
            metric = next(o for o in command if o.startswith('--metrics=')).partition('=')[2]
            value = ('--by=encoder' in command) + 2 * ('--steps=50' in command)
            line = dict(results={metric: value, f'{metric}_content': value + 10, f'{metric}_rebuilt': value + 20},
                        snapshot_pkl=NETWORK)
            with (tmp_path / f'metric-{metric}.jsonl').open('a') as file:
                file.write(json.dumps(line) + '\n' + json.dumps(line | dict(snapshot_pkl='another.pkl', results={})) + '\n')

    def run(methods, *options):
        (tmp_path / 'training_options.json').write_text(json.dumps(dict(methods=methods)))
        monkeypatch.setitem(namespace['main'].__globals__, 'call', call)
        monkeypatch.setattr('sys.argv', ['ways.py', '--data=d', '--eval-data=e', f'--network={tmp_path / NETWORK}', *options])
        namespace['main']()
        return commands

    return run


def test_values_are_named_after_their_way(program, tmp_path):
    program(['i-stylegan'])
    line, = map(json.loads, (tmp_path / 'metric-ways.jsonl').read_text().splitlines())
    assert line == dict(metric='ways', snapshot_pkl=NETWORK, results=dict(
        projection_error=0, projection_content=10, projection_rebuilt=20, encoder_error=1, encoder_content=11, encoder_rebuilt=21,
        refined_error=3, refined_content=13, refined_rebuilt=23, encoder_fd=1))


@pytest.mark.parametrize('methods, file, trained', [(['i-stylegan'], False, True), (['i-stylegan'], True, False),
                                                    (['i-stylegan', 'clr-gan'], False, False)])
def test_an_encoder_is_trained_where_there_is_none(program, tmp_path, methods, file, trained):
    if file:
        (tmp_path / 'network-snapshot-000124-encoder.safetensors').touch()
    assert any('training.encoder' in command for command in program(methods)) == trained


def test_measured_networks_are_skipped(program):
    done = len(program(['i-stylegan']))
    assert len(program(['i-stylegan'], '--missing-only')) == done
    assert len(program(['i-stylegan'])) == 2 * done
