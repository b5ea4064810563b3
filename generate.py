"""Make images with a trained network. `python generate.py --help` explains."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch

from dnnlib import cli
from dnnlib.files import atomic_open
from dnnlib.util import OptionError, UserError, open_url
from torch_utils.devices import DEVICES, resolve_device, seed_everything
from training.networks import Generator
from training.networks.synthesis import NOISE_MODES
from training.snapshot import load_network_snapshot

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


@click.command(cls=cli.Command, epilog=EXAMPLES, context_settings=dict(max_content_width=120))
@click.option('--network', help='Network pickle: path or URL.', required=True, metavar='PKL')
@click.option('--seeds', help='Random seeds, one image each: 0-15 or 1,5,9-12.', type=cli.NumRange(), metavar='RANGE')
@click.option('--trunc', help='Truncation psi: 1 for none, 0 for the mean image.', type=float, default=1, show_default=True,
              metavar='PSI')
@click.option('--class', 'class_idx', help='Class or domain, counted from 0; conditional networks only.', type=int, metavar='INT')
@click.option('--noise-mode', help="Noise inputs: const is the network's own, the same for all images.",
              type=click.Choice(NOISE_MODES[1::-1] + NOISE_MODES[2:]), default='const', show_default=True)
@click.option('--projected-w', help='Render the latents w [N, num_ws, w_dim] of this .npz instead of seeds.', metavar='FILE')
@click.option('--outdir', help='Where to save the images; made if need be.', required=True, metavar='DIR')
@click.option('--device', help='Where to compute.', type=click.Choice(DEVICES), default='auto', show_default=True)
def main(network: str, seeds: list[int] | None, trunc: float, class_idx: int | None, noise_mode: str,
         projected_w: str | None, outdir: str, device: str) -> None:
    """Make images with the moving average of a trained generator (G_ema).

    Writes seed<seed>.png, or proj<index>.png with --projected-w: RGB, or greyscale where the network is.
    """
    if seeds is None and projected_w is None:
        raise OptionError('--seeds option is required when not using --projected-w')
    if seeds is not None and not 0 <= min(seeds) <= max(seeds) < 2 ** 32:
        raise OptionError('--seeds must be between 0 and 4294967295')
    if seeds is not None and projected_w is not None:
        print('warn: --seeds is ignored when using --projected-w')
    where = resolve_device(device)
    print(f'Loading networks from "{network}"...')
    G = load_network_snapshot(network, only=('G_ema',)).G_ema.to(where)

    if projected_w is None:
        label = class_label(G, class_idx, where)
        names_and_ws = seeded(G, seeds, label, trunc, where)
    else:
        names_and_ws = projected(G, projected_w, where)
    make_outdir(outdir)
    with torch.no_grad():
        for name, ws in names_and_ws:
            seed_everything(zlib.crc32(name.encode()))  # --noise-mode=random depends on nothing that was made before
            save_image(G.synthesis(ws, noise_mode=noise_mode)[0], Path(outdir, name))


def class_label(G: Generator, class_idx: int | None, device: torch.device) -> torch.Tensor:
    """The one-hot label [1, c_dim] of --class."""
    label = torch.zeros([1, G.c_dim], device=device)
    if G.c_dim == 0:
        if class_idx is not None:
            print('warn: --class=lbl ignored when running on an unconditional network')
        return label
    if class_idx is None:
        raise OptionError(f'Must specify class label with --class when using a conditional network (0 to {G.c_dim - 1})')
    if not 0 <= class_idx < G.c_dim:
        raise OptionError(f'--class must be between 0 and {G.c_dim - 1} for this network')
    label[:, class_idx] = 1
    return label


def seeded(G: Generator, seeds: list[int], label: torch.Tensor, trunc: float,
           device: torch.device) -> Iterator[tuple[str, torch.Tensor]]:
    """(file name, ws [1, num_ws, w_dim]) for each seed."""
    for i, seed in enumerate(seeds):
        print(f'Generating image for seed {seed} ({i}/{len(seeds)}) ...')
        z = torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim)).to(device, torch.float32)
        yield f'seed{seed:04d}.png', G.mapping(z, label, truncation_psi=trunc)


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


def make_outdir(outdir: str) -> None:
    """Create it. Raises UserError where that is not possible."""
    try:
        Path(outdir).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(f'--outdir: cannot create {outdir} ({err.strerror}); choose another directory') from err


def save_image(image: torch.Tensor, path: Path) -> None:
    """Write an image [C, H, W], C = 1 or 3, nominally in [-1, 1], as PNG, atomically."""
    pixels = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    with atomic_open(path) as f:
        PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(f, format='PNG')


if __name__ == '__main__':
    cli.run(main)
