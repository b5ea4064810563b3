"""Memorisation: how far are samples from the nearest training image, compared with the distances between training images?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dnnlib.errors import UserError
from metrics.context import Context, Result
from metrics.features import extraction
from metrics.features.points import SAME, Points
from metrics.quality.names import FEWEST
from torch_utils import distributed

QUANTILE = 0.01  # of the training images' own distances: nearer samples may be copies
SHOWN, NEIGHBOURS = 6, 5  # samples in each half of the picture, and training images beside each


class Own(NamedTuple):
    """distances: of each training image to the nearest other one, float64 [distinct images]. repeated: bool [N], duplicates among
    the training images, which `distances` excludes."""

    distances: np.ndarray
    repeated: np.ndarray


def own_distances(points: Points, groups: np.ndarray) -> Own:
    """Distances between the training images. groups: int [N]; an image and its mirrored copy are in one group, and are not
    neighbours.

    Of equal images, only one is used, so each has its distance to the nearest different image. Otherwise, a distance of 0 would
    be normal for training images and would hide copies.
    """
    everything = np.arange(len(points.points))
    repeated = np.zeros(len(everything), bool)
    same = SAME * points.spread()
    neighbours, distances = (found[:, 0] for found in points.nearest(points.points, 1, groups, groups))
    while (twins := ~repeated & (distances <= same) & (neighbours < everything)).any():
        repeated |= twins
        again = np.flatnonzero(~repeated & repeated[neighbours])
        if len(again):
            found = points.nearest(points.points[again], 1, groups, groups[again], repeated)
            neighbours[again], distances[again] = (part[:, 0] for part in found)
    return Own(distances[~repeated], repeated)


def memorisation_values(own: Own, distances: np.ndarray) -> dict[str, float]:
    """copies: share of samples nearer to a training image than the 1% quantile of the training images' own distances. ratio:
    median distance of samples / median of these. duplicates: share of training images that repeat another one.

    distances: of the samples to the nearest training image, float64 [M].
    """
    return dict(copies=float((distances < np.quantile(own.distances, QUANTILE)).mean()),
                ratio=float(np.median(distances) / np.median(own.distances)), duplicates=float(own.repeated.mean()))


def memorisation(context: Context, key: str, num_gen: int, detector: str, resize: str = 'published') -> Result:
    """Distances of num_gen samples to the nearest images that the network was trained on, mirrored ones as in training.

    Values <key>_copies, <key>_ratio, <key>_duplicates as of memorisation_values. The figure shows the samples nearest to a
    training image, and the first samples, each with its nearest training images.
    Raises UserError if the dataset does not fit the network, or has fewer than 100 different images.
    """
    extraction.check(context)
    data = extraction.training_images(context, least=FEWEST['nn'])
    net = context.detector(detector, resize)
    real = extraction.of_reals(context, net, data, every=True)
    fake = extraction.of_generator(context, net, num_gen, every=True)

    def compute() -> dict[str, Any]:
        points = Points(real.features(), context.device, progress=lambda blocks: context.progress(blocks, 'nearest images'))
        own = context.once(f'own distances {net.key} {data.dataset.path} {len(data.items)}',
                           lambda: own_distances(points, groups_of(data.dataset)))
        if len(own.distances) < FEWEST['nn']:
            raise UserError(f'{data.dataset.path}: has {len(own.distances)} different images, and the metric needs at least '
                            f'{FEWEST["nn"]}; pass more of them')
        _, distances = points.nearest(fake.features(), 1)
        order = np.argsort(distances[:, 0], kind='stable')
        shown = np.concatenate([order[:SHOWN], np.arange(min(SHOWN, num_gen))])
        neighbours, apart = points.nearest(fake.features()[shown], NEIGHBOURS, hidden=own.repeated)
        return dict(values=memorisation_values(own, distances[:, 0]), samples=shown, neighbours=neighbours,
                    relative=apart / np.median(own.distances),
                    threshold=float(np.quantile(own.distances, QUANTILE) / np.median(own.distances)))

    found = distributed.broadcast_from_rank0(compute)
    values = {f'{key}_{name}': value for name, value in found.pop('values').items()}
    samples = extraction.samples(context, found['samples'])
    neighbours = [[data.dataset[int(i)][0] for i in row] for row in found['neighbours']]
    return Result(values, {name: np.asarray(array) for name, array in found.items()},
                  lambda: draw(key, values, samples, neighbours, found))


def groups_of(dataset: Any) -> np.ndarray:
    """The number of the image that each item shows, mirrored or not: int64 [N]."""
    if not hasattr(dataset, 'get_details'):  # loose images have no mirrored copies
        return np.arange(len(dataset))
    return np.array([dataset.get_details(i).raw_idx for i in range(len(dataset))])


def draw(key: str, values: dict[str, float], samples: list[np.ndarray], neighbours: list[list[np.ndarray]], found: dict):
    """A figure: in each row a sample and its nearest training images, with their distances in medians of the training images'
    own; the samples nearest to a training image on the left, the first samples on the right."""
    from metrics.plotting import new_figure, show_cells
    half, columns = len(samples) // 2, 1 + len(neighbours[0])
    figure, cells = new_figure(1, 2, width=1.7 * columns + 0.4, height=0.7 + 1.05 * half)
    rows = [[sample, *row] for sample, row in zip(samples, neighbours, strict=True)]
    texts = [[f'sample {i}', *(f'{distance:.2f}' for distance in row)]
             for i, row in zip(found['samples'], found['relative'], strict=True)]
    colours = [['black', *('tab:red' if distance < found['threshold'] else 'black' for distance in row)]
               for row in found['relative']]
    halves = {'nearest to a training image': slice(half), 'at random': slice(half, None)}
    for axes, (title, part) in zip(cells, halves.items(), strict=True):
        show_cells(axes, rows[part], texts[part], colours[part])
        axes.set_title(f'Samples {title}, and their nearest training images', fontsize='small')
    figure.suptitle(f'{key}: {100 * values[f"{key}_copies"]:.3g}% of samples nearer than {found["threshold"]:.2f}, the 1% '
                    f'quantile of training images (red); median {values[f"{key}_ratio"]:.2f}; 1 is the median of training images',
                    fontsize='small')
    return figure
