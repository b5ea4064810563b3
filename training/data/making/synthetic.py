"""Pictures of shapes whose factors are all known, for measures of identifiability.

Content (which shape, where, how large, which way up) has the same distribution in every domain. Style (hue, background, stroke,
light) is independent of content. Within a domain, the style factors are independent of each other. Their mean and spread differ
between domains. These are the assumptions of the identifiability theorem of Kong et al. ("Partial disentanglement for domain
adaptation", ICML 2022), on which i-StyleGAN rests. It requires 2n + 1 domains for n style factors: 9 for the 4 factors here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dnnlib import OptionError
from training.data.making.dealing import deal
from training.data.making.rendering import SHAPES, render
from training.data.making.sources import Source, SourceImage

# Name, kind (class: a whole number from 0; number; circle: in turns, where 0 and 1 are the same), role.
FACTORS = (('shape', 'class', 'content'), ('x', 'number', 'content'), ('y', 'number', 'content'), ('size', 'number', 'content'),
           ('rotation', 'circle', 'content'), ('hue', 'circle', 'style'), ('background', 'number', 'style'),
           ('stroke', 'number', 'style'), ('light', 'number', 'style'))
FEWEST_DOMAINS, MOST_DOMAINS = 2, 9
NUM_IMAGES = 10_000
FARTHEST = 0.12       # of the centre from the middle of the image, along each side
SIZES = (0.17, 0.28)  # of the radius; with FARTHEST and the widest band, nothing is cut off
AT_ONCE = 64          # images that are rendered at a time
DECIMALS = 5          # of factors in dataset.json; pictures are rendered from the rounded values


def draw_contents(count: int, seed: int) -> np.ndarray:
    """The content factors of `count` contents: float64 [count, 5]. A smaller count gives the first contents of a larger one."""
    unit = np.random.RandomState(seed).uniform(size=[count, 5])
    shape = np.floor(unit[:, 0] * len(SHAPES))
    size = SIZES[0] + (SIZES[1] - SIZES[0]) * unit[:, 3]
    return np.stack([shape, *(FARTHEST * (2 * unit[:, 1:3] - 1)).T, size, unit[:, 4]], axis=1)


def draw_styles(domain: np.ndarray, num_domains: int, seed: int, number: np.ndarray) -> np.ndarray:
    """The style factors of images of these domains [N], which have these numbers [N]: float64 [N, 4].

    Hue: Gaussian around the centre of the domain on the circle. Others: a logistic function of a Gaussian, in (0, 1). Centres are
    evenly spaced. Each factor has its own order of domains, so no two factors change alike.
    """
    rng = np.random.RandomState([seed, 1])
    places = np.stack([rng.permutation(num_domains) for _ in range(4)], axis=1) / (num_domains - 1)  # [U, 4] in [0, 1]
    spreads = np.stack([rng.permutation(num_domains) for _ in range(4)], axis=1) / (num_domains - 1)
    normal = np.random.RandomState([seed, 2]).standard_normal([number.max(initial=-1) + 1, 4])[number]
    hue = places[domain, 0] * (1 - 1 / num_domains) + (0.03 + 0.05 * spreads[domain, 0]) * normal[:, 0]
    logit = 3 * places[domain, 1:] - 1.5 + (0.4 + 0.5 * spreads[domain, 1:]) * normal[:, 1:]
    return np.concatenate([hue[:, None] % 1, 1 / (1 + np.exp(-logit))], axis=1)


def draw_factors(count: int, num_domains: int, paired: bool, seed: int,
                 split: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors [N, 9], domain int64 [N], and number of the content int64 [N] of each image.

    Each of `count` contents is in one random domain, with equally many per domain to within one; or in all domains, one after the
    other, if `paired`. split: 'train', 'test' or None, as of training.data.making.dealing.
    """
    dealt = deal(count, num_domains, np.random.RandomState([seed, 3]), paired, split)
    content = np.array([i for i, domains in dealt for _ in domains], dtype=np.int64)
    domain = np.array([u for _, domains in dealt for u in domains], dtype=np.int64)
    number = content * num_domains + domain if paired else content  # the same in both splits
    styles = draw_styles(domain, num_domains, seed, number)
    factors = np.round(np.concatenate([draw_contents(count, seed)[content], styles], axis=1), DECIMALS)
    circles = [kind == 'circle' for _, kind, _ in FACTORS]
    factors[:, circles] %= 1  # rounding may give 1, which is 0
    return factors, domain, content


def open_synthetic(count: int | None = None, num_domains: int | None = None, size: int = 32, paired: bool = False,
                   split: str | None = None, seed: int = 0) -> Source:
    """A source of RGB images with factors. Labels are the domains; the shape becomes the content.

    count: images of both splits together, NUM_IMAGES by default; with `paired`, rounded down to whole tuples. num_domains:
    FEWEST_DOMAINS to MOST_DOMAINS, the default. size: pixels. split: 'train' or 'test', which has every tenth content
    by a draw; None for all. Raises OptionError for invalid values.
    """
    num_domains = MOST_DOMAINS if num_domains is None else num_domains
    if type(num_domains) is not int or not FEWEST_DOMAINS <= num_domains <= MOST_DOMAINS:
        raise OptionError(f'--source=synthetic takes a number of domains: --domains={FEWEST_DOMAINS} to {MOST_DOMAINS}')
    count = NUM_IMAGES if count is None else count
    if count < num_domains:
        raise OptionError(f'--max-images={count} is less than an image for each of {num_domains} domains; '
                          f'give at least {num_domains}')
    factors, domain, _ = draw_factors(count // num_domains if paired else count, num_domains, paired, seed, split)

    def images() -> Iterator[SourceImage]:
        for start in range(0, len(factors), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            for row, label, picture in zip(factors[rows], domain[rows], render(factors[rows], size), strict=True):
                yield SourceImage(picture, int(label), f'a synthetic {list(SHAPES)[int(row[0])]}', int(row[0]), row.tolist())

    return Source(images(), len(factors), [f'domain{u}' for u in range(num_domains)], contents=list(SHAPES),
                  factor_names=FACTORS)
