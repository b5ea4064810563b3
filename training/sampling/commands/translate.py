"""`generate.py translate`: real images in other domains, by the networks of one CLR-GAN."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from dnnlib import cli
from dnnlib.image_size import height_width
from dnnlib.util import OptionError, UserError
from training.data.dataset import ImageFolderDataset
from training.networks import Generator
from training.sampling import captioned_grid, drawing, options
from training.snapshots.file import load_network_snapshot

GRID_ROWS = 16  # images that the overview shows
LEARNING_RATE = 0.05
REBUILT, MOST_MISSING = 16, 0.9  # images drawn to see how well latents are found, and the error above which it says so

EXAMPLES = """\b
Examples:
  # The first sixteen images of a dataset in every domain, as the networks see it at once
  python generate.py translate --outdir=out --images=datasets/mnist.zip --network=network-snapshot-000300.pkl
\b
  # Images without labels, all of domain 0, to domain 1; fifty steps of refinement find latents that fit better
  python generate.py translate --outdir=out --images=cats --source-class=0 --class=1 --steps=50 \\
      --max-images=100 --network=network-snapshot-025000.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--images', type=cli.PATH,
              help='What to translate: a folder or ZIP of images of the size of the network.', required=True,
              metavar='PATH')
@click.option('--source-class', help='Domain of all of the images, counted from 0.  [default: by their dataset.json]', type=int,
              metavar='INT')
@click.option('--class', 'class_idx', help='Domain to translate to, counted from 0.  [default: each]', type=int, metavar='INT')
@click.option('--max-images', help='Take only the first so many.', type=click.IntRange(min=1), default=16, show_default=True,
              metavar='INT')
@click.option('--steps', help='Refine each latent by so many steps of gradient descent on the difference between the image and '
              'its reconstruction.', type=click.IntRange(min=0), default=0, show_default=True, metavar='INT')
@options.noise_mode
@options.outdir
@options.device
@options.ops
def command(network: str, images: str, source_class: int | None, class_idx: int | None, max_images: int, steps: int,
            noise_mode: str, outdir: str, device: str, ops: str) -> None:
    """Translate real images to other domains: the discriminator finds the latent, and the generator draws it in the domain.

    For conditional networks that were trained with --method=clr-gan, best with i-stylegan or cg-gan beside it: then only
    the style coordinates change with the domain. Writes img<number>-class<domain>.png, and translations.png: each image,
    its reconstruction in its own domain, and its translations.
    """
    where = options.start_on(device, ops)
    print(f'Loading networks from "{network}"...')
    snapshot = load_network_snapshot(network, only=('G_ema', 'D'))
    G, D = snapshot.G_ema.to(where), snapshot.D.to(where)
    if G.c_dim < 2 or D.latent_dim != G.z_dim:
        raise UserError(f'{network}: cannot translate, having {max(G.c_dim, 1)} domain(s), latents of {G.z_dim} numbers and a '
                        f'discriminator with {D.latent_dim} features; train with --cond=1 --method=clr-gan')
    for name, value in (('--class', class_idx), ('--source-class', source_class)):
        if value is not None and not 0 <= value < G.c_dim:
            raise OptionError(f'{name} must be between 0 and {G.c_dim - 1} for this network')
    sources, classes = read_images(images, G, source_class, max_images)
    targets = list(range(G.c_dim)) if class_idx is None else [class_idx]
    captioned_grid.check_size(min(len(sources), GRID_ROWS), 2 + len(targets), G.img_resolution, 'name one domain with --class')
    drawing.make_outdir(outdir)
    missing = rebuilding(G, D, where)
    print(f'Images that the network drew itself are rebuilt with {missing:.0%} of the error of any other image')
    if missing > MOST_MISSING:
        print('warn: so much that it hardly finds latents; was the network trained with --method=clr-gan, and for long enough?')

    rows = []
    for first in range(0, len(sources), drawing.BATCH):
        part = slice(first, first + drawing.BATCH)
        print(f'Translating images {first} to {min(first + drawing.BATCH, len(sources)) - 1} of {len(sources)} ...')
        x = torch.from_numpy(sources[part]).to(where, torch.float32) / 127.5 - 1
        own = torch.cat([drawing.one_hot(G, k, where) for k in classes[part]])
        code = refine(G, encode(D, x, own), x, own, steps, noise_mode)
        columns = [drawing.to_pixels(x), draw(G, code, own, noise_mode, first)]
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


