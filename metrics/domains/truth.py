"""Translations compared with the truth: the image of the same content in the other domain, if the dataset has it.

dataset_tool.py --source=glyphs --paired draws each character in all typefaces, --domains=<colours> --paired each digit in all
colours. The error of a translation is therefore its distance from one known image, not from a distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from metrics.context import Context, Result
from metrics.domains import counterparts, domain_images, translations
from metrics.domains.counterparts import Counterparts
from metrics.domains.translations import Translations
from metrics.features import extraction
from metrics.features.generation import to_uint8
from metrics.features.statistics import FeatureStats
from torch_utils import distributed

RANDOM = 800  # what random numbers are for
EXAMPLES = 8
ERRORS = ('', '_identity', '_mean', '_random')  # of the translation, and of the baselines that it must beat
PIXELS = (*ERRORS, '_content', '_content_identity')  # columns of what is found for each source image


def truth(context: Context, key: str, num_gen: int, detector: str | None = None) -> Result:
    """Distance of translations from the true images of the same content, for every ordered pair of domains.

    The first num_gen contents of the dataset are translated from each domain to each other domain. The whole latent is kept; only
    the label changes. Images are rounded to bytes, as in files. A pixel error is mean |Δ| of values in [0, 1].
    Values, means over the pairs:
      <key>                   pixel error of the translation
      <key>_identity          of the source image itself: the error of doing nothing
      <key>_mean              of the mean of all true images of the target domain: the error of ignoring the content
      <key>_random            of a true image of the target domain of another row, drawn at random
      <key>_content           share of translations whose nearest true image of the target domain, in mean square, has their
                              content
      <key>_content_identity  the same of the source images themselves
      <key>_content_chance    the share of true images that have the content: 1/K for K contents of one image each
      <key>_rebuilt           pixel error of the reconstruction in the own domain, by the same latent
      <key>_features, and with _identity, _mean, _random   with a detector: mean Euclidean distances of its features
      <key>_<a>2<b>, <key>_content_<a>2<b>   the first and <key>_content of each pair
    Arrays: for each pair, [8, 3, C, H, W] in [-1, 1]: source, translation, truth.
    Raises UserError as counterparts.find and translations.check do.
    """
    check(context)
    found = counterparts.find(context)
    names = domain_images.names_of_domains(context)
    sources = [found.items[:num_gen, u].tolist() for u in range(context.G.c_dim)]
    pairs = translations.pairs_of(context, found.dataset, sources, num_styles=1)
    true = context.once('true images', lambda: [_read(context, found, u, name) for u, name in enumerate(names)])
    # mypy takes no lambda with a default
    rows = {name: _gather(context, some,
                          lambda part, some=some: _of_pixels(context, found, true, some, part),  # type: ignore[misc]
                          'translations')
            for name, some in pairs}

    values: dict[str, float | None] = {f'{key}{kind}': _mean(rows, column) for column, kind in enumerate(PIXELS)}
    frequency = np.mean(found.contents[:num_gen, None] == found.contents)
    values |= {f'{key}_content_chance': float(frequency), f'{key}_rebuilt': None}
    facts = translations.facts(context, pairs)
    values[f'{key}_rebuilt'] = facts['reconstruction_error']
    if detector is not None:
        values |= _features(context, key, detector, found, true, pairs)
    for column, kind in ((PIXELS.index(''), ''), (PIXELS.index('_content'), '_content')):
        values |= {f'{key}{kind}_{name}': float(some[:, column].mean(dtype=np.float64)) for name, some in rows.items()}
    arrays = {name: _examples(true, some) for name, some in pairs}
    return Result(values, arrays, lambda: draw(arrays, values, key), translations.rebuilding_note(key, pairs), facts)


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `truth`."""
    translations.check(context)
    counterparts.find(context)


def _read(context: Context, found: Counterparts, domain: int, name: str) -> torch.Tensor:
    """The true images of a domain: uint8 [T, C, H, W] on the CPU."""
    items = context.progress(found.items[:, domain].tolist(), f'{name}, true images')
    return torch.from_numpy(np.stack([found.dataset[i][0] for i in items]))


def _gather(context: Context, some: Translations, rows_of: Callable[[slice], torch.Tensor], text: str) -> np.ndarray:
    """The results of rows_of for slices of the translations, computed by all ranks together: float32 [N, F] on each rank."""
    stats = FeatureStats(capture_all=True, max_items=len(some))
    extraction.of_batches(context, len(some), lambda parts: map(rows_of, parts), lambda rows: rows, stats, text)
    return distributed.broadcast_from_rank0(lambda: np.array(stats.features()))


def _mean(rows: dict[str, np.ndarray], column: int) -> float:
    return float(np.mean([some[:, column].mean(dtype=np.float64) for some in rows.values()]))


