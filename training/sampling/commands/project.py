"""`generate.py project`: the latent w whose image is most similar to a given one."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch

from dnnlib import cli
from dnnlib.channels import has_alpha
from dnnlib.files import open_output, remove_leftovers
from dnnlib.image_size import height_width
from dnnlib.progress import Progress
from dnnlib.signals import StopOnSignal
from dnnlib.util import UserError, format_time, open_url
from torch_utils.misc import module_digest
from training.data import images
from training.data.making.transforms import make_transform
from training.networks import Generator
from training.sampling import captioned_grid, drawing, movie, options
from training.sampling.projection import search_state as state
from training.sampling.projection.search import Projection
from training.sampling.projection.similarity import CHOICES, TITLES, Features, choose

FPS, MEGABITS = 10, 16  # of the video, as published
TELL_SECONDS = 5.0
SAVE_SECONDS = 15.0

EXAMPLES = """\b
Examples:
  # The latent of a face, and a video of how it was found
  python generate.py project --outdir=out --target=face.jpg --network=network-snapshot-025000.pkl
\b
  # Draw it again
  python generate.py --outdir=out --projected-w=out/projected_w.npz --network=network-snapshot-025000.pkl
\b
  # Fewer steps, no video, in one domain of a conditional network
  python generate.py project --outdir=out --target=seven.png --num-steps=300 --save-video=0 --class=1 \\
      --network=network-snapshot-000280.pkl
"""


@click.command(cls=cli.Command, epilog=EXAMPLES)
@options.network
@click.option('--target', 'target_path', type=cli.PATH,
              help="The picture to project: any image file. It is cropped around its centre to the shape of the network's "
              'images, and resized.', required=True, metavar='FILE')
@click.option('--num-steps', help='Number of steps of the optimisation.', type=click.IntRange(min=1), default=1000,
              show_default=True, metavar='INT')
@click.option('--seed', help='Random seed.', type=click.IntRange(min=0), default=303, show_default=True,
              metavar='INT')
@cli.bool_option('--save-video', help='Write proj.mp4, a frame for each step.', default=True, show_default=True)
@options.class_idx
@click.option('--features', help='Measure of similarity. lpips: LPIPS of VGG16, as published; its weights (553 MB) are '
              'downloaded if necessary. efficientnet: EfficientNet-Lite0, which is installed with the requirements. auto: lpips '
              'if its weights are here.', type=click.Choice(CHOICES), default='auto', show_default=True)
@click.option('--detector-path', type=cli.PATH,
              help='Weights of VGG16: a file or URL.  [default: those in the cache directory, or downloaded]',
              metavar='FILE')
@options.outdir
@options.device
@options.ops
def command(network: str, target_path: str, num_steps: int, seed: int, save_video: bool, class_idx: options.LabelChoice,
            features: str, detector_path: str | None, outdir: str, device: str, ops: str) -> None:
    """Find the latent w whose image is most similar to a given picture.

    Writes projected_w.npz, which `generate.py --projected-w` renders, target.png, proj.png, and proj.mp4: the target beside the
    image of each step (*.gif without imageio-ffmpeg). After an interruption, repeat the same command to resume.
    """
    target_picture = read_picture(target_path)
    where = options.start_on(device, ops, cudnn_benchmark=True)
    G = drawing.open_generator(network, where)
    label = drawing.class_label(G, class_idx, where)
    target = fit(target_picture, G)
    video = movie.movie_path(Path(outdir, 'proj.mp4')) if save_video else None
    kind = choose(features, detector_path, G.img_resolution)
    embed = Features(kind, where, detector_path)
    drawing.make_outdir(outdir)

    projection = Projection(G, embed, as_input(target, where), label, num_steps, seed)
    marks = {'network': module_digest(G), '--target': hashlib.sha256(target.data).hexdigest(),
             '--class': str(class_idx if G.c_dim else None), '--num-steps': str(num_steps), '--seed': str(seed),
             '--features': f'{kind} {module_digest(embed.net)}', '--device': where.type}
    state.restore(outdir, marks, projection)

    def save() -> None:
        state.save(outdir, marks, projection)

    start = time.monotonic()
    finished = optimise(projection, save)
    if not finished:
        print(f'Stopped after step {projection.step} of {num_steps}, which is saved. To continue, repeat the same command')
        return
    print(f'Elapsed: {time.monotonic() - start:.1f} s')
    proj = write_results(G, projection, target, Path(outdir), video)
    state.remove(outdir)

    # With the network's own noise, not the optimised one: the user has no other.
    mean = drawing.render(G, projection.mean.expand(1, G.num_ws, -1), 'const', [])[0]
    reached, begun = (embed.distance(as_input(x, where), as_input(target, where)) for x in (proj, mean))
    print(f'Distance of proj.png from target.png by {TITLES[kind]}: {reached:.4f} (of the mean image: {begun:.4f})')


def read_picture(path: str) -> np.ndarray:
    """An image file as uint8 [H, W, 4], as `dataset_tool.py --mode=rgba` converts it. Raises UserError."""
    with open_url(path) as f:
        try:
            data = f.read()
        except OSError as err:
            raise UserError(f'{path}: {(err.strerror or str(err)).lower()}') from err
    return images.decode(data, path, mode='rgba')


def fit(picture: np.ndarray, G: Generator) -> np.ndarray:
    """The largest centred crop of uint8 [H, W, 4] with the shape of the network's images, resized to their size and converted to
    their channels: uint8 [H, W, C]. Transparent parts become white if the network draws no alpha."""
    picture = picture if has_alpha(G.img_channels) else images.converted(picture, 'rgb')[0]
    height, width = height_width(G.img_resolution)
    middle = make_transform('center-crop', width, height)(picture)
    if G.img_channels < 3:
        middle = np.array(PIL.Image.fromarray(middle).convert(images.MODES[G.img_channels]))
    return middle.reshape(height, width, G.img_channels)


def as_input(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 [H, W, C] -> float32 [1, C, H, W] in [-1, 1]."""
    return torch.from_numpy(pixels).to(device, torch.float32).permute(2, 0, 1)[None] / 127.5 - 1


