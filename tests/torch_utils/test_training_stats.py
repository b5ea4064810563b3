"""Statistics: means and spreads as NumPy computes them, and collectors that do not disturb each other."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from torch_utils import training_stats
from torch_utils.training_stats import Collector, report, report0

_count = itertools.count()


@pytest.fixture
def name():
    """A name that no other test reports."""
    return f'Test/{next(_count)}'


def test_mean_std_and_num_agree_with_numpy(name):
    collector = Collector()
    parts = [np.random.RandomState(i).randn(*shape).astype(np.float32) * 3 + 1
             for i, shape in enumerate([(4, 5), (7,), (1, 1, 2)])]
    for part in parts:
        report(name, torch.from_numpy(part))
    collector.update()
    values = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    assert collector.num(name) == len(values)
    assert collector.mean(name) == collector[name] == pytest.approx(values.mean(), rel=1e-5)
    assert collector.std(name) == pytest.approx(values.std(), rel=1e-5)
    assert collector.as_dict()[name] == dict(num=len(values), mean=collector.mean(name), std=collector.std(name))


@pytest.mark.parametrize('value, numbers', [
    (3, [3]), (2.5, [2.5]), (True, [1]), ([1, 2, 4], [1, 2, 4]), ([[1.0, 2], [3, 4]], [1, 2, 3, 4]), (np.float64(2), [2]),
    (np.arange(3), [0, 1, 2]), (torch.tensor(5), [5]), (torch.tensor([True, False]), [1, 0]),
    ([torch.tensor(1.), torch.tensor(3.)], [1, 3]),
    (torch.arange(4, dtype=torch.float16), [0, 1, 2, 3]), (torch.tensor([1., 2.], requires_grad=True), [1, 2])])
def test_all_kinds_of_values_are_counted_and_returned(name, value, numbers):
    collector = Collector()
    assert report(name, value) is value
    collector.update()
    assert (collector.num(name), collector.mean(name)) == (len(numbers), np.mean(numbers))
    assert collector.std(name) == pytest.approx(np.std(numbers), abs=1e-9)


def test_reporting_does_not_touch_gradients(name):
    x = torch.tensor([1., 2.], requires_grad=True)
    report(name, x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_only_what_came_since_the_last_update_counts(name):
    report(name, 100)
    collector = Collector()
    for value in (1, 2):
        report(name, value)
        assert collector.num(name) == value - 1  # as before, until it is updated
        collector.update()
        assert (collector.num(name), collector.mean(name)) == (1, value) or value == 2
    assert (collector.num(name), collector.mean(name)) == (1, 2)


@pytest.mark.parametrize('keep', [True, False])
def test_a_name_without_new_values_keeps_its_statistics_or_not(name, keep):
    collector = Collector(keep_previous=keep)
    report(name, [1, 3])
    collector.update()
    report(name + 'other', 1)
    report(name, [])
    collector.update()
    if keep:
        assert (collector.num(name), collector.mean(name), collector.std(name)) == (2, 2, 1)
    else:
        assert collector.num(name) == 0 and math.isnan(collector.mean(name)) and math.isnan(collector.std(name))
    assert collector.num(name + 'other') == 1


def test_an_empty_value_makes_the_name_known(name):
    collector = Collector()
    report(name, [])
    report(name + 'tensor', torch.zeros(0, 3))
    collector.update()
    assert {name, name + 'tensor'} <= set(collector.names())
    entry = collector.as_dict()[name]
    assert entry['num'] == 0 and math.isnan(entry['mean']) and math.isnan(entry['std'])


def test_names_come_in_the_order_of_their_first_report(name):
    for suffix in 'bab':
        report(name + suffix, 1)
    assert Collector(name + '.').names() == [name + 'b', name + 'a']


def test_collectors_do_not_disturb_each_other(name):
    fast, slow = Collector(), Collector()
    for value in (1, 2, 3):
        report(name, value)
        fast.update()
        assert (fast.num(name), fast.mean(name)) == (1, value)
    late = Collector()
    slow.update()
    late.update()
    assert (slow.num(name), slow.mean(name), late.num(name)) == (3, 2, 0)


def test_what_is_pending_can_be_taken_and_given_back(name):
    """As by a run that stops between two updates: a new collector goes on as the old one would have done."""
    old = Collector(name)
    report(name, 100)
    old.update()
    report(name, [1, 2.5])
    report(name, torch.tensor(4.0))
    pending = json.loads(json.dumps(old.pending()))
    assert old.mean(name) == 100  # taking it changes nothing
    new = Collector(name)
    report(name, 7)
    new.restore(pending)
    report(name, 0.5)
    new.update()
    old.update()
    assert (new.num(name), new.mean(name)) == (4, 2)
    assert (old.num(name), old.mean(name)) == (5, 3)
    assert old.pending() == new.pending() == {}


def test_a_restored_name_is_known(name):
    collector = Collector(name)
    report(name, [1, 2])
    pending = collector.pending()
    del training_stats._names[name]  # as in a new process
    collector.restore(pending)
    collector.update()
    assert collector.names() == [name] and collector.mean(name) == 1.5


def test_names_are_matched_in_full(name):
    collector = Collector(name)
    for suffix in ('', '/more', '2'):
        report(name + suffix, 1)
    report('x' + name, 1)
    collector.update()
    assert collector.names() == list(collector.as_dict()) == [name]
    assert collector.num(name) == 1 and collector.num(name + '2') == 0
    assert Collector(name + '.*').names() == [name, name + '/more', name + '2']


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), float('-inf')])
def test_what_is_not_finite_shows_and_is_gone_with_the_next_update(name, bad):
    collector = Collector()
    report(name, [1, bad])
    collector.update()
    assert collector.num(name) == 2 and math.isnan(collector.std(name))
    assert not math.isfinite(collector.mean(name))
    report(name, [1, 3])
    collector.update()
    assert (collector.mean(name), collector.std(name)) == (2, 1)


def test_one_value_has_no_spread(name):
    collector = Collector()
    report(name, 0.1)
    collector.update()
    assert collector.std(name) == 0


def test_equal_values_have_no_spread_or_next_to_none(name):
    collector = Collector()
    report(name, [1000.1] * 10)
    collector.update()
    assert 0 <= collector.std(name) < 1


def test_many_small_reports_lose_nothing(name):
    collector = Collector()
    report(name, 2.0 ** 24)
    for _ in range(100):
        report(name, 1)
    collector.update()
    assert collector.mean(name) * 101 == pytest.approx(2 ** 24 + 100, rel=1e-12)


def test_numbers_keep_their_precision(name):
    collector = Collector()
    report(name, 2 ** 24 + 1)
    collector.update()
    assert collector.mean(name) == 2 ** 24 + 1


def test_without_other_processes_report0_is_report(name):
    collector = Collector()
    assert report0(name, 4) == 4
    collector.update()
    assert (collector.num(name), collector.mean(name)) == (1, 4)


def test_later_processes_only_make_the_name_known(name, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'get_rank', lambda: 1)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 1)
    collector = Collector()
    assert report0(name, 4) == 4
    collector.update()
    assert collector.num(name) == 0 and name in collector.names()
