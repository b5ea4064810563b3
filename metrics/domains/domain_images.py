"""Images by domain: the same latents in every domain, real images of each, and real tuples of one content in all domains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import UserError
from metrics.context import Context
from metrics.domains import domains
from metrics.features import extraction
from metrics.features.generation import Draws, sub_batches, with_noise

TUPLES = 400  # what random numbers are for
NOT_PAIRED = 'make a paired dataset with dataset_tool.py --domains=<colors> --paired, of a source with class numbers'


def check(context: Context) -> None:
    """Raise UserError unless the network has at least 2 domains, and the dataset the same domains and shape of images."""
    extraction.check(context)
    domains.check(context)


def names_of_domains(context: Context) -> list[str]:
    """The names of the domains in the dataset, if they are all different; else their numbers."""
    names = context.dataset.domains or []
    return names if len(names) == len(set(names)) == context.G.c_dim else [str(u) for u in range(context.G.c_dim)]


def domain_of(dataset: Any) -> np.ndarray:
    """The domain of each item of a dataset with one-hot labels: int64 [N]."""
    return np.array([int(dataset.get_label(i).argmax()) for i in range(len(dataset))])


def real_images(context: Context, full: bool, least: int, most: int | None = None) -> tuple[Any, list[list[int]]]:
    """All images of the dataset, even if only a part was trained on, and the numbers of the images of each domain.

    full: without mirrored ones. most: use at most the first N of each domain. Raises UserError if a domain has fewer than
    `least`.
    """
    dataset = context.dataset.all_images(False if full else None)
    found = context.once(f'domain of items {full}', lambda: domain_of(dataset))
    items = [np.flatnonzero(found == u)[:most].tolist() for u in range(context.G.c_dim)]
    for name, some in zip(names_of_domains(context), items, strict=True):
        if len(some) < least:
            raise UserError(f'{dataset.path}: has {len(some)} image{"s" * (len(some) != 1)} of domain {name}, and the metric '
                            f'needs at least {least} of each; pass more of them')
    return dataset, items


@torch.no_grad()
def in_domains(context: Context, items: Sequence[int], which: Sequence[int] | None = None, purpose: int = TUPLES) -> torch.Tensor:
    """G(z, u) of the latents of these numbers for each domain u of `which`, by default all: [N, U, C, H, W] on the device.

    z ~ N(0, I), no truncation; random noise inputs, the same in all domains. purpose: as of Draws.
    """
    labels = torch.eye(context.G.c_dim, device=context.device)
    labels = labels if which is None else labels[list(which)]
    images = []
    for part in sub_batches(context, items, room=len(labels)):
        draws = Draws(context, part, purpose)
        z, noise = draws.normal(context.G.z_dim), draws.noise(context.G)
        images.append(torch.stack([with_noise(context.G, noise, z, c.expand(len(part), -1)) for c in labels], dim=1))
    return torch.cat(images)


class Tuples(NamedTuple):
    """A dataset of images of one content in all domains, side by side: item i is (uint8 [C, H, U W], None)."""

    dataset: Any
    items: np.ndarray  # [N, U]: numbers of the images of each tuple

    @property
    def name(self) -> str:
        return f'{self.dataset.name}-tuples'

    def identity(self) -> str:
        digest = hashlib.sha256(self.dataset.identity().encode() + np.asarray(self.items, np.int64).tobytes())
        return f'side by side {self.items.shape} {digest.hexdigest()}'

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[np.ndarray, None]:  # type: ignore[override]  # a dataset first, then a tuple
        return np.concatenate([self.dataset[int(k)][0] for k in self.items[i]], axis=2), None

    def read(self, context: Context, parts: Sequence[slice]) -> Iterator[torch.Tensor]:
        """For each slice of numbers, the images of the tuples: uint8 [N, U, C, H, W] on the device."""
        for images in extraction.read_images(context, self, [range(part.start, part.stop) for part in parts]):
            yield torch.stack(images.chunk(self.items.shape[1], dim=3), dim=1)


def find_tuples(context: Context) -> Tuples | None:
    """The tuples of the dataset; None if it is not paired."""
    try:
        return real_tuples(context, least=1)
    except UserError:
        return None


def real_tuples(context: Context, least: int) -> Tuples:
    """The tuples of a paired dataset, which dataset_tool.py --paired writes: the domains of one source image follow each other.

    Raises UserError if the dataset is not paired, has no contents, or has fewer than `least` tuples.
    """
    dataset, num_domains = context.dataset.all_images(False), context.G.c_dim
    if dataset.content_dim == 0:
        raise UserError(f'{dataset.path}: has no contents, which tell what images belong together; {NOT_PAIRED}')
    contents = np.array([dataset.get_content(i) for i in range(len(dataset))])
    items = np.arange(len(dataset) // num_domains * num_domains).reshape(-1, num_domains)
    complete = len(dataset) % num_domains == 0 and (domain_of(dataset)[items] == np.arange(num_domains)).all()
    if not complete or (contents[items] != contents[items[:, :1]]).any():
        raise UserError(f'{dataset.path}: is not paired: it does not hold every image in each of the {num_domains} domains, one '
                        f'after the other; {NOT_PAIRED}')
    if len(items) < least:
        raise UserError(f'{dataset.path}: has {len(items)} tuple{"s" * (len(items) != 1)}, and the metric needs at least '
                        f'{least}; pass more of them')
    return Tuples(dataset, items)


def side_by_side(images: torch.Tensor) -> torch.Tensor:
    """[N, U, C, H, W] -> [N, C, H, U W]."""
    return torch.cat(images.unbind(dim=1), dim=3)
