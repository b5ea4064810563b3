"""Conversion of a source into a dataset on all cores. The result does not depend on their number."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.archive import ArchiveWriter
from dnnlib.channels import has_alpha
from dnnlib.progress import Progress
from training.data.images import converted, decode, decode_as, encode_png
from training.data.labels import FILE_NAME
from training.data.making.in_parallel import map_in_order
from training.data.making.sources import Source, SourceImage
from training.data.making.transforms import DoesNotFit, Transform
from training.start_grid import start_grid

MOST_NAMED = 20  # skipped images that are named one by one


class Prepared(NamedTuple):
    """The result for one image: its PNG file and width, height, channels; without a file if it is skipped.

    trouble: the problem, if it could not be read. transparent: whether its source has transparent pixels.
    """

    png: bytes | None = None
    attributes: tuple[int, int, int] | None = None
    trouble: str | None = None
    transparent: bool = False


class Summary(NamedTuple):
    """What was written: number of images, attributes of each, count of each label (None: without a label).

    broken: number of images skipped because they could not be read. small: because they are too small for the transform.
    transparent: number of images with transparent pixels.
    """

    images: int
    attributes: dict[str, int]
    labels: Counter
    broken: int
    small: int
    transparent: int


class Checker:
    """The rules for the images of one dataset. The first image sets size and channels for the others. mode: as of `convert`."""

    def __init__(self, mode: str = 'as-is'):
        self.mode = mode
        self.attributes: dict[str, int] | None = None  # of the first image: width, height, channels

    def check(self, width: int, height: int, channels: int, name: str) -> None:
        """Check one image. Raises UserError that names it."""
        attributes = {'width': width, 'height': height, 'channels': channels}
        if self.attributes is None:
            if self.mode == 'as-is' and has_alpha(channels):
                keep, drop = ('rgba', 'rgb') if channels == 4 else ('la', 'grey')
                raise UserError(f'{name}: Input images must be stored as RGB or grayscale, not with {channels} channels; '
                                f'use --mode={drop} to put them on white, or --mode={keep} to keep alpha')
            try:
                start_grid((height, width))
            except ValueError as err:
                raise UserError(f'{name}: {err}; use --resolution=WxH, and --transform=center-crop to keep the shape of what is '
                                'shown') from err
            self.attributes = attributes
        elif attributes != self.attributes:
            details = ', '.join(f'dataset {k}/cur image {k}: {self.attributes[k]}/{attributes[k]}' for k in attributes)
            raise UserError(f'Image {name} attributes must be equal across all images of the dataset.  Got: {details}'
                            + ('; use --mode=rgb or --mode=grey' if channels != self.attributes['channels'] else '')
                            + (', or rgba or la to keep alpha' if has_alpha(channels) else ''))


def prepare(data: np.ndarray | bytes, name: str, transform: Transform, mode: str) -> Prepared:
    """Decode, transform and encode one image."""
    try:
        if mode == 'as-is':
            pixels, transparent = data if isinstance(data, np.ndarray) else decode(data, name), False
        else:
            pixels, transparent = (converted(data, mode) if isinstance(data, np.ndarray) else decode_as(data, name, mode))
        pixels = transform(pixels)
    except UserError as err:
        return Prepared(trouble=str(err))
    except DoesNotFit as err:
        return Prepared(trouble=f'{name}: {err}')
    if pixels is None:
        return Prepared()
    height, width, channels = (*pixels.shape, 1)[:3]
    return Prepared(encode_png(pixels), (width, height, channels), transparent=transparent)


def _prepared(source: Iterable[SourceImage], transform: Transform, mode: str, workers: int
              ) -> Generator[tuple[SourceImage, Prepared], None, None]:
    def tasks() -> Iterator[tuple[SourceImage, tuple | Prepared]]:
        for image in source:
            try:
                yield image, (image.load(), image.name, transform, mode)
            except UserError as err:
                yield image, Prepared(trouble=str(err))
    return map_in_order(prepare, tasks(), workers)


def convert(source: Source, dest: str, transform: Transform, mode: str = 'as-is', workers: int = 1,
            skip_broken: bool = False) -> Summary:
    """Write a dataset to `dest`, a .zip file or an empty folder. It appears when it is complete.

    mode: 'as-is', 'rgb', 'rgba', 'grey' or 'la' (images.decode). workers: number of processes; the bytes of the dataset do not
    depend on it. skip_broken: skip and name images that cannot be read.
    Raises UserError for the first image that does not fit, or if none is left.
    """
    labels: list[list[Any]] = []
    contents: list[list[Any]] = []
    factors: list[list[Any]] = []
    checker, broken, small, transparent = Checker(mode), 0, 0, 0
    with ArchiveWriter(dest) as out, Progress('images', source.size) as progress, \
            contextlib.closing(_prepared(source, transform, mode, workers)) as images:
        for index, (image, prepared) in enumerate(images):
            progress.advance()
            if prepared.trouble is not None:
                if not skip_broken:
                    raise UserError(prepared.trouble + '; or leave such images out with --on-error=skip')
                broken += 1
                if broken <= MOST_NAMED:
                    progress.tell(f'Left out: {prepared.trouble}')
                continue
            if prepared.attributes is None:
                small += 1
                if small <= MOST_NAMED:
                    progress.tell(f'Left out: {image.name}: smaller than --width and --height')
                continue  # its number stays unused
            checker.check(*prepared.attributes, image.name)
            transparent += prepared.transparent
            name = f'{index // 1000:05d}/img{index:08d}.png'
            out.write(name, prepared.png)
            labels.append([name, image.label])
            contents.append([name, image.content])
            factors.append([name, image.factors])
        if not labels:
            raise UserError(f'{dest}: no image to write; all of the source are broken, or smaller than --width and --height, '
                            'or it has none')
        complete = all(label is not None for _, label in labels)
        fields: dict[str, Any] = {'labels': labels if complete else None}
        if complete and source.domains:
            fields['domains'] = source.domains
        if all(content is not None for _, content in contents):
            fields['content'] = contents
            if source.contents:
                fields['contents'] = source.contents
            if source.placements:
                fields['placement'] = [[name, source.placements[content]] for name, content in contents]
        if source.factor_names:
            fields |= dict(factor_names=source.factor_names, factors=factors)
        out.write(FILE_NAME, json.dumps(fields).encode())
    counts = Counter(tuple(v) if isinstance(v, list) else v for _, v in labels)
    return Summary(len(labels), checker.attributes, counts, broken, small, transparent)
