"""The infinite sampler: golden order, shares of ranks, resuming."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from torch_utils.sampler import InfiniteSampler

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'sampler.npz')
CASES = {case['key']: case for case in json.loads(str(GOLDEN['meta']))['cases']}


def take(count, size, **kwargs):
    return list(itertools.islice(InfiniteSampler(range(size), **kwargs), count))


@pytest.mark.parametrize('key', CASES)
def test_matches_golden(key):
    kwargs = {k: v for k, v in CASES[key].items() if k not in ('key', 'size')}
    assert take(len(GOLDEN[key]), CASES[key]['size'], **kwargs) == GOLDEN[key].tolist()


@pytest.mark.parametrize('size,shuffle,window', [(37, True, 0.5), (10, False, 0.5), (3, True, 0.2), (1, True, 1.0)])
def test_ranks_share_one_sequence(size, shuffle, window):
    kwargs = dict(seed=3, shuffle=shuffle, window_size=window)
    everything = take(120, size, **kwargs)
    for rank in range(3):
        assert take(40, size, rank=rank, num_replicas=3, **kwargs) == everything[rank::3]


@pytest.mark.parametrize('start', [0, 1, 2, 36, 37, 100, 70_000])
@pytest.mark.parametrize('shuffle', [True, False])
def test_resuming_continues_the_sequence(start, shuffle):
    everything = take(start + 60, 37, seed=1, shuffle=shuffle)
    assert take(60, 37, seed=1, shuffle=shuffle, start=start) == everything[start:]
    for rank in range(4):
        expected = [everything[t] for t in range(start, start + 60) if t % 4 == rank]
        assert take(15, 37, seed=1, shuffle=shuffle, start=start, rank=rank, num_replicas=4) == expected


def test_every_pass_starts_over_identically():
    sampler = InfiniteSampler(range(20), seed=5)
    assert list(itertools.islice(sampler, 50)) == list(itertools.islice(sampler, 50))


def test_without_a_window_every_pass_is_the_same_permutation():
    indices = take(30, 10, window_size=0)
    assert sorted(indices[:10]) == list(range(10))
    assert indices[:10] == indices[10:20] == indices[20:]


@pytest.mark.parametrize('kwargs', [dict(rank=2, num_replicas=2), dict(rank=-1), dict(window_size=1.5), dict(start=-1)])
def test_impossible_arguments_are_refused(kwargs):
    with pytest.raises(ValueError):
        InfiniteSampler(range(5), **kwargs)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match='empty'):
        InfiniteSampler([])
