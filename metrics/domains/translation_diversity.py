"""Diversity of translations: how different are the translations of one image in different styles of the domain?

The protocol of Choi et al., "StarGAN v2", CVPR 2020: mean LPIPS distance of the pairs among 10 translations of each image.
"""

from __future__ import annotations

import numpy as np

from dnnlib.errors import UserError
from metrics.context import Context, Result
from metrics.detectors import ALEXNET
from metrics.domains import perceptual, translations
from metrics.features import extraction
from metrics.features.statistics import FeatureStats
from torch_utils import distributed


def translation_diversity(context: Context, key: str, num_gen: int, detector: str = ALEXNET, num_styles: int = 10) -> Result:
    """Mean perceptual distance (perceptual.py) of the pairs among num_styles translations of an image, over the first
    num_gen images of each domain.

    Values <key>_<a>2<b>, and their mean, <key>. Raises UserError for fewer than 2 domains, networks without style or without the
    requested encoder, and a dataset that does not fit.
    """
    check(context)
    pairs = translations.all_pairs(context, num_gen, num_styles)
    embed = perceptual.embedder(context, detector)
    found = {}
    for name, some in pairs:
        stats = FeatureStats(capture_all=True, max_items=len(some.items))
        extraction.of_batches(context, len(some.items), lambda parts: some.read(parts, num_styles),  # noqa: B023 (called immediately)
                            lambda images: perceptual.diversity_of(images.unflatten(0, (-1, num_styles)), embed)[:, None],
                            stats, name)
        found[f'{key}_{name}'] = distributed.broadcast_from_rank0(lambda: float(stats.features().mean(dtype=np.float64)))  # noqa: B023
    values = {key: float(np.mean(list(found.values()))), **found}
    arrays = translations.examples(pairs)
    return Result(values, arrays, lambda: translations.draw(arrays, values, key),
                  translations.rebuilding_note(key, pairs), translations.facts(context, pairs))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `translation_diversity`."""
    translations.check(context)
    if context.G.mapping.i_dim == 0:
        raise UserError('this network has one translation of an image to a domain: all of its latent is content; train with '
                        '--method=i-stylegan')
