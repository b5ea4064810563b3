"""`generate.py translate`: real images in other domains, drawn from their latents."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import nn

from dnnlib import cli
from dnnlib.files import open_output
from dnnlib.util import OptionError, UserError
from metrics.context import ENCODER, PROJECTION, STEPS, TRAINED, WAYS_OR_AUTO
from metrics.domains import encoder as trained
from metrics.domains import inversion
from metrics.domains.inversion import MOST_MISSING, rebuilding
from torch_utils.misc import module_digest
from training.data.dataset import ImageFolderDataset
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options
from training.sampling.projection import search_state as state
from training.sampling.projection.many import ManySearches, as_input, digest, search_all
from training.snapshots.file import load_network_snapshot
from training.snapshots.hub import is_export

GRID_ROWS = 16  # images that the overview shows
QUESTIONS = {ENCODER: 'was the network trained with --method=clr-gan, and for long enough?',
             TRAINED: 'was it trained for long enough?'}

EXAMPLES = """\b
Examples:
  # The first sixteen images of a dataset in every domain
  python generate.py translate --outdir=out --images=datasets/mnist.zip --network=network-snapshot-000300.pkl
\b
  # Images without labels, all of domain 0, to domain 1; the latents that CLR-GAN's encoder finds, refined by fifty steps
  python generate.py translate --outdir=out --images=cats --source-class=0 --class=1 --by=encoder --steps=50 \\
      --max-images=100 --network=network-snapshot-025000.pkl
\b
  # A hundred images by optimisation, which takes longer and needs no encoder; the same command continues if it is interrupted
  python generate.py translate --outdir=out --images=datasets/glyphs-test.zip --by=projection --max-images=100 \\
      --network=network-snapshot-000240.pkl
"""


class Networks(NamedTuple):
    """G; how latents are found, of metrics.context.WAYS; and the discriminator or trained encoder that gives them, or None."""

    G: Generator
    by: str
    net: nn.Module | None


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--images', type=cli.PATH,
              help='Images to translate: a folder or ZIP of images with the size of the network.', required=True,
              metavar='PATH')
@click.option('--source-class', help='Domain of all images, counted from 0.  [default: by their dataset.json]', type=int,
              metavar='INT')
@click.option('--class', 'class_idx', help='Domain to translate to, counted from 0.  [default: each]', type=int, metavar='INT')
@click.option('--max-images', help='Use only the first N images.', type=click.IntRange(min=1), default=16, show_default=True,
              metavar='INT')
@click.option('--by', help='How the latent of an image is found. encoder: the discriminator of a network that was trained with '
              '--method=clr-gan, or one that python -m training.encoder trained. projection: gradient descent, for any network. '
              'auto: an encoder if it works.', type=click.Choice(WAYS_OR_AUTO), default='auto', show_default=True)
@options.encoder
@click.option('--steps', help='Steps of gradient descent on the difference between the image and its reconstruction. They refine '
              f"an encoder's latents.  [default: 0 by an encoder, {STEPS} by projection]", type=click.IntRange(min=0),
              metavar='INT')
@click.option('--seed', help='Random seed of the initial latents of a projection.', type=click.IntRange(min=0), default=0,
              show_default=True, metavar='INT')
@options.noise_mode
@options.outdir
@options.device
@options.ops
def command(network: str, images: str, source_class: int | None, class_idx: int | None, max_images: int, by: str,
            encoder: str | None, steps: int | None, seed: int, noise_mode: str, outdir: str, device: str, ops: str) -> None:
    """Translate real images to other domains: find the latent of each, and draw it with the label of the other domain.

    For conditional networks. With networks trained with --method=i-stylegan or cg-gan, only the style coordinates change with the
    domain. Writes img<number>-class<domain>.png; translations.png: each image, its reconstruction in its own domain, and its
    translations; and latents.npz: z, the domains of the images, the error of each reconstruction, and the way z was found.
    """
    by = options.way(by, encoder)
    where = options.start_on(device, ops)
    networks = open_networks(network, by, encoder, where)
    G = networks.G
    for name, value in (('--class', class_idx), ('--source-class', source_class)):
        if value is not None and not 0 <= value < G.c_dim:
            raise OptionError(f'{name} must be between 0 and {G.c_dim - 1} for this network')
    sources, classes = read_images(images, G, source_class, max_images)
    targets = list(range(G.c_dim)) if class_idx is None else [class_idx]
    captioned_grid.check_size(min(len(sources), GRID_ROWS), 2 + len(targets), G.img_resolution, 'name one domain with --class')
    steps = inversion.default_steps(networks.by) if steps is None else steps
    drawing.make_outdir(outdir)
    tell(networks, steps, where)

    own = torch.cat([drawing.one_hot(G, k, where) for k in classes])
    found = find_latents(networks, sources, own, steps, seed, noise_mode, outdir)
    if found is None:
        return
    translate(G, found, sources, classes, targets, noise_mode, outdir, networks.by)
    state.remove(outdir)


def open_networks(network: str, by: str, encoder: str | None, device: torch.device) -> Networks:
    """The networks of a snapshot, and the way latents are found. Raises UserError if they cannot translate."""
    print(f'Loading networks from "{network}"...')
    wants_D = by in ('auto', 'encoder') and not is_export(network)
    snapshot = load_network_snapshot(network, only=('G_ema', 'D') if wants_D else ('G_ema',))
    G, D = snapshot.G_ema.to(device), snapshot.D.to(device) if wants_D else None
    if G.c_dim < 2:
        raise UserError(f'{network}: cannot translate, having {max(G.c_dim, 1)} domain(s); train with --cond=1 on a dataset '
                        'that has at least 2')
    found = trained.find(network, G, encoder) if by != PROJECTION else None
    try:
        by = inversion.choose(by, G, D, device, found)
    except UserError as err:
        raise UserError(f'{network}: {err}') from err
    return Networks(G, by, {ENCODER: D, TRAINED: found, PROJECTION: None}[by])


def tell(networks: Networks, steps: int, device: torch.device) -> None:
    """Print how latents are found, and how well an encoder finds those of the network's own images."""
    G, by, net = networks
    if net is None:
        print(f'Finding latents by projection, in {steps} steps')
        return
    print(f'Finding latents by {"the encoder of the discriminator" if by == ENCODER else "the trained encoder"}'
          + (f', refined in {steps} steps' if steps else ''))
    missing = rebuilding(G, net, device)
    print(f'Images that the network drew itself are rebuilt with {missing:.0%} of the error of any other image')
    if missing > MOST_MISSING:
        print(f'warn: so much that it hardly finds latents; {QUESTIONS[by]} --by=projection does without an encoder')


