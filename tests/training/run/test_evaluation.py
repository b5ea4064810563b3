"""Metrics while a run trains: they change nothing, end nothing, and what is missing is told in the beginning."""

import json
import sys
from pathlib import Path

import pytest
from helpers.small_runs import config, digests, run, write_domains
from helpers.stand_in import StandIn, replace_detectors

from metrics import registry
from metrics.context import Result
from torch_utils import distributed
from torch_utils.launching import launch
from training.run.best import Best
from training.training_loop import training_loop


def measured(data, run_dir, metrics, **changes):
    """The configuration of a small run with metrics, of a snapshot in each tick."""
    changes = dict(metric_seed=0, slow_metrics=True, network_snapshot_ticks=1, metrics=metrics) | changes
    return config(data, run_dir, **changes)


@pytest.fixture
def data(tmp_path):
    return write_domains(tmp_path / 'domains.zip')


@pytest.fixture
def detectors(monkeypatch, tmp_path):
    return replace_detectors(monkeypatch, tmp_path / 'cache')


@pytest.fixture
def scripted(monkeypatch):
    """scripted(name, *values): a metric that finds these values, one after the other; exceptions it raises."""

    def make(name, *values, better='lower'):
        left = list(values)

        def compute(context):
            value = left.pop(0)
            value = value(context) if callable(value) else value
            if isinstance(value, Exception):
                raise value
            return Result({f'{name}_key': value})

        module = type(sys)(f'metrics.scripted_{name}')
        module.compute = compute
        monkeypatch.setitem(sys.modules, module.__name__, module)
        metric = registry.Metric(f'{module.__name__}:compute', needs_data=False, better=better)
        monkeypatch.setitem(registry.METRICS, name, metric)
        return left

    return make


def results(run_dir, metric):
    path = Path(run_dir, f'metric-{metric}.jsonl')
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_metrics_change_nothing_in_the_run(data, tmp_path, detectors):
    for name, metrics in (('with', ['fid10_full', 'kid10', 'is10', 'pr10_3_full']), ('without', [])):
        assert run(measured(data, tmp_path / name, metrics))
    assert digests(tmp_path / 'with') == digests(tmp_path / 'without')
    records = results(tmp_path / 'with', 'fid10_full')
    assert [record['snapshot_pkl'] for record in records] == ['network-snapshot-000000.pkl'] * 3 + ['network-snapshot-000001.pkl']
    assert list(records[0])[-2:] == ['snapshot_pkl', 'timestamp'] and len({r['results']['fid10_full'] for r in records}) == 4
    assert len(results(tmp_path / 'with', 'kid10')) == 4
    # One detector per name; the real images once for all snapshots, the generated ones once for fid and kid, and for is.
    assert sorted(net.name for net in detectors) == ['inception', 'vgg16']
    assert next(net for net in detectors if net.name == 'inception').seen == 9 + 9 + 4 * 20


def test_weights_that_are_damaged_or_missing_are_told_before_training(data, tmp_path, monkeypatch, capsys, scripted):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')  # where nothing listens
    damaged = tmp_path / 'cache' / 'detectors' / 'pt_inception-2015-12-05-6726825d.pth'
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b'PK\x03\x04 torn')
    scripted('fine', *range(4))
    assert run(measured(data, tmp_path / 'run', ['fid10_full', 'pr10_3_full', 'fine']))
    before, _, after = capsys.readouterr().out.partition('tick 0 ')
    for name, part in (('fid10_full', str(damaged)), ('pr10_3_full', 'vgg16')):
        line, = (line for line in before.splitlines() if line.startswith(f'Error: --metrics={name} is left out from now on: '))
        assert part in line
    assert 'left out' not in after and len(results(tmp_path / 'run', 'fine')) == 4
    assert not results(tmp_path / 'run', 'fid10_full')


def test_a_dataset_that_is_removed_ends_the_metric_only(data, tmp_path, detectors, capsys):
    c = measured(data, tmp_path / 'run', ['fid10_full'])
    c.training_set_kwargs = dict(c.training_set_kwargs, max_size=6)  # so that all images are opened anew
    (tmp_path / 'run').mkdir()
    assert training_loop(c, stop_requested=lambda: bool(Path(data).exists() and Path(data).unlink()))
    out = capsys.readouterr().out
    assert out.count('Error: --metrics=fid10_full is left out from now on: ') == 1 and 'domains.zip' in out
    assert (tmp_path / 'run' / 'network-snapshot-000001.pkl').exists()


def test_a_metric_that_fails_in_any_way_ends_alone(data, tmp_path, detectors, capsys, monkeypatch, scripted):
    scripted('broken', 1.0, RuntimeError('no more memory'), 2.0)
    scripted('fine', *range(4))
    monkeypatch.setattr(StandIn, 'probabilities', lambda self, images: 1 / 0)
    assert run(measured(data, tmp_path / 'run', ['broken', 'is10', 'fine']))
    out = capsys.readouterr().out
    assert out.count('Error: --metrics=broken is left out from now on: RuntimeError: no more memory') == 1
    assert out.count('Error: --metrics=is10 is left out from now on: ZeroDivisionError') == 1 and 'Traceback' in out
    assert [len(results(tmp_path / 'run', name)) for name in ('broken', 'is10', 'fine')] == [1, 0, 4]