def _of_pixels(context: Context, found: Counterparts, true: Sequence[torch.Tensor], some: Translations, part: slice
               ) -> torch.Tensor:
    """The columns PIXELS of the translations of a slice: [N, 6]. In float64 on the CPU, so equal images have distance 0."""
    numbers = range(part.start, part.stop)
    gallery = true[some.target]
    drawn = to_uint8(some.images(numbers)).cpu()
    source, wanted, average = true[some.source][part], gallery[part], gallery.double().mean(dim=0)
    other = gallery[others(context, len(gallery), some)[part]]
    errors = [(x.double() - wanted.double()).abs().mean(dim=(1, 2, 3)) / 255 for x in (drawn, source, average[None], other)]
    contents = torch.from_numpy(found.contents)
    right = [(contents[nearest(x, gallery)] == contents[part]).double() for x in (drawn, source)]
    return torch.stack([*errors, *right], dim=1).to(context.device, torch.float32)


def nearest(images: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Numbers of the images of the gallery, uint8 [T, C, H, W], that are nearest to images [N, C, H, W] in mean square: [N]."""
    a, b = images.flatten(1).double(), gallery.flatten(1).double()
    return (b.square().sum(dim=1) - 2 * a @ b.T).argmin(dim=1)


def others(context: Context, count: int, some: Translations) -> torch.Tensor:
    """For each of the first len(some) of `count` rows, the number of another one, drawn at random."""
    steps = torch.randint(1, count, [len(some)], generator=context.generator(RANDOM, some.source, some.target))
    return (torch.arange(len(some)) + steps) % count


def _features(context: Context, key: str, detector: str, found: Counterparts, true: Sequence[torch.Tensor],
              pairs: list[tuple[str, Translations]]) -> dict[str, float | None]:
    """Distances as those of ERRORS, of features."""
    net = context.detector(detector)
    of_true = []
    for u in range(context.G.c_dim):
        stats = extraction.of_dataset(context, net, found.dataset, items=found.items[:, u].tolist(), every=True,
                                      text='true images, features')
        rows = distributed.broadcast_from_rank0(lambda: np.array(stats.features()))  # noqa: B023 (called immediately)
        of_true.append(torch.from_numpy(rows).double())
    distances = []
    for _, some in pairs:
        drawn = _gather(context, some,
                        lambda part, some=some: net.features(to_uint8(some.images(range(part.start, part.stop)))),  # type: ignore[misc]
                        'features')
        gallery, count = of_true[some.target], len(some)
        average = (true[some.target].double().mean(dim=0) + 0.5).byte()[None].to(context.device)
        average = distributed.broadcast_from_rank0(lambda: net.features(average).cpu().numpy())  # noqa: B023 (called immediately)
        rows = (torch.from_numpy(drawn).double(), of_true[some.source][:count], torch.from_numpy(average).double(),
                gallery[others(context, len(gallery), some)])
        distances.append([float((row - gallery[:count]).norm(dim=1).mean()) for row in rows])
    return {f'{key}_features{kind}': float(value) for kind, value in zip(ERRORS, np.mean(distances, axis=0), strict=True)}


def _examples(true: Sequence[torch.Tensor], some: Translations) -> np.ndarray:
    count = min(EXAMPLES, len(some))
    drawn = to_uint8(some.images(range(count))).cpu()
    images = torch.stack([true[some.source][:count], drawn, true[some.target][:count]], dim=1)
    return images.numpy().astype(np.float32) / 127.5 - 1


def draw(arrays: dict[str, np.ndarray], values: dict[str, float | None], key: str) -> Any:
    """A figure: for each pair of domains, source images, their translations and the truth, one content in each column."""
    from metrics.domains.figures import show_sheet
    from metrics.plotting import new_figure
    count = next(iter(arrays.values())).shape[0]
    width = min(len(arrays), 3)
    height = -(-len(arrays) // width)
    figure, cells = new_figure(height, width, width=1 + width * (0.5 * count + 1.2), height=0.6 + height * 2.3, squeeze=False)
    for axes, (name, images) in zip(cells.flat, arrays.items(), strict=False):
        title = f'{name}: {values[f"{key}_{name}"]:.3g}, content {values[f"{key}_content_{name}"]:.0%}'
        show_sheet(axes, images.swapaxes(0, 1), ['source', 'translation', 'truth'], title)
    for axes in cells.flat[len(arrays):]:
        axes.set_visible(False)
    baselines = ', '.join(f'{text} {values[key + kind]:.3g}' for text, kind in (
        ('input unchanged', '_identity'), ('mean image', '_mean'), ('random image', '_random')))
    figure.suptitle(f'{key}: error {values[key]:.3g} ({baselines}); content {values[key + "_content"]:.0%} '
                    f'(input unchanged {values[key + "_content_identity"]:.0%})', fontsize='medium')
    return figure