def find_latents(networks: Networks, sources: np.ndarray, own: torch.Tensor, steps: int, seed: int, noise_mode: str, outdir: str
                 ) -> torch.Tensor | None:
    """The latents [N, z_dim] of images uint8 [N, C, H, W] with labels own [N, c_dim]. None if it was stopped, which is printed;
    the same command resumes then."""
    G, by, net = networks
    find = inversion.make_finder(by, G, net, steps, seed, noise_mode)
    searches = ManySearches(sources, own, G.z_dim, find, drawing.batch_size(G, own.device))
    marks = {'network': module_digest(G), '--images': digest(sources) + digest(own.cpu().numpy()), '--by': by,
             '--steps': str(steps), '--seed': str(seed), '--noise-mode': noise_mode, '--device': own.device.type}
    if by == TRAINED:
        marks['--encoder'] = module_digest(net)
    state.restore(outdir, marks, searches, unit='image')
    start, begun = time.monotonic(), searches.step
    if not search_all(searches, lambda: state.save(outdir, marks, searches)):
        print(f'Stopped after image {searches.step} of {searches.num_steps}, which is saved. '
              'To continue, repeat the same command')
        return None
    seconds = (time.monotonic() - start) / max(searches.num_steps - begun, 1)
    if by == PROJECTION or steps > 0:
        print(f'Elapsed: {seconds:.2f} s per image')
    return searches.z


def translate(G: Generator, found: torch.Tensor, sources: np.ndarray, classes: list[int], targets: list[int], noise_mode: str,
              outdir: str, by: str) -> None:
    """Draw the latents found [N, z_dim] in their own domains and the targets, and write all files."""
    where, rows, errors = found.device, [], []
    for first in range(0, len(sources), drawing.BATCH):
        part = slice(first, first + drawing.BATCH)
        print(f'Translating images {first} to {min(first + drawing.BATCH, len(sources)) - 1} of {len(sources)} ...')
        x, code = as_input(sources[part], where), found[part]
        own = torch.cat([drawing.one_hot(G, k, where) for k in classes[part]])
        columns = [drawing.to_pixels(x), draw(G, code, own, noise_mode, first)]
        errors.append(np.abs(columns[1].astype(np.float64) - columns[0]).mean(axis=(1, 2, 3)) / 255)
        for target in targets:
            drawn = draw(G, code, drawing.one_hot(G, target, where).expand(len(x), -1), noise_mode, first)
            for i, pixels in enumerate(drawn):
                drawing.save_image(pixels, Path(outdir, f'img{first + i:05d}-class{target}.png'))
            columns.append(drawn)
        if first < GRID_ROWS:
            rows.append(np.stack(columns, axis=1))
    overview = np.concatenate(rows)[:GRID_ROWS]
    captions = captioned_grid.Captions(['image', 'rebuilt', *(f'to {k}' for k in targets)],
                             [(str(i), str(classes[i])) for i in range(len(overview))], ('', 'domain'))
    drawing.save_image(captioned_grid.assemble(overview, captions), Path(outdir, 'translations.png'))
    with open_output(Path(outdir, 'latents.npz')) as f:
        np.savez(f, z=found.cpu().numpy(), classes=np.array(classes), errors=np.concatenate(errors), by=np.array(by))
    print(f'Reconstructions differ from their images by {np.concatenate(errors).mean():.4f} on average, where 1 is from black to '
          'white')


def read_images(path: str, G: Generator, source_class: int | None, count: int) -> tuple[np.ndarray, list[int]]:
    """The first `count` images of a folder or ZIP, uint8 [N, C, H, W], and their domains. Raises UserError if they do not fit."""
    data = ImageFolderDataset(path, use_labels=source_class is None)
    drawing.check_shape(data, G)
    count = min(count, len(data))
    if source_class is not None:
        return np.stack([data[i][0] for i in range(count)]), [source_class] * count
    if data.label_dim != G.c_dim or not data.has_onehot_labels:
        raise OptionError(f'--images={path} has {data.label_dim or "no"} domains, but this network has {G.c_dim}; '
                          'say with --source-class which one they are of')
    images, labels = zip(*(data[i] for i in range(count)), strict=True)
    return np.stack(images), [int(label.argmax()) for label in labels]


@torch.no_grad()
def draw(G: Generator, code: torch.Tensor, c: torch.Tensor, noise_mode: str, first: int) -> np.ndarray:
    """G(code, c) as pixels uint8 [N, H, W, C]. first: number of the first image; random noise belongs to the number."""
    return drawing.render(G, G.mapping(code, c), noise_mode, [f'img{first + i:05d}' for i in range(len(code))])