def test_the_default_is_not_computed_where_it_takes_hours(data, tmp_path, capsys, detectors):
    assert run(measured(data, tmp_path / 'run', ['fid50k_full'], slow_metrics=False))
    out = capsys.readouterr().out
    assert out.count('Metrics: none; fid50k_full, the default, would take hours on this device.') == 1 and not detectors
    assert not list((tmp_path / 'run').glob('metric-*')) and not (tmp_path / 'run' / 'best.json').exists()


def test_the_seed_is_in_the_records_if_it_is_not_0(data, tmp_path, detectors):
    assert run(measured(data, tmp_path / 'run', ['fid10_full'], metric_seed=5, network_snapshot_ticks=None))
    record, = results(tmp_path / 'run', 'fid10_full')
    assert list(record)[-1] == 'seed' and record['seed'] == 5


# Stopping.

def test_who_asks_to_stop_does_not_wait_for_metrics(data, tmp_path, scripted, capsys):
    """Neither for one that has not begun, nor, for longer than a batch of it takes, for one that has."""
    left = scripted('slow', 1.0, 2.0)
    assert not run(measured(data, tmp_path / 'run', ['slow'], network_snapshot_ticks=None), steps=3)
    assert len(left) == 2 and (tmp_path / 'run' / 'network-snapshot-000000.pkl').exists()


def test_an_evaluation_is_given_up_when_the_run_is_to_stop(data, tmp_path, detectors, capsys, monkeypatch):
    asked = []
    features = StandIn.features
    monkeypatch.setattr(StandIn, 'features', lambda self, images: asked.append(1) or features(self, images))
    c = measured(data, tmp_path / 'run', ['fid1k_full', 'kid1k_full'])
    (tmp_path / 'run').mkdir()
    assert not training_loop(c, stop_requested=lambda: len(asked) > 3)
    out = capsys.readouterr().out
    assert out.count('Stopping, as asked: fid1k_full was given up after ') == 1 and len(asked) == 4
    assert not list((tmp_path / 'run').glob('metric-*')) and 'left out' not in out
    asked.clear()
    c.metrics = ['fid10_full']
    assert run(c)  # goes on, and evaluates
    assert results(tmp_path / 'run', 'fid10_full')


# The best snapshot.

def test_the_best_snapshot_survives_resuming(data, tmp_path, scripted):
    scripted('other', 0.0, 0.0, 0.0, 0.0, 0.0, better=None)
    scripted('score', 5.0, 3.0, float('nan'), 4.0)
    c = measured(data, tmp_path / 'run', ['other', 'score'])
    assert not run(c, steps=18)  # in the third tick after the first
    best = json.loads((tmp_path / 'run' / 'best.json').read_text())
    assert best == dict(snapshot_pkl='network-snapshot-000000.pkl', kimg=best['kimg'], metric='score', key='score_key', value=3.0,
                        better='lower') and 0 < best['kimg'] < 0.9
    assert run(c)
    assert json.loads((tmp_path / 'run' / 'best.json').read_text()) == best
    assert [record['results']['score_key'] for record in results(tmp_path / 'run', 'score')] == [5.0, 3.0, None, 4.0]


def test_best_is_what_the_metric_says(tmp_path):
    for kimg in (4, 8, 12):
        (tmp_path / f'{kimg}.pkl').touch()
    for metric, values, kimg in [('fid5k_full', (3.0, 2.0, 2.0), 8), ('is5k', (3.0, None, 4.0), 12),
                                 ('pr5k3', (3.0, 2.0, 1.0), 4)]:
        best = Best(tmp_path, metric)  # what another metric found does not count
        wrote = [best.offer(dict(metric=metric, results={'a': value, 'b': 0.0}), f'{k}.pkl', k * 1000)
                 for k, value in zip((4, 8, 12), values, strict=True)]
        assert wrote[0] and best.read()['kimg'] == kimg and best.read()['key'] == 'a'
    (tmp_path / '4.pkl').unlink()
    assert Best(tmp_path, 'pr5k3').read() is None  # that snapshot is gone
    assert Best(tmp_path, 'pr5k3').offer(dict(results={'a': 0.5}), '8.pkl', 8000)
    for damaged in ('', '[]', '{"metric": "pr5k3", "better": "higher"}'):
        (tmp_path / 'best.json').write_text(damaged)
        assert Best(tmp_path, 'pr5k3').read() is None


# Several workers.

def train_with_failures(data, run_dir):
    """Metrics that fail in one worker only, and one that works, for which the workers share the images."""
    with pytest.MonkeyPatch.context() as patch:
        replace_detectors(patch, Path(run_dir).parent / 'cache')
        features, calls = StandIn.features, []

        def compute(self, images):
            calls.append(1)
            if self.name == 'vgg16' and distributed.rank() == 1:
                raise RuntimeError('no more memory')
            return features(self, images)

        patch.setattr(StandIn, 'features', compute)
        c = measured(data, run_dir, ['pr100_3_full', 'fid100_full'])
        Path(run_dir).mkdir(exist_ok=True)
        assert training_loop(c)


def test_a_failure_in_one_worker_is_one_of_all(data, tmp_path):
    launch(train_with_failures, [data, str(tmp_path / 'run')], 2, 'cpu')
    log = results(tmp_path / 'run', 'fid100_full')
    assert len(log) == 4 and {record['num_gpus'] for record in log} == {2}
    assert not results(tmp_path / 'run', 'pr100_3_full') and (tmp_path / 'run' / 'network-snapshot-000001.pkl').exists()
