"""Which contents are held out, and in which domains each content is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

HELD_OUT = 10  # one in N contents belongs to the test split


class Dealt(NamedTuple):
    """A content by its number, and the numbers of the domains that show it."""

    content: int
    domains: list[int]


def deal(contents: int, domains: int, rng: np.random.RandomState, paired: bool = False, split: str | None = None,
         groups: Sequence[Any] | None = None) -> list[Dealt]:
    """The contents of a split. Each is in one random domain, with equally many per domain; or in all domains if `paired`.

    Contents have the same numbers in both splits and in any pairing.
    contents, domains: how many. split: 'train' or 'test', which has every tenth content by a draw; None for all.
    groups: a key for each content; contents with the same key are held out together. None: no groups.
    """
    _, group_of = np.unique(np.arange(contents) if groups is None else np.array(groups), return_inverse=True)
    held_out = np.zeros(group_of.max(initial=-1) + 1, dtype=bool)
    held_out[rng.permutation(len(held_out))[::HELD_OUT]] = True
    domain_of = np.empty(contents, dtype=np.int64)
    domain_of[rng.permutation(contents)] = np.arange(contents) % domains
    return [Dealt(i, list(range(domains)) if paired else [int(domain_of[i])]) for i in range(contents)
            if split is None or held_out[group_of[i]] == (split == 'test')]
