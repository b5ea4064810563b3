"""Real images drawn in other domains and in random styles, by a generator and their latents, for metrics of translation.

x' = G(z, u): an encoder or an optimisation finds the latent z of x (inversion.py). Its content is kept, and its style is random.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from metrics.context import ENCODER, PROJECTION, TRAINED, Context
from metrics.domains import domain_images, inversion, latents
from metrics.features.generation import Draws, sub_batches

STYLES = 600  # what random numbers are for
REMEDIES = {  # if latents do not rebuild their images
    ENCODER: 'was it trained with --method=clr-gan, long enough?',
    TRAINED: 'train it for longer, and with --data=<images like these>',
    PROJECTION: 'was the network trained long enough, and on images like these?',
}


def check(context: Context) -> None:
    """Raise UserError for fewer than 2 domains, a dataset that does not fit, and a network without the requested encoder."""
    domain_images.check(context)
    if context.by == 'encoder':
        inversion.choose(context.by, context.G, context.D, context.device, context.encoder)


@dataclass(frozen=True)
class Translations:
    """Images of domain `source` in domain `target`: number k is source image k // num_styles in its style k % num_styles.

    items: numbers of the source images in the dataset. num_styles: 1 if the whole latent is kept. latents: of the source images.
    Constant noise inputs. The styles of an image are the same for all targets.
    """

    context: Context
    dataset: Any
    items: Sequence[int]
    source: int
    target: int
    num_styles: int
    latents: latents.Latents

    def __len__(self) -> int:
        return len(self.items) * self.num_styles

    def reals(self, numbers: Sequence[int]) -> torch.Tensor:
        """The source images with these numbers within the domain: float32 [N, C, H, W] in [-1, 1] on the device."""
        pixels = np.stack([self.dataset[self.items[i]][0] for i in numbers])
        return torch.from_numpy(pixels).to(self.context.device, torch.float32) / 127.5 - 1

    @torch.no_grad()
    def images(self, numbers: Sequence[int]) -> torch.Tensor:
        """The translations of these numbers: float32 [N, C, H, W] on the device, nominally in [-1, 1]."""
        G, device = self.context.G, self.context.device
        one_hot = torch.eye(G.c_dim, device=device)
        drawn = []
        for part in sub_batches(self.context, numbers):
            z = self.latents.z[[k // self.num_styles for k in part]]
            if self.num_styles > 1:
                unique = [self.items[k // self.num_styles] * self.num_styles + k % self.num_styles for k in part]
                z = torch.where(G.mapping.style_mask(), Draws(self.context, unique, STYLES).normal(G.z_dim), z)
            drawn.append(G(z, one_hot[self.target].expand(len(z), -1), noise_mode='const'))
        return torch.cat(drawn)

    def read(self, parts: list[slice], group: int = 1) -> Iterator[torch.Tensor]:
        """For each slice of numbers, in units of `group` of them: the translations."""
        return (self.images(range(part.start * group, part.stop * group)) for part in parts)


def all_pairs(context: Context, num_images: int, num_styles: int) -> list[tuple[str, Translations]]:
    """Translations of the first num_images of each domain to each other domain, with their names: `<a>2<b>`.

    Raises UserError as `check` does, and if a domain has no image.
    """
    check(context)
    dataset, items = domain_images.real_images(context, full=True, least=1, most=num_images)
    return pairs_of(context, dataset, items, 1 if context.G.mapping.i_dim == 0 else num_styles)


def pairs_of(context: Context, dataset: Any, items: Sequence[Sequence[int]], num_styles: int) -> list[tuple[str, Translations]]:
    """The same of images of these numbers in each domain."""
    names = domain_images.names_of_domains(context)
    found = [latents.find(context, dataset, some, name) for name, some in zip(names, items, strict=True)]
    return [(f'{names[a]}2{names[b]}', Translations(context, dataset, items[a], a, b, num_styles, found[a]))
            for a, b in itertools.permutations(range(len(names)), 2)]


def facts(context: Context, pairs: list[tuple[str, Translations]]) -> dict[str, Any]:
    """How the latents were found, and how well they rebuild the images, for the record (latents.facts)."""
    return latents.facts(context, list({some.source: some.latents for _, some in pairs}.values()))


def rebuilding_note(key: str, pairs: list[tuple[str, Translations]], count: int = 16) -> tuple[str, ...]:
    """A note if the reconstructions of the first images of each domain are no closer to them, in mean square, than their mean
    image. A discriminator that was not trained to encode can have the right width by chance."""
    errors, spreads = [], []
    for some in {some.source: some for _, some in pairs}.values():
        numbers = range(min(count, len(some.items)))
        x = some.reals(numbers)
        rebuilt = replace(some, target=some.source, num_styles=1).images(numbers)
        errors.append(float((rebuilt - x).square().mean()))
        spreads.append(float((x - x.mean(dim=0)).square().mean()))
    if np.mean(errors) < np.mean(spreads):
        return ()
    by = pairs[0][1].latents.by
    return (f'{key}: the {by} does not find images again (mean square error {np.mean(errors):.3g}, their variance '
            f'{np.mean(spreads):.3g}), so that the translations are none; {REMEDIES[by]}',)


def examples(pairs: list[tuple[str, Translations]], count: int = 4, num_styles: int = 5) -> dict[str, np.ndarray]:
    """For each pair, source images and translations in several styles, in [-1, 1]: {pair: [count, 1 + num_styles, C, H, W]}."""
    found = {}
    for name, some in pairs:
        rows = range(min(count, len(some.items)))
        styles = min(num_styles, some.num_styles)
        numbers = [i * some.num_styles + j for i in rows for j in range(styles)]
        drawn = some.images(numbers).unflatten(0, (-1, styles))
        found[name] = torch.cat([some.reals(rows)[:, None], drawn], dim=1).cpu().numpy()
    return found


def draw(arrays: dict[str, np.ndarray], values: dict[str, float | None], key: str):
    """A figure: for each pair of domains, source images, and their translations beside them."""
    from metrics.domains.figures import show_sheet
    from metrics.plotting import new_figure
    rows, columns = next(iter(arrays.values())).shape[:2]
    width = min(len(arrays), 3)
    height = -(-len(arrays) // width)
    figure, cells = new_figure(height, width, width=1 + width * (0.6 * columns + 0.4), height=0.6 + height * (0.6 * rows + 0.6),
                               squeeze=False)
    for axes, (name, images) in zip(cells.flat, arrays.items(), strict=False):
        titles = ['real'] + [''] * (columns - 1)
        show_sheet(axes, images, [''] * rows, f'{name}: {values[f"{key}_{name}"]:.4g}', titles)
    for axes in cells.flat[len(arrays):]:
        axes.set_visible(False)
    figure.suptitle(f'{key}: {values[key]:.4g}; real images, and translations in several styles', fontsize='medium')
    return figure
