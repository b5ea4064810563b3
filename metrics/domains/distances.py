"""Fréchet and kernel distances in each domain: are all domains drawn equally well?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from metrics.context import Context, Result
from metrics.domains import domain_images
from metrics.features import extraction
from metrics.features.generation import to_uint8
from metrics.features.statistics import FeatureStats
from metrics.quality.frechet import frechet_distance, small_sample
from metrics.quality.kid import SUBSETS, kernel_distance
from metrics.quality.names import MOST_REALS
from torch_utils import distributed

EXAMPLES = 6


def distances(context: Context, key: str, num_gen: int, detector: str = 'inception', resize: str = 'published',
              full: bool = True, kernel: bool = False) -> Result:
    """Distance between features of the real images of a domain u and num_gen images G(z, u), for each u; and their mean.

    full: all real images of the domain, without mirrored ones (for the kernel distance, up to a million); else the first
    num_gen of each, mirrored ones as in training. kernel: the kernel distance (quality.kid), not Fréchet's (quality.frechet).
    The latents and noise inputs are the same in all domains.
    Values <key>_<domain> with names from the dataset (numbers if it has none), and first their mean, <key>_dommean.
    Raises UserError for fewer than 2 domains, a dataset that does not fit, and fewer than 2 images of a domain.
    """
    check(context)
    most = (MOST_REALS['kid'] if kernel else None) if full else num_gen
    dataset, items_of = domain_images.real_images(context, full, least=2, most=most)
    names = domain_images.names_of_domains(context)
    net = context.detector(detector, resize)
    found: list[float] = []
    notes: tuple[str, ...] = ()
    for u, (name, items) in enumerate(zip(names, items_of, strict=True)):
        real = extraction.of_dataset(context, net, dataset, items=items, mean_cov=not kernel, every=kernel, text=f'{name}, real')
        fake = extraction.of_generator(context, net, num_gen, mean_cov=not kernel, every=kernel, draw=drawing(context, u),
                                     text=f'{name}, generated')
        found.append(distributed.broadcast_from_rank0(lambda: _distance(context, real, fake, kernel)))  # noqa: B023 (called immediately)
        if not kernel:
            notes += small_sample(f'{key}_{name}', min(num_gen, len(items)), net.num_features)
    values: dict[str, float | None] = {f'{key}_dommean': float(np.mean(found))}
    values |= {f'{key}_{name}': value for name, value in zip(names, found, strict=True)}

    columns = min(EXAMPLES, num_gen, *map(len, items_of))
    arrays = {'real': np.stack([[dataset[items[k]][0] for k in range(columns)] for items in items_of]),
              'generated': to_uint8(domain_images.in_domains(context, range(columns))).transpose(0, 1).cpu().numpy()}
    return Result(values, arrays, lambda: draw(values, arrays, names, key), notes)


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `distances`."""
    domain_images.check(context)
    domain_images.real_images(context, full=True, least=2)


def drawing(context: Context, domain: int) -> Callable[[Sequence[int]], torch.Tensor]:
    """A function: numbers of latents -> images of the domain, uint8 [N, C, H, W]."""
    return lambda items: to_uint8(domain_images.in_domains(context, items, [domain])[:, 0])


def _distance(context: Context, real: FeatureStats, fake: FeatureStats, kernel: bool) -> float:
    if not kernel:
        return frechet_distance(*real.mean_cov(), *fake.mean_cov())
    return kernel_distance(real.features(), fake.features(), context.generator(SUBSETS), device=context.device)


def draw(values: dict[str, float | None], arrays: dict[str, np.ndarray], names: list[str], key: str):
    """A figure: the distance of each domain, with real and generated images; one latent in each column."""
    from metrics.domains.figures import as_floats, show_bars, show_sheet
    from metrics.plotting import new_figure
    rows, columns = arrays['real'].shape[:2]
    figure, (left, *sheets) = new_figure(1, 3, width=5 + 1.2 * columns, height=max(2.2, 1 + 0.6 * rows),
                                         width_ratios=[4.5, 0.6 * columns, 0.6 * columns])
    show_bars(left, names, [values[f'{key}_{name}'] for name in names], key)
    for axes, kind in zip(sheets, ('real', 'generated'), strict=True):
        show_sheet(axes, as_floats(arrays[kind]), names if kind == 'real' else [''] * rows, kind)
    return figure
