"""`generate.py images`: an image for each seed, or for each projected latent."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.util import OptionError, UserError, open_url
from training.networks import Generator
from training.sampling import common, options

EXAMPLES = """\b
Examples:
  # Sixteen images; truncation towards the mean trades variety for quality
  python generate.py --outdir=out --seeds=0-15 --trunc=0.7 --network=runs/00000-faces-auto1/network-snapshot-025000.pkl
\b
  # Images of one class or domain of a conditional network
  python generate.py --outdir=out --seeds=1,5,9-12 --class=1 --network=network-snapshot-000060.pkl
\b
  # Render latents that were found by projection
  python generate.py --outdir=out --projected-w=projected_w.npz --network=network-snapshot-025000.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@options.seeds(default=None, help='Random seeds, one image each: 0-15 or 1,5,9-12.')
@click.option('--trunc', help='Truncation psi: 1 for none, 0 for the mean image.', type=float, default=1, show_default=True,
              metavar='PSI')
@options.class_idx
@options.noise_mode
@click.option('--projected-w', help='Render the latents w [N, num_ws, w_dim] of this .npz instead of seeds.', metavar='FILE')
@options.outdir
@options.device
@options.ops
def command(network: str, seeds: list[int] | None, trunc: float, class_idx: int | None, noise_mode: str,
            projected_w: str | None, outdir: str, device: str, ops: str) -> None:
    """Make images with the moving average of a trained generator (G_ema).

    Writes seed<seed>.png, or proj<index>.png with --projected-w: RGB, or greyscale where the network is.
    """
    if seeds is None and projected_w is None:
        raise OptionError('--seeds option is required when not using --projected-w')
    if seeds is not None:
        options.check_seeds(seeds)
    if seeds is not None and projected_w is not None:
        print('warn: --seeds is ignored when using --projected-w')
    where = options.start_on(device, ops)
    G = common.open_generator(network, where)

    if projected_w is None:
        label = common.class_label(G, class_idx, where)
        names_and_ws = seeded(G, seeds, label, trunc, where)
    else:
        names_and_ws = projected(G, projected_w, where)
    common.make_outdir(outdir)
    for name, ws in names_and_ws:
        common.save_image(common.render(G, ws, noise_mode, [name])[0], Path(outdir, name))


def seeded(G: Generator, seeds: list[int], label: torch.Tensor, trunc: float,
           device: torch.device) -> Iterator[tuple[str, torch.Tensor]]:
    """(file name, ws [1, num_ws, w_dim]) for each seed."""
    for i, seed in enumerate(seeds):
        print(f'Generating image for seed {seed} ({i}/{len(seeds)}) ...')
        yield common.image_name(seed), G.mapping(common.seed_latent(G, seed, device), label, truncation_psi=trunc)


def projected(G: Generator, path: str, device: torch.device) -> list[tuple[str, torch.Tensor]]:
    """(file name, ws [1, num_ws, w_dim]) for each row of `w` in an npz file, which is checked before anything is made."""
    try:
        with open_url(path) as f, np.load(f, allow_pickle=False) as arrays:
            ws = torch.from_numpy(arrays['w']).to(device, torch.float32)
    except (ValueError, LookupError, EOFError, OSError, TypeError, AttributeError, RuntimeError, SyntaxError,
            zipfile.BadZipFile, zlib.error) as err:
        raise UserError(f'{path}: not an .npz file with an array "w"; make it with a projection') from err
    if ws.ndim != 3 or tuple(ws.shape[1:]) != (G.num_ws, G.w_dim):
        raise UserError(f'{path}: w is {list(ws.shape)}, but this network takes [N, {G.num_ws}, {G.w_dim}]')
    print(f'Generating images from projected W "{path}"')
    return [(f'proj{i:02d}.png', w[None]) for i, w in enumerate(ws)]
