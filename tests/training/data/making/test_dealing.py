"""Contents that are held out, and the domains that show a content: the same for ever."""

import numpy as np

from training.data.making.dealing import deal

GOLDEN = [(content, [domain]) for content, domain in enumerate([2, 0, 1, 2, 0, 0, 2, 1, 2, 1, 1, 0])]


def deals(**options):
    return [(content, domains) for content, domains in deal(12, 3, np.random.RandomState(0), **options)]


def test_the_draw_of_a_seed_stays_the_same():
    assert deals() == GOLDEN
    assert deals(split='test') == [GOLDEN[i] for i in (0, 6)]
    assert deals(split='train') == [GOLDEN[i] for i in range(12) if i not in (0, 6)]
    assert deals(paired=True, split='test') == [(0, [0, 1, 2]), (6, [0, 1, 2])]


def test_groups_are_held_out_together():
    for seed in range(5):
        groups = ['a', 'b', 'a', 'c', 'b', 'd'] * 10
        test = {i for i, _ in deal(60, 2, np.random.RandomState(seed), split='test', groups=groups)}
        assert test == {i for i in range(60) if groups[i] == groups[min(test)]}
        assert {i for i, _ in deal(60, 2, np.random.RandomState(seed), split='train', groups=groups)} == set(range(60)) - test
