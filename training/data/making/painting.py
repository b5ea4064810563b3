"""Colour datasets made from greyscale images: domains by colours, and stacked digits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import PIL.Image

from dnnlib import UserError
from training.data.making.sources import Source, SourceImage

Colour = tuple[int, int, int]  # red, green, blue, each 0..255

# Dependent MNIST: colours by number, and those that a digit does not have in each domain.
DEPENDENT_COLOURS: list[Colour] = [
    (255, 50, 50), (50, 50, 255), (50, 255, 50), (255, 255, 50), (255, 50, 255), (50, 255, 255), (255, 140, 50), (140, 50, 255),
    (0, 170, 170), (180, 160, 20)]
_FORBIDDEN_BACKGROUNDS = [{7, 8, 9}, {6, 7, 8}, {8, 9, 0}, {9, 0, 1}, {3, 4, 5}, {2, 3, 4}, {1, 2, 3}, {0, 1, 2}, {4, 5, 6},
                          {5, 6, 7}]
DEPENDENT_DOMAINS = {  # name of the domain -> digit -> the numbers of its seven colours
    'digit_colored': [[k for k in range(10) if (k - digit) % 10 > 2] for digit in range(10)],
    'rbg_colored': [[k for k in range(10) if k not in forbidden] for forbidden in _FORBIDDEN_BACKGROUNDS],
}
DEPENDENCE = 0.8  # probability that the colour is one of the digit's own


def coloured(source: Source, colours: dict[str, Colour], seed: int = 0, paired: bool = False,
             max_per_domain: int | None = None) -> Source:
    """Turn a greyscale source into a multi-domain one: domain k has the images in colour k on black.

    Every image goes to one domain, drawn at random so that the domains are equally large (to within one image); or
    to all of them if `paired`. Labels are the domains; class numbers of the source become the content.

    colours: name of a domain -> red, green and blue, each 0..255.
    """
    count = len(colours)
    if max_per_domain is not None:
        source = source.first(max_per_domain if paired else max_per_domain * count)
    domain_of = np.empty(source.size, dtype=np.int64)
    domain_of[np.random.RandomState(seed).permutation(source.size)] = np.arange(source.size) % count
    palette = list(colours.values())

    def images() -> Iterator[SourceImage]:
        for position, image in enumerate(source):
            content = image.label if type(image.label) is int else None
            for domain in range(count) if paired else [int(domain_of[position])]:
                yield SourceImage(partial(_tinted, image, palette[domain]), domain, image.name, content)

    return Source(images(), source.size * (count if paired else 1), list(colours), left_out=source.left_out, notes=source.notes)


def dependent(source: Source, seed: int = 0, max_per_domain: int | None = None) -> Source:
    """Dependent MNIST: every digit in two domains, a coloured digit on black, and a white one on a coloured background.

    The colour depends on the digit: usually it is one of seven, which differ between the domains (DEPENDENT_DOMAINS). Labels are
    the domains, numbered by name. The digits become the content. Each domain has its own random colours, by the seed.

    source: greyscale images with labels 0..9. Other sizes are resized to 32x32.
    """
    source = source.first(max_per_domain)
    rng = np.random.RandomState(seed)

    def images() -> Iterator[SourceImage]:
        for image in source:
            digit_of(image, 'dependent')
            for domain, (name, allowed) in enumerate(DEPENDENT_DOMAINS.items()):
                digit = image.label
                if rng.random_sample() >= DEPENDENCE:
                    digit = (digit + rng.randint(1, 10)) % 10  # another one
                colour = DEPENDENT_COLOURS[allowed[digit][rng.randint(7)]]
                background = name == 'rbg_colored'
                yield SourceImage(partial(_tinted, image, colour, background, 32), domain, image.name, image.label)

    return Source(images(), source.size * 2, list(DEPENDENT_DOMAINS), left_out=source.left_out, notes=source.notes)


def stacked(source: Source, count: int | None = None, seed: int = 0) -> Source:
    """Stacked MNIST: each image has three digits, drawn at random with replacement, as its red, green and blue channel.

    The labels are the 1,000 modes: 100 * red + 10 * green + blue, where each is the digit 0..9 in that channel. A generator's
    modes are counted with them. Training ignores them without --cond=1.

    source: greyscale images of one size with labels 0..9. All of them are kept in memory.
    count: number of images; by default that of the source. A smaller number gives the first images of a larger one.
    """
    count = source.size if count is None else count

    def images() -> Iterator[SourceImage]:
        digits = list(source)
        values = [digit_of(image, 'stacked') for image in digits]
        rng = np.random.RandomState(seed)
        for index in range(count):
            red, green, blue = rng.randint(len(digits), size=3)
            label = 100 * values[red] + 10 * values[green] + values[blue]
            channels = [digits[red], digits[green], digits[blue]]
            yield SourceImage(partial(_stack, channels), label, f'stacked image {index}')

    return Source(images(), count, left_out=source.left_out, notes=source.notes)


def digit_of(image: SourceImage, domains: str) -> int:
    """The digit 0..9 that an image shows. domains: the value of --domains that needs it. Raises UserError without one."""
    if type(image.label) is not int or not 0 <= image.label <= 9:
        raise UserError(f'{image.name}: has no digit 0 to 9 as label; --domains={domains} needs them, as MNIST has them')
    return image.label


def _stack(channels: list[SourceImage]) -> np.ndarray:
    """Uint8 [H, W, 3]: three greyscale images as the channels of one."""
    pixels = [image.pixels for image in channels]
    for image, values in zip(channels, pixels, strict=True):
        if values.ndim != 2 or values.shape != pixels[0].shape:
            raise UserError(f'{image.name}: is not greyscale, or not of the same size as others; --domains=stacked needs '
                            'greyscale images of one size, such as MNIST')
    return np.stack(pixels, axis=-1)


def _tinted(image: SourceImage, colour: Colour, background: bool = False, size: int | None = None) -> np.ndarray:
    """Uint8 [H, W, 3]: a greyscale image in a colour on black; or with `background` in white on the colour."""
    pixels = image.pixels
    if pixels.ndim != 2:
        raise UserError(f'{image.name}: is not greyscale; --domains with colours needs greyscale images, such as MNIST')
    if size is not None and pixels.shape != (size, size):
        pixels = np.array(PIL.Image.fromarray(pixels).resize((size, size), PIL.Image.Resampling.BILINEAR))
    intensity = pixels[:, :, np.newaxis].astype(np.uint32)  # [H, W, 1]
    paint = intensity * np.array(colour, np.uint32)
    if background:
        paint = 255 * intensity + (255 - intensity) * np.array(colour, np.uint32)
    return ((paint + 127) // 255).astype(np.uint8)  # rounded
