"""`generate.py video`: a movie in which latents, or domains, turn into each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
import torch
from scipy.interpolate import make_interp_spline

from dnnlib import cli
from dnnlib.util import OptionError, UserError
from training.networks import Generator
from training.sampling import captioned_grid, drawing, movie, options

MEGABITS = 12
WRAPS = 2  # periods before and after the keyframes that close the loop

EXAMPLES = """\b
Examples:
  # A loop through four latents, eight seconds
  python generate.py video --output=loop.mp4 --seeds=0-3 --network=network-snapshot-025000.pkl
\b
  # Eight loops side by side, of four latents each
  python generate.py video --output=lerp.mp4 --trunc=1 --seeds=0-31 --grid=4x2 --network=network-snapshot-025000.pkl
\b
  # The same latents in every domain: the domains are the rows
  python generate.py video --output=domains.mp4 --seeds=0-15 --grid=4x1 --class=all --network=network-snapshot-000280.pkl
\b
  # Eight latents that go from domain to domain, as a GIF
  python generate.py video --output=morph.gif --seeds=0-7 --grid=8x1 --morph=1 --w-frames=30 --fps=25 \\
      --network=network-snapshot-000280.pkl
"""


class GridSize(click.ParamType):
    """Columns and rows: `4x2` or `4,2`."""

    name = 'grid'

    def convert(self, value: Any, param, ctx) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r'\s*(\d+)\s*[x,]\s*(\d+)\s*', str(value))
        if not match or not int(match[1]) * int(match[2]):
            self.fail(f'{value!r} is no grid of columns x rows such as 4x2', param, ctx)
        return int(match[1]), int(match[2])


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--output', type=cli.PATH,
              help='The movie: *.mp4 (by imageio-ffmpeg; without it a *.gif is written), *.gif or *.webp.',
              required=True, metavar='FILE')
@options.seeds(None, 'Random seeds of the keyframes. If there are too few, they are repeated.', required=True)
@click.option('--shuffle-seed', help='Shuffle the seeds with this random seed.', type=click.IntRange(0, 2 ** 32 - 1),
              metavar='INT')
@click.option('--grid', 'size', help='Columns x rows of latents.', type=GridSize(), default='1x1', show_default=True,
              metavar='WxH')
@click.option('--num-keyframes', help='Number of latents per cell of the grid.  [default: seeds / cells]',
              type=click.IntRange(min=1), metavar='INT')
@click.option('--w-frames', help='Frames from one keyframe to the next.', type=click.IntRange(min=1), default=120,
              show_default=True, metavar='INT')
@click.option('--space', help='Interpolate w, whose images change evenly, or z, where every frame is a likely image.',
              type=click.Choice(['w', 'z']), default='w', show_default=True)
@click.option('--trunc', help='Truncation psi, towards the mean of all, or of the domain: 1 for none.', type=float, default=1,
              show_default=True, metavar='PSI')
@options.class_or_all
@cli.bool_option('--morph', help='Use the domains of one latent as the keyframes of each cell.  [default: 0]')
@click.option('--fps', help='Frames per second.', type=click.IntRange(1, 240), default=60, show_default=True, metavar='INT')
@options.device
@options.ops
def command(network: str, output: str, seeds: list[int], shuffle_seed: int | None, size: tuple[int, int],
            num_keyframes: int | None, w_frames: int, space: str, trunc: float, class_idx: options.LabelChoice, morph: bool,
            fps: int, device: str, ops: str) -> None:
    """Make a movie that passes through latents and ends where it began, so it can be looped.

    Each cell of the grid has its own keyframes, joined by a cubic spline. With --class=all, the rows are the domains of
    the same latents.
    """
    options.check_seeds(seeds)
    options.check_finite('--trunc', trunc)
    columns, rows = size
    if class_idx == options.ALL and rows != 1:
        raise OptionError(f'--grid must be {columns}x1 with --class=all, where the rows are the domains')
    if morph and (class_idx is not None or num_keyframes is not None or space != 'w'):
        raise OptionError('--morph=1 can only be specified without --class, --num-keyframes and --space=z; '
                          'it goes through all domains')
    cells = columns * rows
    if morph:
        num_keyframes = 1
    elif num_keyframes is None:
        if len(seeds) % cells:
            raise OptionError(f'Number of input seeds must be divisible by grid W*H, which is {cells}; or say --num-keyframes')
        num_keyframes = len(seeds) // cells
    if len(seeds) > cells * num_keyframes:
        print(f'warn: only the first {cells * num_keyframes} of {len(seeds)} seeds are used, one for each cell and keyframe')
    path = movie.movie_path(output)
    where = options.start_on(device, ops)
    G = drawing.open_generator(network, where)
    if morph and G.c_dim < 2:
        raise UserError(f'{network}: has no domains to go through (trained without --cond=1); leave --morph out')
    classes = list(range(G.c_dim)) if morph else drawing.classes_of(G, class_idx, where)
    picture_rows = rows if morph else rows * len(classes)
    captioned_grid.check_size(picture_rows, columns, G.img_resolution, 'ask for a smaller --grid')

    order = np.array(seeds)
    if shuffle_seed is not None:
        np.random.RandomState(shuffle_seed).shuffle(order)
    order = np.resize(order, [cells, num_keyframes])  # the seeds again and again
    z = np.stack([drawing.seed_latent(G, seed, where).cpu().numpy()[0] for seed in order.flat]).reshape(cells, num_keyframes, -1)
    maps = [Mapping(G, k, trunc, where) for k in classes]
    if morph:
        w_at = loop(np.concatenate([to_w(z) for to_w in maps], axis=1))
    elif space == 'w':
        w_at = loop(np.concatenate([to_w(z) for to_w in maps]))
    else:
        z_at = spherical_loop(z)
        w_at = lambda time: np.concatenate([to_w(z_at(time)) for to_w in maps])  # noqa: E731
    count = (len(classes) if morph else num_keyframes) * w_frames
    frames = (captioned_grid.assemble(images.reshape(picture_rows, columns, *images.shape[1:]))
              for images in rendered(G, w_at, np.arange(count) / w_frames, where))
    movie.write_movie(path, frames, count, fps, MEGABITS)
    print(f'Wrote {path}: {count} frames, {count / fps:.1f} s')


class Mapping:
    """The truncated mapping of one class, or of an unconditional network.

    Called with latents [..., z_dim], it gives w [..., w_dim], NumPy's float32 both.
    """

    def __init__(self, G: Generator, class_idx: int | tuple[float, ...], psi: float, device: torch.device):
        self.G, self.psi = G, psi
        self.label = drawing.one_hot(G, class_idx, device)
        self.w_mean = drawing.domain_w_mean(G, self.label) if psi != 1 else None

    def __call__(self, z: np.ndarray) -> np.ndarray:
        flat = torch.from_numpy(z.reshape(-1, self.G.z_dim)).to(self.label.device, torch.float32)
        ws = drawing.map_latents(self.G, flat, self.label.expand(len(flat), -1))
        return drawing.truncate(ws, self.w_mean, self.psi)[:, 0].cpu().numpy().reshape(*z.shape[:-1], -1)


def loop(keys: np.ndarray) -> Callable[[float], np.ndarray]:
    """A cubic spline through keys [N, K, D] at times 0 to K - 1, back at the first key at time K: time -> [N, D]."""
    count = keys.shape[1]
    times = np.arange(-WRAPS * count, (WRAPS + 1) * count)
    return make_interp_spline(times, np.tile(keys, [1, 2 * WRAPS + 1, 1]), k=3, axis=1)


def spherical_loop(keys: np.ndarray) -> Callable[[float], np.ndarray]:
    """As `loop`, but the length of the vectors moves from that of one key to that of the next. Otherwise, vectors between two
    normal draws would be shorter than any draw."""
    directions, lengths = loop(keys), loop(np.linalg.norm(keys, axis=-1, keepdims=True))

    def at(time: float) -> np.ndarray:
        z = directions(time)
        return z * (lengths(time) / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-8))

    return at


def rendered(G: Generator, w_at: Callable[[float], np.ndarray], times: np.ndarray, device: torch.device) -> Iterator[np.ndarray]:
    """The images uint8 [N, H, W, C] of w_at(time) [N, w_dim], for each time."""
    together = max(drawing.BATCH // len(w_at(0)), 1)
    for first in range(0, len(times), together):
        w = np.stack([w_at(time) for time in times[first:first + together]])
        ws = torch.from_numpy(w.reshape(-1, 1, G.w_dim)).to(device, torch.float32).expand(-1, G.num_ws, -1)
        images = drawing.render(G, ws, 'const', [''] * len(ws))
        yield from images.reshape(*w.shape[:2], *images.shape[1:])
