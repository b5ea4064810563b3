"""`python -m training.encoder --network=...`: train an encoder for a network, and save it beside the network."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch

from dnnlib import cli, openmp  # noqa: F401 (before torch is loaded)
from dnnlib.progress import Progress
from dnnlib.util import OptionError, UserError
from metrics.domains.encoder import path_beside, save
from metrics.domains.inversion import MOST_MISSING, rebuilding
from torch_utils import devices
from training.data.dataset import ImageFolderDataset
from training.data.held_out import describe
from training.encoder.learning import BATCH, LATENTS, LEARNING_RATE, RealImages, quality, real_quality, train
from training.networks import Generator
from training.sampling import drawing, options
from training.snapshots import shipped

KIMG = 12
HELD_OUT = 256  # samples, and real images at most, on which the quality is measured

EXAMPLES = """\b
Examples:
  # An encoder for the newest snapshot of a run
  python -m training.encoder --network=runs/00000-mnist-cond
\b
  # Then: real images in other domains, and how well they keep their content
  python generate.py translate --images=datasets/mnist.zip --outdir=out --network=runs/00000-mnist-cond
  python calc_metrics.py --metrics=truth --data=datasets/paired.zip \\
      --network=runs/00000-mnist-cond/network-snapshot-000100.pkl
\b
  # For a network of models/: the file lies in this folder, and has to be named
  python -m training.encoder --network=two-color-mnist/i-stylegan --out=encoder.safetensors
  python generate.py translate --images=datasets/mnist.zip --outdir=out --network=two-color-mnist/i-stylegan \\
      --encoder=encoder.safetensors
"""


@click.command(cls=cli.Command, epilog=EXAMPLES, context_settings=dict(max_content_width=120))
@options.network
@click.option('--data', type=cli.PATH, help='Real images that the encoder learns to rebuild, instead of samples: a folder or ZIP '
              'made by dataset_tool.py, such as the training images.  [default: none]', metavar='PATH')
@click.option('--kimg', help='Length of the training in thousands of samples.', type=click.FloatRange(min=0, min_open=True),
              default=KIMG, show_default=True, metavar='FLOAT')
@click.option('--out', type=cli.PATH, help='The file to write.  [default: <snapshot>-encoder.safetensors beside the snapshot, '
              'where other commands look for it; for a URL or a network of models/, in the current folder]', metavar='PATH')
@click.option('--seed', help='Random seed. Determines the result, on one machine with one number of threads.',
              type=click.IntRange(min=0), default=0, show_default=True, metavar='INT')
@options.device
@options.ops
def main(network: str, data: str | None, kimg: float, out: str | None, seed: int, device: str, ops: str) -> None:
    """Train an encoder that finds the latents of real images, for a network with domains of any method.

    generate.py translate and the metrics of translation use it with --by=auto or --by=encoder, instead of a slower projection. It
    works only for this network.
    """
    where = options.start_on(device, ops, cudnn_benchmark=True)
    G = drawing.open_generator(network, where)
    if G.c_dim < 2:
        raise UserError(f'{network}: has {max(G.c_dim, 1)} domain(s), and an encoder serves translation between at least 2; '
                        'generate.py project finds the latent of an image without one')
    path, beside = Path(out) if out else default_path(network), path_beside(network)
    reals = held_out = None
    if data is not None:
        dataset = open_images(data, G)
        reals, held_out = split(dataset, seed)
    check_writable(path)

    with devices.explaining_out_of_memory('use --device=cpu'):
        encoder = train(G, round(kimg * 1000), seed, reals, shown)
        measured = quality(G, encoder, HELD_OUT, seed)
        if held_out is not None:
            measured['reals_rebuilt'] = real_quality(G, encoder, held_out)
        missing = rebuilding(G, encoder, where)
    if not all(map(math.isfinite, measured.values())):
        raise UserError(f'{network}: its encoder diverged, and was not saved; does the network draw images (generate.py)?')
    recipe = dict(kimg=kimg, seed=seed, batch=BATCH, lr=LEARNING_RATE, latents=LATENTS,
                  data=None if data is None else describe(dataset))
    save(path, encoder, G, dict(recipe=recipe, quality=measured))
    tell(measured, missing)
    print(f'Wrote {path}' + ('' if path == beside else f'. To use it: --encoder={path}'))


def tell(measured: dict[str, float], missing: float) -> None:
    """Print the quality of the encoder."""
    print(f'Samples of the network are rebuilt with a mean error of {measured["samples_rebuilt"]:.4f}, where 1 is from black to '
          f'white, which is {missing:.0%} of that of any other image in mean square')
    if 'reals_rebuilt' in measured:
        print(f'Real images that were held out are rebuilt with a mean error of {measured["reals_rebuilt"]:.4f}')
    if missing > MOST_MISSING:
        print('warn: so much that it hardly finds latents; train it for longer, with --kimg')


def default_path(network: str) -> Path:
    """Where the encoder goes without --out."""
    beside = path_beside(network)
    if beside is not None and not beside.resolve().is_relative_to(shipped.MODELS):
        return beside
    return Path(f'{Path(network).stem}-encoder.safetensors')


def open_images(path: str, G: Generator) -> Any:
    """The dataset of --data. Raises OptionError if it does not fit the network."""
    try:
        dataset = ImageFolderDataset(path, use_labels=True)
        drawing.check_shape(dataset, G)
    except UserError as err:
        raise OptionError(f'--data: {err}') from err
    if dataset.label_dim != G.c_dim or not dataset.has_onehot_labels:
        raise OptionError(f'--data={path} has {dataset.label_dim or "no"} domains, but this network has {G.c_dim}')
    return dataset


def split(dataset: Any, seed: int) -> tuple[RealImages, RealImages]:
    """Images to train on, and a tenth of them, at most HELD_OUT, to measure on. Raises OptionError for fewer than two."""
    if len(dataset) < 2:
        raise OptionError(f'--data={dataset.path} has one image only; give at least 2')
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(max(len(dataset) // 10, 1), HELD_OUT)
    return RealImages(dataset, order[count:]), RealImages(dataset, order[:count])


def check_writable(path: Path) -> None:
    """Raise UserError if the file could not be written later."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, 'is a folder')
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({(err.strerror or str(err)).lower()}); choose another file with --out'
                        ) from err


def shown(steps: range) -> Iterator[int]:
    """Batches, with progress."""
    with Progress('encoder', len(steps) * BATCH) as progress:
        for step in steps:
            yield step
            progress.advance(BATCH)


if __name__ == '__main__':
    cli.run(main)
