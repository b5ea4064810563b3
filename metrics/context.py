"""The input and the result of a metric."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dnnlib.progress import Progress
from metrics.features.together import Together

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from metrics.features.cache import FeatureCache


WAYS_OR_AUTO = ('auto', 'encoder', 'projection')  # how latents of real images are to be found (metrics.domains.inversion),
ENCODER, TRAINED, PROJECTION = WAYS = ('encoder', 'trained encoder', 'projection')  # and how they were
STEPS = 200  # of a projection


class Interrupted(Exception):
    """Raised when an evaluation stops on request."""


@dataclass(frozen=True)
class Context:
    """The subject of an evaluation.

    G: generator on `device`, in eval mode; None if `images`, a dataset, replace its samples. D: its discriminator, or None.
    dataset: real images to compare with, with labels, or None. eval_data: their name in records if they are not the training
    images.
    training_set: then the training images, if available; generated images get labels drawn from it.
    by, encoder, steps: how to find latents of real images, of WAYS_OR_AUTO or WAYS; an encoder trained for G, or None; steps of
    an optimisation, None for the default of metrics.domains.inversion.
    seed: determines the result. verbose: show progress.
    cache: results of `once`, shared by the contexts of several networks with the same dataset and seed.
    batch: batch size of detectors. detectors: loaded detectors, shared by all contexts.
    detector_paths: weights by name of the detector, instead of the usual ones.
    feature_cache: keeps features of real images for later programs; None for no cache.
    together: shared statistics of all metrics of this network in its current state.
    stop: called periodically; once it is true, the evaluation ends with Interrupted.

    If ranks have joined a group (torch_utils.distributed), all compute the same metrics and share the work.
    """

    G: torch.nn.Module | None
    dataset: Any
    device: torch.device
    seed: int = 0
    verbose: bool = False
    cache: dict[str, Any] = field(default_factory=dict)
    D: torch.nn.Module | None = None
    batch: int = 64
    detectors: dict[tuple[str, str], Any] = field(default_factory=dict)
    detector_paths: Mapping[str, str] = field(default_factory=dict)
    feature_cache: FeatureCache | None = None
    together: Together = field(default_factory=Together)
    images: Any = None
    stop: Callable[[], bool] | None = None
    eval_data: str | None = None
    training_set: Any = None
    by: str = 'auto'
    encoder: torch.nn.Module | None = None
    steps: int | None = None

    @property
    def labels_of(self) -> Any:
        """The dataset whose labels generated images get: the training images if known, else `dataset`."""
        return self.dataset if self.training_set is None else self.training_set

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, called once for all contexts that share a cache. For results that do not depend on G."""
        if name not in self.cache:
            self.cache[name] = make()
        return self.cache[name]

    def detector(self, name: str, resize: str = 'published') -> Any:
        """The detector of this name (metrics.detectors), or AlexNet with its `lpips`, loaded once for all contexts that share
        `detectors`; the one trained on the dataset, once for contexts that share `cache`."""
        if (name, resize) not in self.detectors:
            from metrics.detectors import ALEXNET, OWN, load_detector, load_lpips
            if name == OWN:
                from metrics.detectors import own_training
                return self.once('own detector', lambda: own_training.load(self))
            path = self.detector_paths.get(name)
            self.detectors[name, resize] = (load_lpips('alex', self.device, path).net if name == ALEXNET else
                                            load_detector(name, self.device, path=path, resize=resize))
        return self.detectors[name, resize]

    def generator(self, *key: int) -> torch.Generator:
        """A CPU random number generator that depends only on the seed and `key`. The global generators are not used, so a metric
        does not change a training run."""
        import torch
        state = np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> 1))

    def latents(self, count: int, *key: int) -> torch.Tensor:
        """Seeded z ~ N(0, I): [count, z_dim] on the device."""
        import torch
        return torch.randn(count, self.G.z_dim, generator=self.generator(*key)).to(self.device)

    def count(self, text: str, total: int | None = None) -> Progress:
        """Progress that the caller counts: `with context.count('images', 100) as progress: progress.advance(10)`."""
        from torch_utils import distributed
        return Progress(text, total, self.verbose and distributed.is_rank0())

    def progress(self, items: Iterable, text: str, total: int | None = None) -> Iterator:
        """Iterate over `items`, with progress if verbose."""
        from torch_utils import distributed
        if total is None and hasattr(items, '__len__'):
            total = len(cast(Sized, items))
        with self.count(text, total) as progress:
            for item in items:
                if distributed.world_size() == 1:  # several ranks would have to agree on it, as features.of_batches does
                    self.check_stop()
                yield item
                progress.advance()

    def check_stop(self) -> None:
        """Raise Interrupted if the evaluation is to stop."""
        if self.stop is not None and self.stop():
            raise Interrupted


@dataclass(frozen=True)
class Result:
    """The result of a metric.

    values: name -> number; None where it is not defined. Written as JSON.
    arrays: what the figure shows, and more.
    draw: makes a matplotlib figure; None for metrics without a figure.
    notes: sentences for the user.
    facts: further entries of the record, such as how latents were found.
    """

    values: dict[str, float | None]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    draw: Callable[[], Figure] | None = None
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def batches(count: int, size: int) -> list[slice]:
    """Slices that cut `count` rows into parts of at most `size`."""
    edges = [*range(0, count, size), count]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
