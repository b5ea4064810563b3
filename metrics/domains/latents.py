"""The latents of real images of a dataset, for metrics of translation. They are found once for all metrics of a network. Results
of an optimisation are kept in the feature cache, batch by batch, so an interrupted evaluation resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from metrics.context import ENCODER, PROJECTION, TRAINED, Context
from metrics.domains import inversion
from metrics.features import extraction
from metrics.features.generation import sub_batches
from metrics.features.statistics import FeatureStats
from torch_utils import distributed
from torch_utils.misc import module_digest

BATCH = 32  # images per search: an interruption loses at most this many


class Latents(NamedTuple):
    """z: float32 [N, z_dim] on the device. errors: mean |G(z, own domain) - image| of values in [0, 1], float64 [N]. by: one of
    metrics.context.WAYS."""

    z: torch.Tensor
    errors: np.ndarray
    by: str


def way(context: Context) -> str:
    """One of metrics.context.WAYS, chosen by context.by; the same for all metrics of the network."""
    return context.together.once('way', lambda: distributed.broadcast_from_rank0(
        lambda: inversion.choose(context.by, context.G, context.D, context.device, context.encoder)))


def steps(context: Context) -> int:
    """Steps of the optimisation: of the projection, or that refine the latents of an encoder."""
    return inversion.default_steps(way(context)) if context.steps is None else context.steps


def network(context: Context) -> torch.nn.Module | None:
    """The network that gives latents directly; None for a projection."""
    return {ENCODER: context.D, TRAINED: context.encoder, PROJECTION: None}[way(context)]


def find(context: Context, dataset: Any, items: Sequence[int], text: str) -> Latents:
    """The latents of the images with these numbers in a dataset with one-hot labels. text: name for progress."""
    by, items = way(context), list(items)
    return context.together.once(f'latents by {by} of {_identity(dataset) or dataset.path} {_hash(dataset, items)}',
                                 lambda: _find(context, by, dataset, items, text))


def facts(context: Context, found: Sequence[Latents]) -> dict[str, Any]:
    """The facts in a record about the latents of a metric: how they were found, and how well they rebuild the images."""
    errors = np.concatenate([some.errors for some in found])
    error = float(errors.mean()) if len(errors) else math.nan
    taken = dict(steps=steps(context)) if steps(context) else {}
    which = dict(encoder=module_digest(context.encoder)[:8]) if found[0].by == TRAINED else {}
    return dict(by=found[0].by, **taken, **which, reconstruction_error=error if math.isfinite(error) else None)


def _find(context: Context, by: str, dataset: Any, items: list[int], text: str) -> Latents:
    context = dataclasses.replace(context, batch=min(context.batch, BATCH))
    search = _Search(context, dataset)
    stats = FeatureStats(capture_all=True, max_items=len(items))
    extraction.of_batches(context, len(items), lambda parts: (search(items[part]) for part in parts), lambda rows: rows, stats,
                          f'{text}, latents by {by}')
    rows = torch.from_numpy(distributed.broadcast_from_rank0(lambda: np.array(stats.features())))
    return Latents(rows[:, :-1].to(context.device), rows[:, -1].double().numpy(), by)


class _Search:
    """Items of a dataset -> rows [N, z_dim + 1] on the device: latents, and the error of each."""

    def __init__(self, context: Context, dataset: Any):
        self._context, self._dataset = context, dataset
        net, num_steps, identity = network(context), steps(context), _identity(dataset)
        self._find = inversion.make_finder(way(context), context.G, net, num_steps, context.seed)
        self._key = None
        if context.feature_cache is not None and num_steps > 0 and identity is not None:
            refined = {} if net is None else dict(encoder=module_digest(net))
            self._key = dict(latents=module_digest(context.G), images=identity, steps=num_steps, seed=context.seed,
                             device=context.device.type, **refined)

    def __call__(self, items: list[int]) -> torch.Tensor:
        key = None if self._key is None else self._key | dict(items=_hash(self._dataset, items))
        if key is not None and (known := self._context.feature_cache.load(key)) is not None:
            return torch.from_numpy(np.array(known.features())).to(self._context.device)
        rows = torch.cat([self._rows(part) for part in sub_batches(self._context, items)])
        if key is not None:
            stats = FeatureStats(capture_all=True, max_items=len(items))
            stats.append(rows.cpu())
            self._context.feature_cache.save(key, stats, name=f'{self._dataset.name}-latents')
        return rows

    def _rows(self, items: Sequence[int]) -> torch.Tensor:
        G, device = self._context.G, self._context.device
        pixels, labels = zip(*(self._dataset[i] for i in items), strict=True)
        x = torch.from_numpy(np.stack(pixels)).to(device, torch.float32) / 127.5 - 1
        c = torch.from_numpy(np.stack(labels)).to(device, torch.float32)
        z = self._find(x, c)
        return torch.cat([z, rebuilt_error(G, z, c, x)[:, None]], dim=1)


@torch.no_grad()
def rebuilt_error(G: torch.nn.Module, z: torch.Tensor, c: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mean |G(z, c) - x| of values in [0, 1], of images x [N, C, H, W] in [-1, 1]: [N]."""
    return (G(z, c, noise_mode='const').clamp(-1, 1) - x).abs().mean(dim=(1, 2, 3)) / 2


def _identity(dataset: Any) -> str | None:
    """Text that identifies the images of a dataset, without labels. None if the dataset has none."""
    return dataset.identity() if hasattr(dataset, 'identity') else None


def _hash(dataset: Any, items: Sequence[int]) -> str:
    """Hex digest of numbers of items, and of their labels."""
    labels = np.stack([dataset.get_label(i) for i in items])
    return hashlib.sha256(np.asarray(items, np.int64).tobytes() + labels.astype(np.float32).tobytes()).hexdigest()
