"""Do the coordinates of a network's latent match the known factors of rendered images? See docs/identifiability.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.context import ENCODER, PROJECTION, TRAINED, Context, Result
from metrics.domains import inversion, translations
from metrics.domains.classifier import apply, shrink
from metrics.domains.names import FAMILIES
from metrics.domains.regression import make_network
from metrics.features import extraction
from metrics.features.generation import Draws, sub_batches
from metrics.features.statistics import FeatureStats
from metrics.identifiability import figure
from metrics.identifiability.factors import Factor
from metrics.identifiability.inverse import recovered, train_inverse
from metrics.identifiability.measures import measures, principal_components
from torch_utils import distributed

CHOICE, SAMPLES, TRAINING, RANDOM, SHUFFLE = 800, 801, 802, 803, 804  # what random numbers are for
NUM_TRAINED, NUM_HELD_OUT = 5000, 500  # samples of the network for the regression, and for its test
MAKE = 'make one with dataset_tool.py --source=synthetic'
BASELINES = ('random', 'pca', 'shuffled')
FEWEST = FAMILIES['identifiability'].fewest
SOURCES = {ENCODER: 'the network', TRAINED: 'an encoder that was trained for the network',
           'regression': 'a regression on its samples'}  # of codes
FEW = 0.1  # of the variance of latents: below it, the codes are useless


class Codes(NamedTuple):
    """values: float32 [N, F], of real images. r2: accuracy for the latents of the network's own samples. by: 'encoder',
    'trained encoder' or 'regression'. images: the real images [N, C, H, W] at most 32 pixels wide."""

    values: np.ndarray
    r2: float
    by: str
    images: torch.Tensor


def identifiability(context: Context, key: str, num_gen: int) -> Result:
    """Measures of the latents of num_gen real images, against the factors from which the images were rendered.

    The latent is u [N, z_dim], after the flow and normalisation. CLR-GAN's discriminator finds it, if it works for the network's
    own samples. Otherwise, an encoder trained for the network finds it, under the same condition. Otherwise, and with
    by='projection', a regression is trained on such samples here. Mirrored images are not used.

    Values: those of metrics.identifiability.measures, and for each of them <name>_random, <name>_pca and <name>_shuffled: the
    same for an untrained network, principal components of the pixels, and the codes of other images; and
      code_r2   R² of the latents of the network's own samples, held out from training, as they are found in the images
    MCC excludes classes. It is None, with a note, if all factors are classes.
    Arrays: correlations float64 [z_dim, D] of codes and of factors, and style bool [z_dim].
    Facts: by, 'encoder', 'trained encoder' or 'regression'.
    Raises UserError for networks without domains, and datasets without factors or with too few images.
    """
    check(context)
    dataset = context.dataset.all_images(False)
    if len(dataset) < num_gen:
        fewer = f'ask for --metrics=identifiability{len(dataset)}, or ' if len(dataset) >= FEWEST else ''
        raise UserError(f'{dataset.path}: has {len(dataset)} images, but {key} takes {num_gen}; '
                        f'{fewer}{MAKE} --max-images={num_gen}')
    items = torch.randperm(len(dataset), generator=context.generator(CHOICE))[:num_gen].tolist()
    factors = known_factors(dataset, items)
    codes = find_codes(context, dataset, items)
    style = context.G.mapping.style_mask().cpu().numpy()
    values, arrays = distributed.broadcast_from_rank0(lambda: compare(context, codes, style, factors))
    notes = [f'{key}: codes by {SOURCES[codes.by]}, which finds {max(values["code_r2"], 0):.0%} of the variance of its latents']
    notes += left_out(key, factors)
    if values['code_r2'] < FEW:
        notes.append(f'{key}: so little of the latents shows in the images that the measures say next to nothing of the network')
    return Result(values, arrays, lambda: figure.draw(values, arrays, key), tuple(notes), dict(by=codes.by))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `identifiability`."""
    translations.check(context)
    if not getattr(context.dataset, 'factor_names', None):
        raise UserError(f'{context.dataset.path}: has no known factors, such as hue and position; {MAKE} or glyphs')


def known_factors(dataset: Any, items: Sequence[int]) -> list[Factor]:
    """The factors of these images, without constant ones. Raises UserError if none is left."""
    values = np.stack([dataset.get_factors(i) for i in items]).astype(np.float64)
    factors = [Factor(name, column, kind, role == 'style')
               for (name, kind, role), column in zip(dataset.factor_names, values.T, strict=True) if np.ptp(column) > 0]
    if not factors:
        raise UserError(f'{dataset.path}: its factors are the same in all images; {MAKE}')
    return factors


def left_out(key: str, factors: Sequence[Factor]) -> list[str]:
    """The note if MCC has no value because all factors, or all style factors, are classes."""
    for which, some in (('', factors), ('_style', [factor for factor in factors if factor.style])):
        if some and all(factor.kind == 'class' for factor in some):
            names = ', '.join(factor.name for factor in some)
            return [f'{key}: no mcc_...{which}, which is of numbers and circles: {names} are classes']
    return []


