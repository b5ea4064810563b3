"""The rules that tell what is wrong with a run, each on histories that show the trouble and on those that nearly do."""

import json

import pytest

from dnnlib.util import OptionError
from training.run import symptoms
from training.run.symptoms import LONG, NOW, RULES, SHORT, Settings
from training.run.watch import Watch

PLAIN, ADA = Settings(gamma=0.5, adapts=False, workers=3), Settings(gamma=0.5, adapts=True, workers=3)
SCORES = {'Loss/scores/real': 1.0, 'Loss/scores/fake': -1.0}
HEALTHY = {**SCORES, 'Loss/signs/real': 0.6, 'Progress/augment': 0.3, 'Health/variety': 0.9, 'Health/held_out': 0.1,
           'Health/zero_gradients': 0.001, 'Timing/data_wait_percent': 1.0, 'Progress/style_dims': 3.0}
TROUBLES = [  # rule, settings, statistics of the ticks, ticks that show it, part of the remedy
    ('overfitting', PLAIN, {'Loss/signs/real': 0.96}, LONG, '--aug=ada'),
    ('overfitting', ADA, {'Health/held_out': 0.75}, LONG, 'held-out'),
    ('gamma', PLAIN, {'Loss/scores/real': 0.02, 'Loss/scores/fake': 0.01}, LONG, 'lower --gamma, such as --gamma=0.05'),
    ('gamma', PLAIN, {'Loss/scores/real': 20.0, 'Loss/scores/fake': -20.0}, LONG, 'raise --gamma, such as --gamma=5'),
    ('collapse', PLAIN, {'Health/variety': 0.4}, LONG, '--seed'),
    ('style', PLAIN, {'Progress/style_dims': 0.0}, NOW, '--lambda-sparse'),
    ('augmentation', ADA, {'Progress/augment': 0.85}, LONG, '--target'),
    ('underflow', PLAIN, {'Health/zero_gradients': 0.2}, SHORT, '--precision'),
    ('data', PLAIN, {'Timing/data_wait_percent': 40.0}, SHORT, '--workers (now 3)'),
]


def ticks(*statistics, kimg=2.0):
    """A history, with a tick every `kimg`."""
    return [{**values, 'Progress/kimg': i * kimg} for i, values in enumerate(statistics)]


@pytest.mark.parametrize('rule, settings, values, span, remedy', TROUBLES)
def test_each_rule_holds_when_all_of_its_ticks_show_the_trouble(rule, settings, values, span, remedy):
    bad = {**HEALTHY, **values}
    found = symptoms.find(ticks(*[bad] * span.ticks), settings)
    assert list(found) == [rule] and remedy in found[rule] and '\n' not in found[rule]
    assert symptoms.find(ticks(*[bad] * (span.ticks - 1)), settings) == {}
    assert rule not in symptoms.find(ticks(*[bad] * (span.ticks - 1), HEALTHY), settings)
    unknown = {name: value for name, value in bad.items() if name not in values}
    assert rule not in symptoms.find(ticks(*[unknown] * span.ticks), settings)


def test_slow_troubles_need_some_images_beside_ticks():
    bad = {**HEALTHY, 'Health/variety': 0.4}
    assert 'collapse' in symptoms.find(ticks(*[bad] * LONG.ticks, kimg=1.1), PLAIN)
    assert symptoms.find(ticks(*[bad] * LONG.ticks, kimg=0.1), PLAIN) == {}


def test_all_rules_are_tested():
    assert {rule for rule, *_ in TROUBLES} == set(RULES)


@pytest.mark.parametrize('settings', [PLAIN, ADA])
def test_no_rule_holds_for_a_healthy_run(settings):
    assert symptoms.find(ticks(*[HEALTHY] * 100), settings) == {}


def test_ada_gets_time_to_react_to_overfitting():
    assert symptoms.find(ticks(*[{**HEALTHY, 'Loss/signs/real': 0.99}] * LONG.ticks), ADA) == {}


