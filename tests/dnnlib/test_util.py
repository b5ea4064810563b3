"""Dictionaries with attributes, durations in words, classes by name."""

import copy
import json
import pickle
from fractions import Fraction

import pytest

import dnnlib
from dnnlib.util import EasyDict, OptionError, UserError, construct_class_by_name, format_time


def test_items_are_attributes():
    d = EasyDict(a=1)
    d.b = 2
    assert (d.a, d['b'], d) == (1, 2, {'a': 1, 'b': 2})
    d['a'] = 3
    assert d.a == 3
    del d.a
    assert d == {'b': 2} and not hasattr(d, 'a')


def test_missing_attributes_are_attribute_errors():
    d = EasyDict()
    assert getattr(d, 'a', 5) == 5
    with pytest.raises(AttributeError, match='a'):
        d.a  # noqa: B018
    with pytest.raises(AttributeError, match='a'):
        del d.a


@pytest.mark.parametrize('duplicate', [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies_are_equal_and_of_the_same_kind(duplicate):
    d = EasyDict(a=EasyDict(b=[1, 2]))
    other = duplicate(d)
    assert other == d and other is not d and other.a.b == [1, 2]
    other.c = 1
    assert 'c' not in d
    assert json.loads(json.dumps(other)) == {'a': {'b': [1, 2]}, 'c': 1}


@pytest.mark.parametrize('seconds, text', [
    (0, '0s'), (42.4, '42s'), (59.4, '59s'), (59.6, '1m 00s'), (307, '5m 07s'), (3599.6, '1h 00m 00s'), (11_109, '3h 05m 09s'),
    (86_399.4, '23h 59m 59s'), (86_399.6, '1d 00h 00m'), (183_845, '2d 03h 04m'), (100 * 86_400, '100d 00h 00m')])
def test_durations_are_rounded_before_they_are_split(seconds, text):
    assert format_time(seconds) == text


def test_a_class_is_made_by_its_name():
    assert construct_class_by_name(3, class_name='fractions.Fraction', denominator=6) == Fraction(1, 2)
    with pytest.raises(UserError, match='no_such_package'):
        construct_class_by_name(class_name='no_such_package.Thing')
    with pytest.raises(UserError, match='fractions has no Thing'):
        construct_class_by_name(class_name='fractions.Thing')


def test_errors_know_their_exit_status():
    assert (UserError('x').exit_status, OptionError('x').exit_status) == (1, 2)
    assert issubclass(OptionError, UserError)
    assert dnnlib.UserError is UserError and dnnlib.EasyDict is EasyDict