def find_codes(context: Context, dataset: Any, items: Sequence[int]) -> Codes:
    """Codes of real images, and how they were found. On other ranks than 0 arrays are empty."""
    def real(numbers: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(np.stack([dataset[items[i]][0] for i in numbers])).to(context.device, torch.float32) / 127.5 - 1

    def labels(numbers: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(np.stack([dataset.get_label(items[i]) for i in numbers])).to(context.device)

    small = _rows(context, len(items), lambda numbers: shrink(real(numbers)).flatten(start_dim=1), 'real images')
    images = _pictures(context, small)
    G, encoders = context.G, _encoders(context)
    for i, (by, net) in enumerate(encoders):
        r2 = _recovered_by(context, net)
        if r2 > 0 or (context.by != 'auto' and i == len(encoders) - 1):
            # mypy takes no lambda with a default
            found = _rows(context, len(items), lambda numbers, net=net: _encoded(context, net, real(numbers), labels(numbers)),  # type: ignore[misc]
                          'codes')
            return Codes(found, r2, by, images)

    def drawn(numbers: Sequence[int]) -> torch.Tensor:
        x, u, _ = sample(context, numbers)
        return torch.cat([u, shrink(x).flatten(start_dim=1)], dim=1)
    rows = _rows(context, NUM_TRAINED + NUM_HELD_OUT, drawn, 'samples')

    def train() -> tuple[np.ndarray, float]:
        latents = torch.from_numpy(rows[:, :G.z_dim]).to(context.device)
        inverse = train_inverse(_pictures(context, rows[:, G.z_dim:]), latents, NUM_HELD_OUT, context.generator(TRAINING),
                                lambda epochs: context.progress(epochs, 'regression'))
        return apply(inverse.net, images).cpu().numpy(), inverse.r2
    found, r2 = distributed.broadcast_from_rank0(train)
    return Codes(found, r2, 'regression', images)


def compare(context: Context, codes: Codes, style: np.ndarray, factors: list[Factor]) -> tuple[dict[str, float | None], dict]:
    """The measures of the codes and of the baselines, and the data of the figure."""
    count = codes.values.shape[1]
    shuffled = torch.randperm(len(codes.values), generator=context.generator(SHUFFLE)).numpy()
    net = make_network(codes.images.shape[1:], count, context.generator(RANDOM)).to(context.device).eval()
    rows = codes.images.flatten(start_dim=1).cpu().numpy()
    blocks = np.flatnonzero(~style), np.flatnonzero(style)
    values = measures(codes.values, *blocks, factors)
    for name, others in zip(BASELINES, (apply(net, codes.images).cpu().numpy(), principal_components(rows, count),
                                        codes.values[shuffled]), strict=True):
        # Other codes have no content and style columns, so the first columns stand for blocks of the same width.
        first, second = blocks if name == 'shuffled' else (np.arange(min(len(block), others.shape[1])) for block in blocks)
        values |= {f'{key}_{name}': value for key, value in measures(others, first, second, factors).items()}
    return values | dict(code_r2=codes.r2), figure.arrays(codes.values, style, factors)


@torch.no_grad()
def sample(context: Context, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The network's samples of these numbers: images [N, C, R, R], latents u [N, z_dim] and labels [N, c_dim]. Constant noise."""
    G = context.G
    images, latents, labels = [], [], []
    for part in sub_batches(context, numbers):
        draws = Draws(context, part, SAMPLES)
        z, c = draws.normal(G.z_dim), draws.labels(context.dataset)
        images.append(G(z, c, noise_mode='const'))
        latents.append(G.mapping.latent(z, c)[:, :G.z_dim])
        labels.append(c)
    return torch.cat(images), torch.cat(latents), torch.cat(labels)


def _encoders(context: Context) -> list[tuple[str, nn.Module]]:
    """The networks that may find latents, with their names in records. The first one that works is used."""
    asked = [TRAINED] if context.by == TRAINED else [] if context.by == PROJECTION else [ENCODER, TRAINED]
    networks = {ENCODER: context.D, TRAINED: context.encoder}
    return [(by, networks[by]) for by in asked if networks[by] is not None and networks[by].latent_dim == context.G.z_dim]


def _recovered_by(context: Context, net: nn.Module) -> float:
    """R² of the latents u of the network's samples, as an encoder finds them."""
    def both(numbers: Sequence[int]) -> torch.Tensor:
        x, u, c = sample(context, numbers)
        return torch.cat([_encoded(context, net, x, c), u], dim=1)
    pairs = _rows(context, NUM_HELD_OUT, both, 'samples')
    return distributed.broadcast_from_rank0(lambda: recovered(*map(torch.from_numpy, np.split(pairs, 2, axis=1))))


@torch.no_grad()
def _encoded(context: Context, net: nn.Module, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The latents u [N, z_dim] that an encoder finds in images of labels c."""
    return context.G.mapping.latent(inversion.encode(net, images, c), c)[:, :context.G.z_dim]


def _rows(context: Context, count: int, make: Callable[[Sequence[int]], torch.Tensor], text: str) -> np.ndarray:
    """make(numbers) of 0..count - 1 [count, W], shared among processes; rank 0 gets them, others nothing."""
    stats = FeatureStats(capture_all=True, max_items=count)
    extraction.of_batches(context, count, lambda parts: (make(range(part.start, part.stop)) for part in parts), lambda rows: rows,
                          stats, text)
    return np.array(stats.features()) if distributed.is_rank0() else np.zeros([0, 0], dtype=np.float32)


def _pictures(context: Context, rows: np.ndarray) -> torch.Tensor:
    """Images [N, C, H, W] on the device, of rows [N, C * H * W]."""
    shape = shrink(torch.zeros(1, *context.dataset.image_shape)).shape[1:]
    return torch.from_numpy(rows).to(context.device).reshape(-1, *shape)