def test_variety_that_falls_is_noticed_immediately_and_a_slow_start_is_not():
    young = [{**HEALTHY, 'Health/variety': v} for v in (0.3, 0.35, 0.4, 0.6, 0.9)]
    assert symptoms.find(young, PLAIN) == {}
    found = symptoms.find([*young, {**HEALTHY, 'Health/variety': 0.4}], PLAIN)
    assert '40% as much' in found['collapse'] and 'after 90%' in found['collapse']


@pytest.mark.parametrize('text, names', [(None, []), ('gamma,data', ['gamma', 'data']), ('any', list(RULES))])
def test_rules_that_stop_a_run_are_named(text, names):
    assert symptoms.parse(text) == names


def test_unknown_rules_are_refused():
    with pytest.raises(OptionError, match="--stop-on: unknown 'gama'; choose from overfitting, gamma"):
        symptoms.parse('data,gama')


# --- Over a run ---


def line(kimg, **values):
    return {name: dict(num=1, mean=value) for name, value in {'Progress/kimg': kimg, **HEALTHY, **values}.items()}


@pytest.fixture
def watch(tmp_path):
    """Makes a watch over the statistics of these ticks, each of 1 kimg."""
    def make(ticks, stop_on=()):
        (tmp_path / 'stats.jsonl').write_text(''.join(json.dumps(tick) + '\n' for tick in ticks))
        said = []
        made = Watch(tmp_path, len(ticks) * 1000, dict(stop_on=stop_on), said.append)
        made.said = said
        return made
    return make


def test_a_trouble_is_told_once_while_it_lasts_and_again_when_it_comes_back(watch, tmp_path):
    w = watch([])
    slow, fine = line(1, **{'Timing/data_wait_percent': 60.0}), line(1)
    for tick, stats in enumerate([slow] * (SHORT.ticks + 2) + [fine] + [slow] * SHORT.ticks):
        w.look(stats, (tick + 1) * 1000)
    assert [said.split(': ')[:2] for said in w.said] == [['warning', 'data']] * 2
    records = [json.loads(record) for record in (tmp_path / 'health.jsonl').open()]
    assert [(record['kimg'], record['rule']) for record in records] == [(5, 'data'), (13, 'data')]
    assert w.stopped_by is None


def test_a_resumed_run_remembers_the_ticks_before(watch, tmp_path):
    slow = line(1, **{'Timing/data_wait_percent': 60.0})
    (tmp_path / 'health.jsonl').write_text(''.join(json.dumps(dict(kimg=kimg, rule='data', text='')) + '\n' for kimg in (5, 9)))
    w = watch([slow] * (SHORT.ticks - 1))
    assert w.look(slow, 5000).keys() == {'data'}
    w = watch([slow] * SHORT.ticks)
    assert w.look(slow, 6000) == {} and w.said == []  # was said before the run was interrupted
    kept = [json.loads(record)['kimg'] for record in (tmp_path / 'health.jsonl').open()]
    assert kept == [5]  # 9 kimg come again


def test_a_run_is_stopped_by_the_rules_that_are_named(watch):
    slow = line(1, **{'Timing/data_wait_percent': 60.0})
    for stop_on, stops in ((['gamma'], False), (['gamma', 'data'], True)):
        w = watch([slow] * (SHORT.ticks - 1), stop_on)
        w.look(slow, 5000)
        assert (w.stopped_by or '').startswith('--stop-on=data: 60% of the time') is stops
    w.look(line(6), 6000)
    assert w.stopped_by is None


def test_what_is_not_finite_says_nothing(watch):
    w = watch([])
    broken = {**line(1), 'Health/variety': dict(num=1, mean=float('nan')), 'Loss/scores/real': dict(num=1, mean=None)}
    for tick in range(LONG.ticks + 1):
        w.look(broken, tick * 1000)
    assert w.said == []
