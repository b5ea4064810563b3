"""What a metric is given, and what it gives back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Context:
    """The subject of an evaluation.

    G: generator on `device`, in eval mode. D: the discriminator beside it, or None. dataset: what they were trained on, with
    labels; None where there is none.
    seed: fixes the result. verbose: show progress on a terminal. cache: results of `once`, to be shared by the contexts
    of several networks with the same dataset and seed.
    """

    G: torch.nn.Module
    dataset: Any
    device: torch.device
    seed: int = 0
    verbose: bool = False
    cache: dict[str, Any] = field(default_factory=dict)
    D: torch.nn.Module | None = None

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, made only once for all contexts that share a cache: for what does not depend on G."""
        if name not in self.cache:
            self.cache[name] = make()
        return self.cache[name]

    def generator(self, *key: int) -> torch.Generator:
        """A random number generator of the CPU that depends on the seed and on `key` alone. The global generators are
        left alone, so that a metric in the middle of a training changes nothing."""
        import torch
        state = np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> 1))

    def latents(self, count: int, *key: int) -> torch.Tensor:
        """Seeded z ~ N(0, I): [count, z_dim] on the device."""
        import torch
        return torch.randn(count, self.G.z_dim, generator=self.generator(*key)).to(self.device)

    def progress(self, items: Iterable, text: str, total: int | None = None) -> Iterable:
        """Iterate over `items`, with a progress bar if verbose and on a terminal."""
        return tqdm(items, desc=text, total=total, disable=None if self.verbose else True, leave=False)


@dataclass(frozen=True)
class Result:
    """What a metric found.

    values: name -> number; None where it is not defined. Written as JSON.
    arrays: what the figure shows, and more.
    draw: makes a matplotlib figure; None for metrics without one.
    notes: sentences for the user.
    """

    values: dict[str, float | None]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    draw: Callable[[], Figure] | None = None
    notes: tuple[str, ...] = ()


def batches(count: int, size: int) -> list[slice]:
    """Slices that cut `count` rows into parts of at most `size`."""
    edges = [*range(0, count, size), count]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