def optimise(projection: Projection, save: Callable[[], None]) -> bool:
    """Do all remaining steps and print some of them. Save periodically and at the end. Returns False if Ctrl-C or SIGTERM stopped
    it early."""
    save()  # shows immediately whether the file can be written
    begun, told, start = projection.step, -math.inf, time.monotonic()
    saved = start
    with StopOnSignal() as stop, Progress('steps', projection.num_steps - begun, verbose=sys.stderr.isatty()) as progress:
        while projection.step < projection.num_steps and not stop.requested:
            distance, loss = projection.advance()
            progress.advance()
            last = projection.step == projection.num_steps
            if last or time.monotonic() - told >= TELL_SECONDS:
                left = (time.monotonic() - start) / (projection.step - begun) * (projection.num_steps - projection.step)
                progress.tell(f'step {projection.step:>4}/{projection.num_steps}: dist {distance.item():<6.4f} '
                              f'loss {loss.item():<6.4f}' + ('' if last else f' left {format_time(left)}'))
                told = time.monotonic()
            if time.monotonic() - saved >= SAVE_SECONDS:
                save()
                saved = time.monotonic()
        save()
    return projection.step == projection.num_steps


def write_results(G: Generator, projection: Projection, target: np.ndarray, outdir: Path, video: Path | None) -> np.ndarray:
    """Write all files, the video last. Returns the image of the result, with the network's own noise: uint8 [H, W, C]."""
    ws = projection.ws(slice(-1, None))
    proj = drawing.render(G, ws, 'const', [])[0]
    for name in ('target.png', 'proj.', 'projected_w.npz'):
        remove_leftovers(outdir, name)
    drawing.save_image(target, outdir / 'target.png')
    drawing.save_image(proj, outdir / 'proj.png')
    with open_output(outdir / 'projected_w.npz') as f:
        np.savez(f, w=ws.cpu().numpy())
    if video is not None:
        movie.write_movie(video, frames(G, projection, target), projection.num_steps, FPS, MEGABITS)
    return proj


def frames(G: Generator, projection: Projection, target: np.ndarray) -> Iterator[np.ndarray]:
    """The target beside the image of each step, with the network's own noise: uint8 [H, 2 W, 1 or 3]; alpha on a checkerboard."""
    for first in range(0, projection.num_steps, drawing.BATCH):
        for image in drawing.render(G, projection.ws(slice(first, first + drawing.BATCH)), 'const', []):
            yield captioned_grid.assemble(np.stack([target, image])[None])
