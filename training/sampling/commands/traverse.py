"""`generate.py traverse`: move one coordinate of the latent at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.channels import num_colors, with_alpha
from dnnlib.util import OptionError
from torch_utils.forward_ad import jvp
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options
from training.sampling.axes import ROWS, Coordinates, Directions

EXAMPLES = """\b
Examples:
  # What each of the most important style coordinates does to seed 0 in domain 1
  python generate.py traverse --outdir=out --class=1 --network=network-snapshot-000280.pkl
\b
  # The four most important ones, moved further and in finer steps, for three seeds
  python generate.py traverse --outdir=out --class=0 --seeds=0-2 --rows=4 --span=4 --steps=13 \\
      --network=network-snapshot-000280.pkl
\b
  # Coordinates of your choice, of any network: here content coordinates, which no domain moves
  python generate.py traverse --outdir=out --class=0 --coordinates=256-263 --network=network-snapshot-000280.pkl
\b
  # To compare: the first eight principal components of w, of any network
  python generate.py traverse --outdir=pca --class=0 --directions=pca --rows=8 --network=network-snapshot-000280.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@options.seeds(default='0', help='Random seeds, one picture each: 0-3 or 1,5,9-12.')
@options.class_idx
@click.option('--directions', help='Axes of movement. style: coordinates of the latent. pca: the principal components of w '
              '(GANSpace). sefa: the directions of w that the layers amplify most (SeFa).',
              type=click.Choice(['style', 'pca', 'sefa']), default='style', show_default=True)
@click.option('--coordinates', help='Which axes, counted from 0, and in which order.  [default: the living style coordinates, '
              'or all directions, the most important first]', type=cli.NumRange(), metavar='RANGE')
@click.option('--rows', help=f'Largest number of axes, without --coordinates.  [default: {ROWS}]', type=int, metavar='INT')
@click.option('--span', help='Move by -span to +span; coordinates of the latent have about unit variance.', type=float,
              default=2.0, show_default=True, metavar='FLOAT')
@click.option('--steps', help='Number of images in a row. It must be odd: the middle image is unmoved.', type=int, default=7,
              show_default=True, metavar='INT')
@options.domain_trunc
@cli.bool_option('--labels', default=True, help='Print the numbers in the margins.  [default: 1]')
@options.outdir
@options.device
@options.ops
def command(network: str, seeds: list[int], class_idx: options.LabelChoice, directions: str, coordinates: list[int] | None,
            rows: int | None, span: float, steps: int, trunc: float, labels: bool, outdir: str, device: str, ops: str) -> None:
    """Show the effect of each coordinate of the latent: a row of images in which only this coordinate moves.

    The latent is u, the input of the mapping network's MLP, after flow and normalisation. The style coordinates are
    those that domains move (--cond-mode=flow or mlp); one is living if its importance is above 0.1. The margin of row j shows the
    coordinate, its importance, and its effect per unit: the mean of |dx/du_j| over the unmoved image x in [-1, 1]. The last
    column shows where it acts: |dx/du_j| of each pixel, from 0 (black) to its maximum (white).

    With --directions=pca or sefa, directions of w are used instead of coordinates. Their unit is one standard deviation of w
    along them. Their importance is their share of the variance of w, or of its effect on the layers.

    Writes traverse-seed<seed>.png.
    """
    options.check_seeds(seeds)
    options.check_finite('--trunc', trunc)
    options.check_finite('--span', span)
    if span <= 0:
        raise OptionError('--span must be positive')
    if steps < 3 or steps % 2 == 0:
        raise OptionError('--steps must be odd and at least 3')
    if rows is not None and coordinates is not None:
        raise OptionError('--rows can only be specified without --coordinates')
    if rows is not None and rows < 1:
        raise OptionError('--rows must be at least 1')
    where = options.start_on(device, ops)
    G = drawing.open_generator(network, where)

    label = drawing.class_label(G, class_idx, where)
    axes = Coordinates(G, network) if directions == 'style' else Directions(G, directions, label)
    if coordinates is None:
        coordinates = axes.usual()[:rows or ROWS]
    if not 0 <= min(coordinates) <= max(coordinates) < axes.size:
        raise OptionError(f'--coordinates must be between 0 and {axes.size - 1} for this network')
    captioned_grid.check_size(len(coordinates), steps + 1, G.img_resolution, 'ask for fewer --coordinates, --rows or --steps')
    drawing.make_outdir(outdir)

    w_mean = drawing.domain_w_mean(G, label) if trunc != 1 else None

    half = steps // 2
    shifts = [step * span / half for step in range(-half, half + 1)]
    for i, seed in enumerate(seeds):
        print(f'Generating traversals of seed {seed} ({i}/{len(seeds)}) ...')
        with torch.no_grad():
            u, to_ws = axes.start(drawing.seed_latent(G, seed, where), label)

        def ws_of(u: torch.Tensor, to_ws: Callable = to_ws) -> torch.Tensor:
            return drawing.truncate(to_ws(u), w_mean, trunc)

        moved = render_moved(G, ws_of, u, coordinates, shifts)
        effects, maps = effects_of(G, ws_of, u, coordinates)
        maps = np.repeat(maps[:, None, :, :, None], num_colors(G.img_channels), axis=-1)
        cells = np.concatenate([moved, with_alpha(maps, G.img_channels)], axis=1)
        captions = make_captions(axes, coordinates, shifts, effects) if labels else None
        drawing.save_image(captioned_grid.assemble(cells, captions), Path(outdir, f'traverse-{drawing.image_name(seed)}.png'))


