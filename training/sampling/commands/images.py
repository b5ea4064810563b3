"""`generate.py images`: an image for each seed, or for each projected latent."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.channels import has_alpha
from dnnlib.files import open_output
from dnnlib.image_size import height_width
from dnnlib.util import OptionError, UserError, open_url
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options

EXAMPLES = """\b
Examples:
  # Sixteen images; truncation towards the mean trades variety for quality
  python generate.py --outdir=out --seeds=0-15 --trunc=0.7 --network=runs/00000-faces-auto1/network-snapshot-025000.pkl
\b
  # Images of one class or domain of a conditional network
  python generate.py --outdir=out --seeds=1,5,9-12 --class=1 --network=network-snapshot-000060.pkl
\b
  # The same seeds in every class, as JPEG, with a contact sheet of all and their latents
  python generate.py --outdir=out --seeds=0-99 --class=all --format=jpg --contact-sheet=1 --save-ws=1 \\
      --network=network-snapshot-000060.pkl
\b
  # Render latents that were found by projection, or saved by --save-ws
  python generate.py --outdir=out --projected-w=projected_w.npz --network=network-snapshot-025000.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@options.seeds(default=None, help='Random seeds, one image each: 0-15 or 1,5,9-12.')
@click.option('--trunc', help='Truncation psi: 1 for none, 0 for the mean image.', type=float, default=1, show_default=True,
              metavar='PSI')
@options.class_or_all
@options.noise_mode
@click.option('--projected-w', type=cli.PATH,
              help='Render the latents w [N, num_ws, w_dim] of this .npz instead of seeds.', metavar='FILE')
@click.option('--format', 'suffix', help='Image format. PNG and WebP are lossless; JPEG has quality 95.',
              type=click.Choice([suffix[1:] for suffix in drawing.FORMATS]), default='png', show_default=True)
@cli.bool_option('--contact-sheet', help='Also write all images in one picture, contact-sheet.png. With --class=all, each class '
                 'has a column.  [default: 0]')
@cli.bool_option('--save-ws', help='Also write ws.npz: w [N, num_ws, w_dim], the seeds and the classes, in the order of the file '
                 'names.  [default: 0]')
@options.outdir
@options.device
@options.ops
def command(network: str, seeds: list[int] | None, trunc: float, class_idx: options.LabelChoice, noise_mode: str,
            projected_w: str | None, suffix: str, contact_sheet: bool, save_ws: bool, outdir: str, device: str,
            ops: str) -> None:
    """Make images with the moving average of a trained generator (G_ema).

    Writes seed<seed>.png, seed<seed>-class<class>.png with --class=all, or proj<index>.png with --projected-w: RGB or
    greyscale, and with alpha, as the network draws. A seed always gives the same image, regardless of the other
    seeds. Pictures of several images show alpha on a checkerboard.
    """
    if seeds is None and projected_w is None:
        raise OptionError('--seeds option is required when not using --projected-w')
    if seeds is not None:
        options.check_seeds(seeds)
    if seeds is not None and projected_w is not None:
        print('warn: --seeds is ignored when using --projected-w')
    if save_ws and projected_w is not None:
        raise OptionError('--save-ws=1 can only be specified without --projected-w, whose file has them')
    where = options.start_on(device, ops)
    G = drawing.open_generator(network, where)
    if suffix == 'jpg' and has_alpha(G.img_channels):
        raise OptionError('--format=jpg has no alpha channel, which this network draws; choose png or webp')

    if projected_w is None:
        latents = None
        classes = drawing.classes_of(G, class_idx, where)
        named = len(classes) > 1
        images = [Image(seed, k, drawing.image_name(seed) + f'-class{k}' * named) for seed in seeds for k in classes]
        columns = len(classes)
    else:
        latents = read_latents(G, projected_w, where)
        images = [Image(0, 0, f'proj{i:02d}') for i in range(len(latents))]
        columns = 1
    if columns == 1:
        columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    if contact_sheet:
        captioned_grid.check_size(rows, columns, G.img_resolution, 'ask for fewer images, or leave --contact-sheet out')
    drawing.make_outdir(outdir)

    sheet = np.full([rows * columns * contact_sheet, *height_width(G.img_resolution), G.img_channels], 255, dtype=np.uint8)
    saved = np.empty([len(images) * save_ws, G.num_ws, G.w_dim], dtype=np.float32)
    for first in range(0, len(images), drawing.BATCH):
        batch = images[first:first + drawing.BATCH]
        here = slice(first, first + len(batch))
        if latents is None:
            for i, image in enumerate(batch, start=first):
                print(f'Generating image for seed {image.seed} ({i}/{len(images)}) ...')
        ws = seeded(G, batch, trunc, where) if latents is None else latents[here]
        pixels = drawing.render(G, ws, noise_mode, [image.noise for image in batch])
        for image, x in zip(batch, pixels, strict=True):
            drawing.save_image(x, Path(outdir, f'{image.name}.{suffix}'))
        if contact_sheet:
            sheet[here] = pixels
        if save_ws:
            saved[here] = ws.cpu().numpy()

    if contact_sheet:
        cells = sheet.reshape(rows, columns, *sheet.shape[1:])
        drawing.save_image(captioned_grid.assemble(cells), Path(outdir, 'contact-sheet.png'))
    if save_ws:
        with open_output(Path(outdir, 'ws.npz')) as f:
            np.savez(f, w=saved, seeds=[image.seed for image in images], classes=[image.label for image in images])


class Image(NamedTuple):
    """An image to be made. name: of its file, without suffix."""

    seed: int
    label: int | tuple[float, ...]
    name: str

    @property
    def noise(self) -> str:
        """The key of its random noise, the same in all classes."""
        return self.name.partition('-')[0]


def seeded(G: Generator, images: list[Image], trunc: float, device: torch.device) -> torch.Tensor:
    """ws [N, num_ws, w_dim] of images of seeds."""
    z = torch.cat([drawing.seed_latent(G, image.seed, device) for image in images])
    c = torch.cat([drawing.one_hot(G, image.label, device) for image in images])
    return drawing.map_latents(G, z, c, trunc)


def read_latents(G: Generator, path: str, device: torch.device) -> torch.Tensor:
    """`w` of an npz file, float32 [N, num_ws, w_dim]. Raises UserError for another file, or latents of another network."""
    try:
        with open_url(path) as f, np.load(f, allow_pickle=False) as arrays:
            ws = torch.from_numpy(arrays['w']).to(device, torch.float32)
    except (ValueError, LookupError, EOFError, OSError, TypeError, AttributeError, RuntimeError, SyntaxError,
            zipfile.BadZipFile, zlib.error) as err:
        raise UserError(f'{path}: not an .npz file with an array "w"; make it with a projection') from err
    if ws.ndim != 3 or len(ws) == 0 or tuple(ws.shape[1:]) != (G.num_ws, G.w_dim):
        raise UserError(f'{path}: w is {list(ws.shape)}, but this network takes [N, {G.num_ws}, {G.w_dim}]')
    print(f'Generating images from projected W "{path}"')
    return ws
