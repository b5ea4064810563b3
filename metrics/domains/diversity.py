"""Diversity: how different are images with one content in one domain and random styles?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dnnlib.errors import UserError
from metrics.context import Context, Result
from metrics.detectors import ALEXNET
from metrics.domains import domain_images, perceptual
from metrics.features import extraction
from metrics.features.generation import Draws, sub_batches, with_noise
from metrics.features.statistics import FeatureStats
from torch_utils import distributed

CONTENTS, STYLES = 500, 501  # what random numbers are for
EXAMPLES = 6


def diversity(context: Context, key: str, num_gen: int, detector: str = ALEXNET, num_styles: int = 10) -> Result:
    """Mean perceptual distance of the pairs among num_styles images that share the content, over num_gen contents.

    The mapping network's mask divides z into content and style. Each image has its own random noise inputs. No truncation.
    Contents and styles are the same in all domains.
    Values <key>_<domain>, and their mean, <key>. By LPIPS of AlexNet, or by another network, unweighted (perceptual.py).
    Raises UserError for fewer than 2 domains, a dataset that does not fit, and networks whose latents have no style.
    """
    check(context)
    names = domain_images.names_of_domains(context)
    embed = perceptual.embedder(context, detector)
    means = [_mean_of_domain(context, embed, u, name, num_gen, num_styles) for u, name in enumerate(names)]
    values = {key: float(np.mean(means)), **{f'{key}_{name}': mean for name, mean in zip(names, means, strict=True)}}
    examples = range(min(EXAMPLES, num_gen))
    arrays = {'images': torch.stack([restyled(context, examples, u, num_styles) for u in range(len(names))]).cpu().numpy()}
    return Result(values, arrays, lambda: draw(values, arrays['images'], names, key))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `diversity`."""
    domain_images.check(context)
    if context.G.mapping.i_dim == 0:
        raise UserError('every coordinate of this network\'s latent is content, so that there is no style to vary; train with '
                        '--method=i-stylegan or cg-gan')


def _mean_of_domain(context: Context, embed: perceptual.Embed, domain: int, name: str, count: int, num_styles: int) -> float:
    def read(parts: list[slice]) -> Iterator[torch.Tensor]:
        return (restyled(context, range(part.start, part.stop), domain, num_styles) for part in parts)

    stats = FeatureStats(capture_all=True, max_items=count)
    extraction.of_batches(context, count, read, lambda groups: perceptual.diversity_of(groups, embed)[:, None], stats,
                        f'{name}, contents')
    return distributed.broadcast_from_rank0(lambda: float(stats.features().mean(dtype=np.float64)))


@torch.no_grad()
def restyled(context: Context, items: Sequence[int], domain: int, num_styles: int) -> torch.Tensor:
    """Images of the contents of these numbers, each in num_styles styles: [N, S, C, H, W] on the device."""
    G, style = context.G, context.G.mapping.style_mask()
    images = []
    for part in sub_batches(context, items, room=num_styles):
        z = Draws(context, part, CONTENTS).normal(G.z_dim).repeat_interleave(num_styles, dim=0)
        draws = Draws(context, [i * num_styles + j for i in part for j in range(num_styles)], STYLES)
        z = torch.where(style, draws.normal(G.z_dim), z)
        c = torch.eye(G.c_dim, device=context.device)[domain].expand(len(z), -1)
        images.append(with_noise(G, draws.noise(G), z, c).unflatten(0, (-1, num_styles)))
    return torch.cat(images)


def draw(values: dict[str, float | None], images: np.ndarray, names: list[str], key: str):
    """A figure: contents, a row each, in several styles, for each domain. images: [U, N, S, C, H, W]."""
    from metrics.domains.figures import show_sheet
    from metrics.plotting import new_figure
    num_domains, rows, columns = images.shape[:3]
    figure, cells = new_figure(1, num_domains, width=0.3 + 0.5 * columns * num_domains, height=0.9 + 0.5 * rows, squeeze=False)
    for axes, name, some in zip(cells[0], names, images, strict=True):
        show_sheet(axes, some, [''] * rows, f'{name}: {values[f"{key}_{name}"]:.4g}')
        axes.set_xlabel('styles')
    cells[0, 0].set_ylabel('contents')
    figure.suptitle(f'{key}: {values[key]:.4g}', fontsize='medium')
    return figure