def read_images(path: str, G: Generator, source_class: int | None, count: int) -> tuple[np.ndarray, list[int]]:
    """The first `count` images of a folder or ZIP, uint8 [N, C, H, W], and their domains. Raises UserError if they don't fit."""
    data = ImageFolderDataset(path, use_labels=source_class is None)
    wanted = [G.img_channels, *height_width(G.img_resolution)]
    if data.image_shape != wanted:
        raise UserError(f'{path}: images are {data.image_shape}, but the network draws {wanted}; convert them with '
                        'dataset_tool.py')
    count = min(count, len(data))
    if source_class is not None:
        return np.stack([data[i][0] for i in range(count)]), [source_class] * count
    if data.label_dim != G.c_dim or not data.has_onehot_labels:
        raise OptionError(f'--images={path} has {data.label_dim or "no"} domains, but this network has {G.c_dim}; '
                          'say with --source-class which one they are of')
    images, labels = zip(*(data[i] for i in range(count)), strict=True)
    return np.stack(images), [int(label.argmax()) for label in labels]


@torch.no_grad()
def rebuilding(G: Generator, D: nn.Module, device: torch.device) -> float:
    """How well G rebuilds images that it drew itself from the latents that D finds in them: the mean square of what is missing,
    relative to that of images of other latents in the same domain. 0 at best; 1 if the latents say nothing."""
    seeds = range(REBUILT)
    z = torch.cat([drawing.seed_latent(G, seed, device) for seed in seeds])
    c = drawing.one_hot(G, 0, device).expand(len(z), -1)

    def drawn(latents: torch.Tensor) -> torch.Tensor:
        ws = drawing.map_latents(G, latents, c)
        return torch.cat([G.synthesis(part, noise_mode='const') for part in ws.split(drawing.batch_size(G, device))])

    x = drawn(z)
    again = drawn(encode(D, x, c))
    distances = torch.cdist(again.flatten(1), x.flatten(1)).square()
    return (distances.diagonal().mean() / distances.mean()).item()


@torch.no_grad()
def encode(D: nn.Module, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """What the discriminator takes for the latents z [N, z_dim] of images x [N, C, H, W] in [-1, 1] of labels c [N, c_dim].

    One image at a time: minibatch stddev would make the result depend on the others.
    """
    return torch.cat([D(x[i:i + 1], c[i:i + 1], return_latent=True)[1] for i in range(len(x))])


def refine(G: Generator, code: torch.Tensor, x: torch.Tensor, c: torch.Tensor, steps: int, noise_mode: str) -> torch.Tensor:
    """Move latents code [N, z_dim] so that G(code, c) comes closer to x [N, C, H, W], by `steps` steps of Adam on the mean
    square; of all latents on the way, the best of each image is returned, so that none gets worse. Random noise is left out."""
    if steps == 0:
        return code
    noise_mode = 'none' if noise_mode == 'random' else noise_mode
    z = code.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE)
    best, best_error = code, torch.full([len(code)], torch.inf, device=code.device)
    for step in range(steps + 1):
        error = (G(z, c, noise_mode=noise_mode) - x).square().mean(dim=(1, 2, 3))
        better = error.detach() < best_error
        best, best_error = torch.where(better[:, None], z.detach(), best), torch.where(better, error.detach(), best_error)
        if step < steps:
            optimizer.zero_grad()
            error.sum().backward()
            optimizer.step()
    return best


@torch.no_grad()
def draw(G: Generator, code: torch.Tensor, c: torch.Tensor, noise_mode: str, first: int) -> np.ndarray:
    """G(code, c) as pixels uint8 [N, H, W, C]. first: number of the first image; random noise belongs to the number."""
    return drawing.render(G, G.mapping(code, c), noise_mode, [f'img{first + i:05d}' for i in range(len(code))])