def render_moved(G: Generator, ws_of: Callable[[torch.Tensor], torch.Tensor], u: torch.Tensor, coordinates: list[int],
                 shifts: list[float]) -> np.ndarray:
    """Images uint8 [coordinates, shifts, H, W, C] of the latent u [1, F] with one coordinate moved by a shift."""
    moves = [(j, shift) for j in coordinates for shift in shifts]
    images = []
    for first in range(0, len(moves), drawing.BATCH):
        batch = moves[first:first + drawing.BATCH]
        latent = u.repeat(len(batch), 1)
        for row, (j, shift) in enumerate(batch):
            latent[row, j] += shift
        with torch.no_grad():
            ws = ws_of(latent)
        images.append(drawing.render(G, ws, 'const', [''] * len(batch)))
    images = np.concatenate(images)
    return images.reshape(len(coordinates), len(shifts), *images.shape[1:])


def effects_of(G: Generator, ws_of: Callable[[torch.Tensor], torch.Tensor], u: torch.Tensor,
               coordinates: list[int]) -> tuple[list[float], np.ndarray]:
    """The effect of each coordinate of the latent u [1, F]: the mean |dx/du_j| over pixels and channels, and |dx/du_j| of each
    pixel relative to its maximum, as uint8 [coordinates, H, W]."""
    def image(v: torch.Tensor) -> torch.Tensor:
        return G.synthesis(ws_of(v), noise_mode='const', force_fp32=True)

    effects, maps = [], []
    for first in range(0, len(coordinates), drawing.BATCH):
        batch = coordinates[first:first + drawing.BATCH]
        direction = torch.nn.functional.one_hot(torch.tensor(batch, device=u.device), u.shape[1]).to(u.dtype)
        with torch.no_grad():
            column = jvp(image, u.repeat(len(batch), 1), direction)[1]
        strength = column.abs().mean(dim=1)  # [N, H, W]
        effects += strength.mean(dim=(1, 2)).tolist()
        relative = strength / strength.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)
        maps.append((relative * 255).round().to(torch.uint8).cpu().numpy())
    return effects, np.concatenate(maps)


def make_captions(axes: Coordinates | Directions, coordinates: list[int], shifts: list[float],
                  effects: list[float]) -> captioned_grid.Captions:
    """Numbers for the margins."""
    rows = [(*axes.caption(j), f'{effect:#.3g}') for j, effect in zip(coordinates, effects, strict=True)]
    return captioned_grid.Captions([f'{shift:+.2g}' if shift else '0' for shift in shifts] + ['where'], rows,
                                   (*axes.heading, '|dx/du|'))
