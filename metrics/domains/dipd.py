"""Domain-invariant perceptual distance: do the features of an image keep their content from domain to domain?

The features are those of the last convolutions of VGG16, without the mean and variance of each map, which mainly carry colour and
texture (Huang et al., "Multimodal Unsupervised Image-to-Image Translation", ECCV 2018; as a metric: Liu et al., "Few-Shot
Unsupervised Image-to-Image Translation", ICCV 2019).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.domains import domain_images
from metrics.features import extraction
from metrics.features.generation import to_uint8
from metrics.features.statistics import FeatureStats
from torch_utils import distributed

EXAMPLES = 8


def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Euclidean distances of maps of features [N, C, h, w], each map brought to zero mean and unit variance: [N].

    0 for equal maps, even if scaled and shifted; about sqrt(2 C h w) for unrelated maps.
    """
    a, b = (torch.nn.functional.instance_norm(x.to(torch.float32)) for x in (a, b))
    return (a - b).square().sum(dim=(1, 2, 3)).sqrt()


def dipd(context: Context, key: str, num_gen: int, detector: str = 'vgg16') -> Result:
    """Mean distance between the images of one latent in two domains, over num_gen latents and all pairs of domains.

    The images of a latent share its noise inputs. detector: vgg16, with its maps relu5_3; or efficientnet, with its last maps of
    the same resolution, a sixteenth of its input.
    Values:
      <key>             that mean. Lower is better, but it is also low for a generator that ignores its latents
      <key>_different   the same for two different latents: the value if no content is kept. None for one latent
      <key>_relative    the first divided by the second: 0, all is kept; 1, nothing. None if all latents give the same images
      <key>_real        with a paired dataset: the first, of up to num_gen real tuples, whose content is the same
      <key>_<a>_<b>     with more than 2 domains: the first, of each pair of domains
    Arrays: same, different: the distances [num_gen, pairs]; images [8, U, C, H, W].
    Raises UserError for fewer than 2 domains, and a dataset that does not fit.
    """
    domain_images.check(context)
    net, names = context.detector(detector), domain_images.names_of_domains(context)
    pairs = list(itertools.combinations(range(context.G.c_dim), 2))

    def maps(images: torch.Tensor) -> torch.Tensor:  # uint8 [n, U, C, H, W] -> [n, U, C, h, w]
        flat = images.flatten(end_dim=1)
        parts = (flat[part] for part in batches(len(flat), context.batch))
        found = [net.conv5(x) if detector == 'vgg16' else net.feature_maps(x)[-2] for x in parts]
        return torch.cat(found).unflatten(0, images.shape[:2])

    def between_domains(found: torch.Tensor) -> torch.Tensor:  # [n, U, C, h, w] -> [n, pairs]
        return torch.stack([distances(found[:, a], found[:, b]) for a, b in pairs], dim=1)

    # One item is two latents, number 2 i and 2 i + 1. Each is compared with itself and with the other.
    def read(parts: list[slice]) -> Iterator[torch.Tensor]:
        numbers = (range(2 * part.start, min(2 * part.stop, num_gen)) for part in parts)
        return (to_uint8(domain_images.in_domains(context, some)) for some in numbers)

    def compute(images: torch.Tensor) -> torch.Tensor:
        found, count = maps(images), len(images)
        alone = count % 2
        others = torch.arange(count, device=images.device) ^ 1
        same = between_domains(found)
        different = same.new_full(same.shape, torch.nan)
        for column, (a, b) in enumerate(pairs):
            different[:count - alone, column] = distances(found[:count - alone, a], found[others[:count - alone], b])
        rows = torch.cat([same, different], dim=1)
        return torch.cat([rows, rows.new_full([alone, rows.shape[1]], torch.nan)]).reshape(-1, 2 * rows.shape[1])

    num_items = -(-num_gen // 2)
    stats = FeatureStats(capture_all=True, max_items=num_items)
    extraction.of_batches(context, num_items, read, compute, stats, 'pairs of latents')
    rows = distributed.broadcast_from_rank0(lambda: np.array(stats.features()))
    same, different = rows.reshape(2 * num_items, 2, len(pairs))[:num_gen].swapaxes(0, 1)

    values: dict[str, float | None] = {key: float(same.mean(dtype=np.float64)), f'{key}_different': None, f'{key}_relative': None}
    if num_gen > 1:
        values[f'{key}_different'] = float(np.nanmean(different, dtype=np.float64))
        values[f'{key}_relative'] = values[key] / values[f'{key}_different'] if values[f'{key}_different'] else None
    if (real := domain_images.find_tuples(context)) is not None:
        count = min(num_gen, len(real))
        stats = FeatureStats(capture_all=True, max_items=count)
        extraction.of_batches(context, count, lambda parts: real.read(context, parts), lambda x: between_domains(maps(x)), stats,
                            'real tuples')
        values[f'{key}_real'] = distributed.broadcast_from_rank0(lambda: float(stats.features().mean(dtype=np.float64)))
    if len(pairs) > 1:
        values |= {f'{key}_{names[a]}_{names[b]}': float(same[:, i].mean(dtype=np.float64)) for i, (a, b) in enumerate(pairs)}
    images = domain_images.in_domains(context, range(min(EXAMPLES, num_gen))).cpu().numpy()
    arrays = {'same': same, 'different': different, 'images': images}
    return Result(values, arrays, lambda: draw(values, arrays, names, key))


def draw(values: dict[str, float | None], arrays: dict[str, np.ndarray], names: list[str], key: str):
    """A figure: some latents in all domains, with their distance (mean over pairs of domains); and distances of all of them,
    beside those of different latents."""
    from metrics.domains.figures import show_sheet
    from metrics.plotting import new_figure
    images, same = arrays['images'], arrays['same'].mean(axis=1)
    figure, (left, right) = new_figure(1, 2, width=5 + 0.6 * len(images), height=max(3, 1 + 0.6 * len(names)),
                                       width_ratios=[0.6 * len(images), 4])
    show_sheet(left, images.swapaxes(0, 1), names, 'one latent in each column', [f'{x:.0f}' for x in same[:len(images)]])
    left.set_xlabel('distance')
    different = arrays['different'].ravel()
    different = different[~np.isnan(different)]
    bins = np.histogram_bin_edges(np.concatenate([arrays['same'].ravel(), different]), bins=40)
    for values_of, color, label in ((arrays['same'].ravel(), 'tab:blue', 'same latent'),
                                    (different, 'tab:gray', 'different latents')):
        if len(values_of):
            right.hist(values_of, bins, color=color, alpha=0.6, density=True, label=f'{label}, mean {values_of.mean():.4g}')
    right.set(xlabel=key, yticks=[], ylabel='share', xlim=(0, None))
    right.legend(frameon=False, fontsize='small', loc='lower left', bbox_to_anchor=(0, 1))
    return figure
