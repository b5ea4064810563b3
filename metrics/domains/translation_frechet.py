"""Fréchet distance between translated images and real images of the target domain.

The protocol of Choi et al., "StarGAN v2", CVPR 2020: each source image in 10 random styles, all of them against all real images
of the target domain, for every ordered pair of domains. (They use another Inception, so values differ.)
"""

from __future__ import annotations

import numpy as np

from metrics.context import Context, Result
from metrics.domains import domain_images, translations
from metrics.features import extraction
from metrics.features.generation import to_uint8
from metrics.features.statistics import FeatureStats
from metrics.quality.frechet import frechet_distance, small_sample
from torch_utils import distributed


def translation_frechet(context: Context, key: str, num_gen: int, detector: str = 'inception', resize: str = 'published',
                        num_styles: int = 10) -> Result:
    """Fréchet distance between features of the first num_gen images of domain a, translated to domain b in num_styles styles
    each, and those of all images of b in the dataset; for all a and b.

    Values <key>_<a>2<b>, and their mean, <key>. Networks without style draw one translation of each image. Raises UserError for
    fewer than 2 domains, networks without the requested encoder, a dataset that does not fit, and fewer than 2 images of a
    domain.
    """
    check(context)
    pairs = translations.all_pairs(context, num_gen, num_styles)
    dataset, targets = domain_images.real_images(context, full=True, least=2)
    net = context.detector(detector, resize)
    found, notes = {}, translations.rebuilding_note(key, pairs)
    for name, some in pairs:
        real = extraction.of_dataset(context, net, dataset, items=targets[some.target], mean_cov=True,
                                   text=f'{name}, real')
        stats = FeatureStats(capture_mean_cov=True, max_items=len(some))
        extraction.of_batches(context, len(some), some.read, lambda images: net.features(to_uint8(images)), stats, name)
        found[f'{key}_{name}'] = distributed.broadcast_from_rank0(lambda: frechet_distance(*real.mean_cov(), *stats.mean_cov()))  # noqa: B023
        notes += small_sample(f'{key}_{name}', min(len(some), len(targets[some.target])), net.num_features)
    values = {key: float(np.mean(list(found.values()))), **found}
    arrays = translations.examples(pairs)
    return Result(values, arrays, lambda: translations.draw(arrays, values, key), notes,
                  translations.facts(context, pairs))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `translation_frechet`."""
    translations.check(context)
    domain_images.real_images(context, full=True, least=2)
