"""`generate.py domains`: the same latents in every domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.util import OptionError, UserError
from training.data.dataset import ImageFolderDataset
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options

FILE_NAME = 'domains.png'
SHORT: dict[str, Any] = dict(  # defaults if only a network is given
    seeds=list(range(40)), rows=2, trunc=0.7, outdir='results/transgan_faces')
LONG: dict[str, Any] = dict(seeds=list(range(8)), rows=None, trunc=1.0)
LONGEST_NAME = 24  # letters of a domain's name that are printed

EXAMPLES = """\b
Examples:
  # Eight latents in all domains, a column for each domain
  python generate.py domains --outdir=out --network=network-snapshot-000280.pkl
\b
  # Twenty latents, closer to the mean of each domain, with the domains' names in the margin
  python generate.py domains --outdir=out --seeds=0-19 --trunc=0.7 --labels=1 --data=datasets/afhq.zip \\
      --network=network-snapshot-025000.pkl
\b
  # Twenty pictures of two latents each, results/transgan_faces/faces0.jpg ... faces19.jpg, as the published sample.py makes
  python generate.py domains network-snapshot-025000.pkl
\b
  # A column for each latent, two of the domains in this order
  python generate.py domains --outdir=out --domains=2,0 --layout=rows --network=network-snapshot-025000.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@click.argument('short', type=options.NETWORK, required=False, metavar='[PKL]')
@options.network_or_none()
@options.seeds(default=None, help='Random seeds, one latent each, in this order: 0-15 or 1,5,9-12.  [default: 0-7]')
@click.option('--domains', help='Which domains, counted from 0, and in which order.  [default: all]', type=cli.NumRange(),
              metavar='RANGE')
@click.option('--trunc', help="Truncation psi towards the domain's own mean: 1 for none, 0 for the mean image.  [default: 1]",
              type=float, metavar='PSI')
@click.option('--rows', help='Write several pictures, faces<number>.jpg, of N seeds each.',
              type=click.IntRange(min=1), metavar='INT')
@click.option('--layout', help='Whether the domains are the rows of the picture or its columns.',
              type=click.Choice(['rows', 'columns']), default='columns', show_default=True)
@cli.bool_option('--labels', help='Print seeds and domains in the margins.  [default: 0]')
@click.option('--data', type=cli.PATH, help='With --labels: a dataset, whose dataset.json names the domains.', metavar='PATH')
@options.noise_mode
@options.outdir_or_none()
@options.device
@options.ops
def command(short: str | None, network: str | None, seeds: list[int] | None, domains: list[int] | None, trunc: float | None,
            rows: int | None, layout: str, labels: bool, data: str | None, noise_mode: str, outdir: str | None, device: str,
            ops: str) -> None:
    """Show what the domains share: one picture, seeds by domains, with the same latent z in every domain.

    For networks that were trained with --cond=1. Writes domains.png. With PKL instead of --network, the options that are
    not given are --seeds=0-39 --rows=2 --trunc=0.7 --outdir=results/transgan_faces.
    """
    if (short is None) == (network is None):
        raise OptionError("Missing option '--network'" if short is None else 'give the network once: PKL or --network')
    if network is not None and outdir is None:
        raise OptionError("Missing option '--outdir'")
    defaults = LONG if short is None else SHORT
    seeds = defaults['seeds'] if seeds is None else seeds
    trunc = defaults['trunc'] if trunc is None else trunc
    several = rows or defaults['rows']
    network, outdir = network or short, outdir or SHORT['outdir']
    options.check_seeds(seeds)
    options.check_finite('--trunc', trunc)
    if data is not None and not labels:
        raise OptionError('--data can only be specified with --labels=1')
    where = options.start_on(device, ops)
    G = drawing.open_generator(network, where)

    if G.c_dim == 0:
        raise UserError(f'{network}: has no domains (trained without --cond=1); use generate.py images')
    domains = list(range(G.c_dim)) if domains is None else domains
    if not 0 <= min(domains) <= max(domains) < G.c_dim:
        raise OptionError(f'--domains must be between 0 and {G.c_dim - 1} for this network')
    names = domain_names(data, G.c_dim)
    per_picture = several or len(seeds)
    captioned_grid.check_size(min(len(seeds), per_picture), len(domains), G.img_resolution, 'ask for fewer --seeds or --domains')
    drawing.make_outdir(outdir)

    means: dict[Any, Any] = {}
    for domain in dict.fromkeys(domains) if trunc != 1 else ():
        print(f'Finding the mean of domain {domain} ({len(means)}/{len(set(domains))}) ...')
        means[domain] = drawing.domain_w_mean(G, drawing.one_hot(G, domain, where))
    for number, first in enumerate(range(0, len(seeds), per_picture)):
        some = seeds[first:first + per_picture]
        images = render_cells(G, [(seed, domain) for seed in some for domain in domains], means, trunc, noise_mode, where)
        cells = images.reshape(len(some), len(domains), *images.shape[1:])
        texts, heading = ([str(seed) for seed in some], [names[domain] for domain in domains]), 'seed'
        if layout == 'rows':
            cells, texts, heading = cells.swapaxes(0, 1), texts[::-1], 'domain'
        captions = captioned_grid.Captions(texts[1], [(text,) for text in texts[0]], (heading,)) if labels else None
        name = f'faces{number}.jpg' if several else FILE_NAME
        drawing.save_image(captioned_grid.assemble(cells, captions), Path(outdir, name))


def render_cells(G: Generator, cells: list[tuple[int, int]], means: dict[int, torch.Tensor], psi: float, noise_mode: str,
                 device: torch.device) -> np.ndarray:
    """The images uint8 [N, H, W, C] of pairs (seed, domain), truncated towards the means [w_dim] of their domains, if any."""
    images = []
    for first in range(0, len(cells), drawing.BATCH):
        batch = cells[first:first + drawing.BATCH]
        print(f'Generating {len(batch)} images ({first}/{len(cells)}) ...')
        z = torch.cat([drawing.seed_latent(G, seed, device) for seed, _ in batch])
        c = torch.cat([drawing.one_hot(G, domain, device) for _, domain in batch])
        w_mean = torch.stack([means[domain] for _, domain in batch])[:, None] if means else None
        with torch.no_grad():
            ws = drawing.truncate(drawing.map_latents(G, z, c), w_mean, psi)
        images.append(drawing.render(G, ws, noise_mode, [drawing.image_name(seed) for seed, _ in batch]))
    return np.concatenate(images)


def domain_names(data: str | None, num_domains: int) -> list[str]:
    """The names of all domains: those in the dataset.json of a dataset, or 0, 1, ... without a dataset. Raises UserError if it
    cannot be read, or has another number of domains."""
    if data is None:
        return [str(domain) for domain in range(num_domains)]
    names = ImageFolderDataset(data).domains
    if names is None or len(names) != num_domains:
        found = 'no domains' if names is None else f'{len(names)} domains'
        raise UserError(f'{data}: its dataset.json names {found}, but this network has {num_domains}; '
                        'give the dataset that it was trained with, or leave --data out')
    return [' '.join(name.split())[:LONGEST_NAME] for name in names]
