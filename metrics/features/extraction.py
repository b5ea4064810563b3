"""Features of images and their statistics: of a dataset, a generator, or any images.

Images come in batches of `context.batch`. Several ranks take turns. The batches are the same for any number of ranks, and rank 0
collects their features in order, so the results are also the same. On other ranks, the statistics stay empty.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.channels import over
from dnnlib.errors import UserError
from dnnlib.image_size import height_width, text_of
from metrics.context import Context, batches
from metrics.features.generation import random_images
from metrics.features.statistics import FeatureStats
from metrics.features.together import Captures
from metrics.quality.names import FEWEST, Name
from torch_utils import distributed

THREADS = 4  # that read images; decoding mostly releases Python's lock
AHEAD = 3    # batches that are read ahead of the detector
FEWEST_LABELLED = 20  # images that a classifier is trained on


def of_batches(context: Context, num_items: int, read: Callable[[list[slice]], Iterable[torch.Tensor]],
               compute: Callable[[torch.Tensor], torch.Tensor], stats: FeatureStats, text: str) -> FeatureStats:
    """Append the features of num_items images to stats, and return them.

    read: yields the images on the device for each slice of image numbers. It is called once, with the batches of this rank.
    compute: images -> features [N, F]. text: name for progress.
    """
    plan, ranks = batches(num_items, context.batch), distributed.world_size()
    mine = None
    parts: list[torch.Tensor] = []

    def append_parts() -> None:
        while parts:
            stats.append(parts.pop(0))

    with context.count(text, num_items) as progress, torch.no_grad():
        for first in range(0, len(plan), ranks):
            counts = [part.stop - part.start for part in plan[first:first + ranks]]
            rows = error = None
            try:
                context.check_stop()
                append_parts()
                mine = mine or iter(read(plan[distributed.rank()::ranks]))
                rows = compute(next(mine)).to(torch.float32) if distributed.rank() < len(counts) else None
            except Exception as err:  # the other ranks wait, so they must get it
                error = err
            distributed.agree(error)
            if first == 0:
                width = distributed.broadcast_from_rank0(lambda: rows.shape[1])  # noqa: B023 (called immediately)
            if rows is None:  # nothing left for this process
                rows = torch.zeros(0, width, device=context.device)
            parts += distributed.gather_rows(rows, counts)
            progress.advance(sum(counts))
        distributed.broadcast_from_rank0(append_parts)
    return stats


def of_generator(context: Context, detector: Any, num_items: int, *, mean_cov: bool = False, every: bool = False,
                 draw: Callable[[Sequence[int]], torch.Tensor] | None = None,
                 compute: Callable[[torch.Tensor], torch.Tensor] | None = None, text: str = 'generator features') -> FeatureStats:
    """Statistics of generated images 0..num_items - 1.

    mean_cov, every: what to capture. draw: numbers of images -> uint8 [N, C, H, W] on the device; by default random_images
    with labels of all images of the dataset. compute: images -> [N, F], instead of the detector's features. With
    `context.images`, the first of them are used. Default statistics are made once for the metrics of context.together.
    """
    usual = draw is None and compute is None
    if draw is None and context.images is not None:
        text = 'image features'
    elif draw is None:
        labels = context.labels_of.all_images() if context.G.c_dim else None

        def draw(items: Sequence[int]) -> torch.Tensor:
            return random_images(context, items, labels)

    def read(parts: list[slice]) -> Iterator[torch.Tensor]:
        if draw is None:
            return read_images(context, context.images, [range(part.start, part.stop) for part in parts], detector)
        return (draw(range(part.start, part.stop)) for part in parts)

    captures, common = Captures(mean_cov, every), False
    if usual:
        if (known := context.together.known(detector, num_items)) is not None:
            return known
        captures, common = context.together.of_generated(detector, num_items, captures)
    stats = FeatureStats(captures.every, captures.mean_cov, max_items=num_items)
    of_batches(context, num_items, read, compute or detector.features, stats, text)
    if common:
        context.together.keep(detector, num_items, stats)
    return stats


def samples(context: Context, items: Sequence[int]) -> list[np.ndarray]:
    """The generated images of these numbers, as of_generator draws them, or those of context.images: uint8 [C, H, W] each."""
    if context.images is not None:
        return [context.images[int(i)][0] for i in items]
    images = random_images(context, [int(i) for i in items], context.labels_of.all_images() if context.G.c_dim else None)
    return list(images.cpu().numpy())


def of_dataset(context: Context, detector: Any, dataset: Any, *, mean_cov: bool = False, every: bool = False,
               items: Sequence[int] | None = None, text: str = 'dataset features') -> FeatureStats:
    """Statistics of images of a dataset, made once for all contexts that share a cache, and kept in the feature cache.

    dataset: item i is (uint8 [C, H, W], anything); `name`, and `identity()`, a str that identifies the images and their order;
    without it, nothing is kept. mean_cov, every: what to capture. items: numbers of the images; None for all.
    """
    items = range(len(dataset)) if items is None else items
    identity = dataset.identity() if hasattr(dataset, 'identity') else None
    numbers = hashlib.sha256(np.asarray(items, np.int64).tobytes()).hexdigest()
    key = dict(images=identity, items=numbers, detector=detector.key, mean_cov=mean_cov, every=every)
    keys = [key] if mean_cov and every else [key, key | dict(mean_cov=True, every=True)]  # one with more will also do

    def make() -> FeatureStats:
        cache = context.feature_cache if identity is not None else None
        found = None
        if cache is not None and distributed.is_rank0():
            found = next(filter(None, map(cache.load, keys)), None)
        stats = found or FeatureStats(every, mean_cov, max_items=len(items))
        if distributed.broadcast_from_rank0(lambda: found is not None):
            return stats
        of_batches(context, len(items), lambda parts: read_images(context, dataset, [items[part] for part in parts], detector),
                   detector.features, stats, text)
        if cache is not None and distributed.is_rank0():
            cache.save(key, stats, name=f'{dataset.name}-{detector.name}')
        return stats

    return make() if identity is None else context.once(f'features {sorted(key.items())}', make)


def of_reals(context: Context, detector: Any, reals: Reals, *, mean_cov: bool = False, every: bool = False) -> FeatureStats:
    """Statistics of the result of `real_images`, as of_dataset, with all that the metrics of context.together need."""
    captures = context.together.of_reals(detector, reals.full, len(reals.items), len(reals.dataset), Captures(mean_cov, every))
    return of_dataset(context, detector, reals.dataset, items=reals.items, **captures._asdict())


def read_images(context: Context, dataset: Any, parts: Sequence[Sequence[int] | np.ndarray],
                detector: Any = None) -> Iterator[torch.Tensor]:
    """For each part, the images of these numbers: uint8 [N, C, H, W] on the device. Read ahead by threads.

    If `image_shape` of the dataset is None, images may have any size. Each is resized separately, as the detector does, to
    float32 [N, 3, S, S] in [0, 255].
    """
    def read(i: int) -> np.ndarray:
        pixels = dataset[int(i)][0]
        return resized(detector, pixels) if getattr(dataset, 'image_shape', ()) is None else pixels

    if parts:
        dataset[int(parts[0][0])]  # opens files and reads labels, once, before several threads do
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque = deque()
        upcoming = iter(parts)

        def start_next() -> None:
            for part in upcoming:
                waiting.append([pool.submit(read, i) for i in part])
                return

        try:
            for _ in range(AHEAD):
                start_next()
            while waiting:
                images = [future.result() for future in waiting.popleft()]
                start_next()
                yield torch.from_numpy(np.stack(images)).to(context.device)
        finally:
            pool.shutdown(cancel_futures=True)


def resized(detector: Any, pixels: np.ndarray) -> np.ndarray:
    """An image, uint8 [1 to 4, H, W], at the size of the detector, on white: float32 [3, S, S] in [0, 255]."""
    image = over(torch.from_numpy(pixels).to(torch.float32)[None], background=255).expand(-1, 3, -1, -1)
    return detector.resized(image)[0].numpy()


class Reals(NamedTuple):
    """Real images that a metric compares with: numbers of items of a dataset. full: as in `real_images`."""

    dataset: Any
    items: Sequence[int]
    full: bool


def real_images(context: Context, full: bool, least: int, most: int | None = None) -> Reals:
    """All images of the dataset, even if only a part was trained on.

    full: without mirrored ones. most: use at most the first N. Raises UserError if there are fewer than `least`.
    """
    dataset = context.dataset.all_images(False if full else None)
    count = len(dataset) if most is None else min(most, len(dataset))
    return _enough(Reals(dataset, range(count), full), least)


def training_images(context: Context, least: int) -> Reals:
    """The training images of the network: no others of the dataset, and mirrored ones as in training. Raises UserError if there
    are fewer than `least`, or if only other images are available."""
    if context.eval_data is not None and context.training_set is None:
        raise UserError('the training images are not available, and --eval-data are others; pass the training images with --data')
    dataset = context.labels_of
    return _enough(Reals(dataset, range(len(dataset)), full=True), least)


def real_and_generated(context: Context, detector: str, resize: str, num_gen: int, full: bool, least: int,
                       most: int) -> tuple[FeatureStats, FeatureStats]:
    """All features of the real images and of num_gen generated ones.

    full: real images as in `real_images`, up to `most`; otherwise up to num_gen. Raises UserError if the dataset does not fit the
    network, or has fewer than `least` images.
    """
    check(context)
    data = real_images(context, full, least, most if full else num_gen)
    net = context.detector(detector, resize)
    return of_reals(context, net, data, every=True), of_generator(context, net, num_gen, every=True)


def _enough(reals: Reals, least: int) -> Reals:
    if (count := len(reals.items)) < least:
        raise UserError(f'{reals.dataset.path}: has {count} image{"s" * (count != 1)}, and the metric needs '
                        f'at least {least}; pass more of them')
    return reals


def check(context: Context) -> None:
    """Raise UserError unless the dataset has the labels and the shape of images that the network takes and makes."""
    G, data = context.G, context.dataset
    if data is None:
        raise UserError('a dataset is needed to compare with; pass --data')
    if G is None:
        return
    check_labels(context)
    made = [G.img_channels, *height_width(G.img_resolution)]
    if list(data.image_shape) != made:
        raise UserError(f'{data.path}: its images are {list(data.image_shape)}, but the network makes {made}; pass the dataset '
                        'that it was trained on')


def check_labels(context: Context) -> None:
    """Raise UserError unless the dataset has the labels that the network takes. An unconditional one needs no dataset."""
    G, data = context.G, context.dataset
    if G is None:
        return
    if G.c_dim and data is None:
        raise UserError('a dataset is needed for its labels; pass --data')
    if G.c_dim and data.label_dim != G.c_dim:
        labels = f'labels of {data.label_dim} numbers' if data.label_dim else 'no labels'
        raise UserError(f'{data.path}: has {labels}, but the network takes {G.c_dim}; pass the dataset that it was trained on')


def check_classes(context: Context, text: str, num: int) -> None:
    """Raise UserError unless the images of the dataset have classes, fewer than num samples. text: of the metric."""
    check(context)
    data = context.dataset
    if data.label_dim == 0 or not data.has_onehot_labels:
        raise UserError(f'{data.path}: has {"labels that are vectors" if data.label_dim else "no classes"}, and {text} counts '
                        'classes of images; make a dataset of a source that has some, such as dataset_tool.py --source=mnist '
                        '--domains=stacked')
    if data.label_dim < 2 or len(data) < FEWEST_LABELLED:
        raise UserError(f'{data.path}: has {len(data)} images of {data.label_dim} class{"es" * (data.label_dim != 1)}; {text} '
                        f'trains a classifier, which needs {FEWEST_LABELLED} images and 2 classes; pass more of them')
    if num < data.label_dim:
        raise UserError(f'{data.path}: {num} samples cannot show its {data.label_dim} classes; ask for --num={data.label_dim} '
                        'or more')


def check_images(context: Context, text: str, name: Name) -> None:
    """Raise UserError unless there are the images, and the labels, that a metric needs. text, name: of the metric."""
    if name.family in ('is', 'ppl'):
        check_labels(context)
        if name.family == 'ppl' and not name.variant.startswith('ppl2') and len(set(height_width(context.G.img_resolution))) > 1:
            raise UserError(f'{text}: looks at the face of aligned portraits, which are square, but the network makes '
                            f'{text_of(context.G.img_resolution)}; use ppl2_wend')
    elif name.family == 'modes':
        check_classes(context, text, name.num)
    elif name.family == 'nn':
        check(context)
        training_images(context, least=FEWEST['nn'])
    else:
        check(context)
        real_images(context, name.full, least=FEWEST[name.family])
    if context.images is not None and len(context.images) < name.num:
        fewer = name._replace(num=len(context.images))
        advice = f'ask for --metrics={fewer}, or --num={fewer.num}' if fewer.num >= FEWEST[name.family] else 'pass more of them'
        raise UserError(f'{context.images.path}: has {len(context.images)} images, but {text} takes {name.num}; {advice}')
