"""`generate.py domains`: the same latents in every domain."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from dnnlib import cli
from dnnlib.util import OptionError, UserError
from training.dataset import ImageFolderDataset
from training.networks import Generator
from training.sampling import common, grid, options

FILE_NAME = 'domains.png'
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
  # A column for each latent, two of the domains in this order
  python generate.py domains --outdir=out --domains=2,0 --layout=rows --network=network-snapshot-025000.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@options.seeds(default='0-7', help='Random seeds, one latent each, in this order: 0-15 or 1,5,9-12.')
@click.option('--domains', help='Which domains, counted from 0, and in which order.  [default: all]', type=cli.NumRange(),
              metavar='RANGE')
@options.domain_trunc
@click.option('--layout', help='Whether the domains are the rows of the picture or its columns.',
              type=click.Choice(['rows', 'columns']), default='columns', show_default=True)
@cli.bool_option('--labels', help='Print seeds and domains into the margins.  [default: 0]')
@click.option('--data', help='With --labels: a dataset, whose dataset.json names the domains.', metavar='PATH')
@options.noise_mode
@options.outdir
@options.device
@options.ops
def command(network: str, seeds: list[int], domains: list[int] | None, trunc: float, layout: str, labels: bool,
            data: str | None, noise_mode: str, outdir: str, device: str, ops: str) -> None:
    """Show what the domains share: one picture, seeds by domains, with the same latent z in every domain.

    For networks that were trained with --cond=1. Writes domains.png.
    """
    options.check_seeds(seeds)
    options.check_finite('--trunc', trunc)
    if data is not None and not labels:
        raise OptionError('--data can only be specified with --labels=1')
    where = options.start_on(device, ops)
    G = common.open_generator(network, where)

    if G.c_dim == 0:
        raise UserError(f'{network}: has no domains (trained without --cond=1); use generate.py images')
    domains = list(range(G.c_dim)) if domains is None else domains
    if not 0 <= min(domains) <= max(domains) < G.c_dim:
        raise OptionError(f'--domains must be between 0 and {G.c_dim - 1} for this network')
    names = domain_names(data, G.c_dim)
    by_row = layout == 'rows'
    rows, columns = (domains, seeds) if by_row else (seeds, domains)
    grid.check_size(len(rows), len(columns), G.img_resolution, 'ask for fewer --seeds or --domains')
    common.make_outdir(outdir)

    cells = [(column, row) if by_row else (row, column) for row in rows for column in columns]
    images = render_cells(G, cells, trunc, noise_mode, where)
    captions = None
    if labels:
        seed_texts, domain_texts = [str(seed) for seed in seeds], [names[domain] for domain in domains]
        row_texts, column_texts = (domain_texts, seed_texts) if by_row else (seed_texts, domain_texts)
        captions = grid.Captions(column_texts, [(text,) for text in row_texts], ('domain' if by_row else 'seed',))
    picture = grid.assemble(images.reshape(len(rows), len(columns), *images.shape[1:]), captions)
    common.save_image(picture, Path(outdir, FILE_NAME))


def render_cells(G: Generator, cells: list[tuple[int, int]], psi: float, noise_mode: str, device: torch.device) -> np.ndarray:
    """The images uint8 [N, H, W, C] of pairs (seed, domain), truncated towards the means of their domains."""
    labels = {domain: common.one_hot(G, domain, device) for _, domain in cells}
    means = {}
    for domain, label in labels.items() if psi != 1 else ():
        print(f'Finding the mean of domain {domain} ({len(means)}/{len(labels)}) ...')
        means[domain] = common.domain_w_mean(G, label)

    images = []
    for first in range(0, len(cells), common.BATCH):
        batch = cells[first:first + common.BATCH]
        print(f'Generating {len(batch)} images ({first}/{len(cells)}) ...')
        z = torch.cat([common.seed_latent(G, seed, device) for seed, _ in batch])
        c = torch.cat([labels[domain] for _, domain in batch])
        w_mean = torch.stack([means[domain] for _, domain in batch])[:, None] if means else None
        with torch.no_grad():
            ws = common.truncate(common.map_latents(G, z, c), w_mean, psi)
        images.append(common.render(G, ws, noise_mode, [common.image_name(seed) for seed, _ in batch]))
    return np.concatenate(images)


def domain_names(data: str | None, num_domains: int) -> list[str]:
    """The names of all domains: those in the dataset.json of a dataset, or 0, 1, ... without one. Raises UserError if it
    can't be read, or names another number of domains."""
    if data is None:
        return [str(domain) for domain in range(num_domains)]
    names = ImageFolderDataset(data).domains
    if names is None or len(names) != num_domains:
        found = 'no domains' if names is None else f'{len(names)} domains'
        raise UserError(f'{data}: its dataset.json names {found}, but this network has {num_domains}; '
                        'give the dataset that it was trained with, or leave --data out')
    return [' '.join(name.split())[:LONGEST_NAME] for name in names]
