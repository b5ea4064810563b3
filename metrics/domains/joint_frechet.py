"""Joint Fréchet distance: between tuples of images with the same content in all domains, instead of single images.

Unlike distances per domain, it also rises for a generator that draws each domain well, but with different contents for the same
latent. Xie et al., "Multi-domain image generation and translation with identifiability guarantees", ICLR
2023, report such a distance; how exactly they compute it is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from metrics.context import Context, Result
from metrics.domains import domain_images
from metrics.features import extraction
from metrics.features.generation import to_uint8
from metrics.quality.frechet import frechet_distance, small_sample
from torch_utils import distributed

EXAMPLES = 8


def joint_frechet(context: Context, key: str, num_gen: int, detector: str = 'inception', resize: str = 'published') -> Result:
    """Fréchet distance between features of all tuples of a paired dataset and of num_gen generated tuples.

    A tuple is one picture of the images of all domains side by side, [C, H, U W], which the detector resizes like any other
    image. Generated images of a tuple share latent and noise inputs. Value <key>.
    Raises UserError for fewer than 2 domains, and for a dataset that does not fit, or is not paired.
    """
    check(context)
    tuples = domain_images.real_tuples(context, least=2)
    net = context.detector(detector, resize)

    def generate(items: Sequence[int]) -> torch.Tensor:
        return domain_images.side_by_side(to_uint8(domain_images.in_domains(context, items)))

    real = extraction.of_dataset(context, net, tuples, mean_cov=True, text='real tuples')
    fake = extraction.of_generator(context, net, num_gen, mean_cov=True, draw=generate, text='generated tuples')
    value = distributed.broadcast_from_rank0(lambda: frechet_distance(*real.mean_cov(), *fake.mean_cov()))

    count = min(EXAMPLES, num_gen, len(tuples))
    arrays = {'real': np.stack([[tuples.dataset[int(i)][0] for i in row] for row in tuples.items[:count]]),
              'generated': to_uint8(domain_images.in_domains(context, range(count))).cpu().numpy()}
    names = domain_images.names_of_domains(context)
    return Result({key: value}, arrays, lambda: draw(arrays, names, f'{key}: {value:.4g}'),
                  small_sample(key, min(num_gen, len(tuples)), net.num_features))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `joint_frechet`."""
    domain_images.check(context)
    domain_images.real_tuples(context, least=2)


def draw(arrays: dict[str, np.ndarray], names: list[str], title: str):
    """A figure: real and generated tuples, each a column."""
    from metrics.domains.figures import as_floats, show_sheet
    from metrics.plotting import new_figure
    count, rows = arrays['real'].shape[:2]
    figure, cells = new_figure(1, 2, width=2 + 1.2 * count, height=1.1 + 0.6 * rows)
    for axes, kind in zip(cells, ('real', 'generated'), strict=True):
        show_sheet(axes, as_floats(arrays[kind]).swapaxes(0, 1), names if kind == 'real' else [''] * rows,
                   f'{kind}, a tuple in each column')
    figure.suptitle(title, fontsize='medium')
    return figure
