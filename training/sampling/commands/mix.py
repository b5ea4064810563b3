"""`generate.py mix`: style mixing, some layers with the styles of one latent and the rest with those of another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.channels import num_colors, with_alpha
from dnnlib.image_size import text_of
from dnnlib.util import OptionError
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options

NAMED = dict(coarse=(4, 8), middle=(16, 32), fine=(64, 2 ** 30))  # resolutions; Karras et al. 2019, fig. 3

EXAMPLES = """\b
Examples:
  # Columns give the styles of layers 0 to 6, up to 32x32; rows give the rest
  python generate.py mix --outdir=out --rows=85,100,75,458,1500 --cols=55,821,1789,293 --network=network-snapshot-025000.pkl
\b
  # The layers by name: coarse are those at 4x4 and 8x8, middle 16x16 and 32x32, fine the rest; b64 those at 64x64
  python generate.py mix --outdir=out --rows=0-3 --cols=4-7 --styles=middle,b64 --network=network-snapshot-025000.pkl
\b
  # One domain of a conditional network
  python generate.py mix --outdir=out --rows=0-3 --cols=4-7 --styles=coarse --class=1 --network=network-snapshot-000280.pkl
"""


class Styles(click.ParamType):
    """Layers by number or name: `0-6`, `coarse,b16`. Gives a list of ints, and of pairs of a least and a largest resolution."""

    name = 'styles'

    def convert(self, value: Any, param, ctx) -> list[int | tuple[int, int]]:
        if isinstance(value, list):
            return value
        layers: list[int | tuple[int, int]] = []
        for part in str(value).split(','):
            name = part.strip()
            block = re.fullmatch(r'b(\d+)', name)
            if name in NAMED:
                layers.append(NAMED[name])
            elif block:
                layers.append((int(block[1]), int(block[1])))
            elif re.fullmatch(r'[\d\s-]+', name):
                layers += cli.NumRange().convert(name, param, ctx)
            else:
                self.fail(f'{name!r} is none of a number of a layer, {", ".join(NAMED)}, or a block such as b16', param, ctx)
        return layers


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@options.seeds(None, 'Random seeds of the rows, which keep their other layers.', '--rows', required=True)
@options.seeds(None, 'Random seeds of the columns, which give the layers of --styles.', '--cols', required=True)
@click.option('--styles', help='Layers, counted from 0 as in w: 0-6 or 1,3. Or coarse (4x4 and 8x8), middle (16x16 and 32x32), '
              'fine (the rest), or a block: coarse,b16.', type=Styles(), default='0-6', show_default=True,
              metavar='LAYERS')
@click.option('--trunc', help='Truncation psi: 1 for none, 0 for the mean image.', type=float, default=1, show_default=True,
              metavar='PSI')
@options.class_idx
@options.noise_mode
@options.outdir
@options.device
@options.ops
def command(network: str, rows: list[int], cols: list[int], styles: list[int | tuple[int, int]], trunc: float,
            class_idx: options.LabelChoice, noise_mode: str, outdir: str, device: str, ops: str) -> None:
    """Mix styles: each image takes the styles of some layers from the seed of its column, and all others from the seed of its
    row.

    Writes <row>-<col>.png for every pair, <seed>-<seed>.png for every seed, and grid.png: the images of the columns at the top,
    those of the rows at the left, and the mixtures between them.
    """
    options.check_seeds([*rows, *cols], '--rows and --cols')
    options.check_finite('--trunc', trunc)
    where = options.start_on(device, ops)
    G = drawing.open_generator(network, where)
    label = drawing.class_label(G, class_idx, where)
    layers = layers_of(G, styles)
    captioned_grid.check_size(len(rows) + 1, len(cols) + 1, G.img_resolution, 'ask for fewer --rows or --cols')
    drawing.make_outdir(outdir)

    print('Generating W vectors...')
    seeds = list(dict.fromkeys([*rows, *cols]))
    z = torch.cat([drawing.seed_latent(G, seed, where) for seed in seeds])
    ws = dict(zip(seeds, drawing.map_latents(G, z, label.expand(len(z), -1), trunc), strict=True))
    pairs = {(seed, seed): ws[seed] for seed in seeds}
    for row in dict.fromkeys(rows):
        for col in dict.fromkeys(cols):
            pairs[row, col] = mixed(ws[row], ws[col], layers)

    print(f'Generating {len(pairs)} images...')
    images, names = {}, list(pairs)
    for first in range(0, len(names), drawing.BATCH):
        batch = names[first:first + drawing.BATCH]
        pixels = drawing.render(G, torch.stack([pairs[pair] for pair in batch]), noise_mode,
                               [f'{row}-{col}' for row, col in batch])
        for (row, col), x in zip(batch, pixels, strict=True):
            images[row, col] = x
            drawing.save_image(x, Path(outdir, f'{row}-{col}.png'))

    corner = with_alpha(np.zeros_like(images[rows[0], rows[0]])[..., :num_colors(G.img_channels)], G.img_channels)
    cells = [[corner, *(images[col, col] for col in cols)]]
    cells += [[images[row, row], *(images[row, col] for col in cols)] for row in rows]
    drawing.save_image(captioned_grid.assemble(np.array(cells)), Path(outdir, 'grid.png'))


def layers_of(G: Generator, styles: list[int | tuple[int, int]]) -> list[int]:
    """The layers of --styles that the network has. Prints missing ones; raises OptionError if it has none."""
    layers = []
    for style in styles:
        if isinstance(style, int):
            layers.append(style)
        else:
            layers += [i for i in range(G.num_ws) if style[0] <= drawing.layer_resolution(G, i) <= style[1]]
    there = [i for i in dict.fromkeys(layers) if 0 <= i < G.num_ws]
    if not there:
        raise OptionError(f'--styles names none of the layers of this network, which are 0-{G.num_ws - 1}, up to '
                          f'{text_of(G.img_resolution)}')
    if len(there) < len(set(layers)):
        print(f'warn: --styles names layers after the last of this network, which is {G.num_ws - 1}; they are left out')
    return there


def mixed(row: torch.Tensor, col: torch.Tensor, layers: list[int]) -> torch.Tensor:
    """ws [num_ws, w_dim] of the row with the layers of the column."""
    ws = row.clone()
    ws[layers] = col[layers]
    return ws
