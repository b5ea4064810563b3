"""Which images of a dataset show the same content in different domains: the truth for translations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dnnlib.errors import UserError
from metrics.context import Context
from metrics.domains import domain_images

FEWEST = 2  # contents: a single one cannot be confused with another
REMEDY = ('make a dataset that has every content in every domain: dataset_tool.py --source=glyphs --paired, or '
          '--source=mnist --domains=two-color --paired')


class Counterparts(NamedTuple):
    """dataset: item i is (uint8 [C, H, W], one-hot label). items: int64 [T, U]: row t holds the images of one content in all
    domains. contents: int64 [T], of each row; several rows may have one content, such as a digit."""

    dataset: Any
    items: np.ndarray
    contents: np.ndarray


def find(context: Context) -> Counterparts:
    """The true counterparts in the dataset of the context, without mirrored images.

    In a paired dataset (dataset_tool.py --paired), the domains of each source image follow each other. In other datasets, a
    content must have exactly one image in each domain. Raises UserError if the dataset has no contents, a domain lacks a content,
    a content has several images in a domain, or there are fewer than FEWEST rows.
    """
    dataset, num_domains = context.dataset.all_images(False), context.G.c_dim
    if dataset.content_dim == 0:
        raise UserError(f'{dataset.path}: does not know the content of its images, so that their true translations are unknown; '
                        f'{REMEDY}')
    if (tuples := domain_images.find_tuples(context)) is not None:
        dataset, items = tuples
        found = Counterparts(dataset, items, np.array([dataset.get_content(int(i)) for i in items[:, 0]]))
    else:
        found = _by_content(dataset, num_domains, domain_images.names_of_domains(context))
    if len(found.items) < FEWEST:
        raise UserError(f'{dataset.path}: has the true translations of {len(found.items)} content, and at least {FEWEST} are '
                        f'needed; {REMEDY}')
    return found


def _by_content(dataset: Any, num_domains: int, names: Sequence[str]) -> Counterparts:
    domain = domain_images.domain_of(dataset)
    contents = np.array([dataset.get_content(i) for i in range(len(dataset))])
    counts = Counter(zip(contents.tolist(), domain.tolist(), strict=True))
    there = np.unique(contents)
    missing = [(k, u) for k in there.tolist() for u in range(num_domains) if not counts[k, u]]
    if missing:
        k, u = missing[0]
        others = f', nor are {len(missing) - 1} others' if len(missing) > 1 else ''
        raise UserError(f'{dataset.path}: content {k} is not in domain {names[u]}{others}, so that the true translation is '
                        f'unknown; {REMEDY}')
    several = [(k, u) for (k, u), count in sorted(counts.items()) if count > 1]
    if several:
        k, u = several[0]
        raise UserError(f'{dataset.path}: has {counts[k, u]} images of content {k} in domain {names[u]}, so that it is unknown '
                        f'which one is the true translation; {REMEDY}')
    items = np.empty([len(there), num_domains], np.int64)
    items[np.searchsorted(there, contents), domain] = np.arange(len(dataset))
    return Counterparts(dataset, items, there)
