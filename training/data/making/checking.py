"""Check of a finished dataset: decodes every image, counts images by label, and names problems."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from dnnlib import UserError
from dnnlib.channels import name as channel_name
from dnnlib.channels import on_checkerboard
from dnnlib.files import atomic_open
from dnnlib.progress import Progress
from training.data.dataset import ImageFolderDataset
from training.data.making.in_parallel import map_in_order, workers_for

PER_TASK = 64   # images
MOST_NAMED = 20  # that are broken
MOST_MEANS = 16  # classes, for a mean image of each


class Statistics(NamedTuple):
    """Statistics of some images. sums: label (None: without classes) -> the sum of its images, float64 [C, H, W], and their
    number.

    squares: sum of squared pixels, float64 [C]. digests: of the pixels of each image. troubles: problems of the other images.
    """

    sums: dict[int | None, np.ndarray]
    counts: Counter
    squares: np.ndarray
    digests: list[bytes]
    troubles: list[str]


class Report(NamedTuple):
    """The content of a dataset. images: number of decoded images. shape: [C, H, W]. bytes: size on disk.

    labels: class or vector -> number of images; empty without labels. domains: names of the classes, or None.
    content_dim: classes of content; 0 without. means: mean images, float64 [C, H, W], by label, and of all by None.
    std: of all pixels, float64 [C]. repeated: number of images that equal an earlier one. troubles: problems.
    """

    images: int
    shape: list[int]
    bytes: int
    labels: Counter
    domains: list[str] | None
    content_dim: int
    means: dict[int | None, np.ndarray]
    std: np.ndarray
    repeated: int
    troubles: list[str]


@functools.lru_cache(maxsize=1)
def _opened(path: str) -> ImageFolderDataset:
    return ImageFolderDataset(path, use_labels=True)


def _statistics(path: str, start: int, stop: int) -> Statistics:
    data = _opened(path)
    channels = data.num_channels
    result = Statistics({}, Counter(), np.zeros(channels), [], [])
    classes = data.has_onehot_labels
    for i in range(start, stop):
        try:
            image, _ = data[i]
        except UserError as err:
            result.troubles.append(str(err))
            continue
        label = int(data.get_details(i).raw_label) if classes else None
        if label not in result.sums:
            result.sums[label] = np.zeros(data.image_shape)
        result.sums[label] += image
        result.counts[label] += 1
        result.squares[:] += np.square(image, dtype=np.float64).sum(axis=(1, 2))
        result.digests.append(hashlib.blake2b(image.tobytes(), digest_size=16).digest())
    return result


def check_dataset(path: str, workers: int | None = None) -> Report:
    """Decode all images of a dataset. workers: number of processes; None for a suitable number.

    Broken images are in the report. Raises UserError if it cannot be opened, no image can be read, or its labels are wrong.
    """
    _opened.cache_clear()  # it may have changed
    data = _opened(path)
    tasks = [((start, stop), (path, start, stop)) for start, stop in
             ((start, min(start + PER_TASK, len(data))) for start in range(0, len(data), PER_TASK))]
    sums: dict[int | None, np.ndarray] = {}
    counts: Counter = Counter()
    squares, troubles, repeated = np.zeros(data.num_channels), [], 0
    digests: set[bytes] = set()
    with Progress('images', len(data)) as progress:
        for (start, stop), part in map_in_order(_statistics, tasks, workers or workers_for(len(data)), batch_items=1):
            progress.advance(stop - start)
            for label, value in part.sums.items():
                sums[label] = sums.get(label, 0) + value
            counts += part.counts
            squares += part.squares
            troubles += part.troubles
            repeated += len(part.digests) - len(set(part.digests) - digests)
            digests.update(part.digests)
    count = counts.total()
    if not count:
        raise UserError(f'{path}: not one of its {len(data)} images can be read; the first: {troubles[0]}')
    total: Any = sum(sums.values())
    means = {label: value / counts[label] for label, value in sorted(sums.items(), key=lambda item: item[0] or 0)}
    pixels = count * data.image_shape[1] * data.image_shape[2]
    variance = squares / pixels - np.square(total.sum(axis=(1, 2)) / pixels)
    return Report(count, data.image_shape, _size(Path(path)), _labels(data), data.domains, data.content_dim,
                  {None: total / count, **means}, np.sqrt(np.maximum(variance, 0)), repeated, troubles)


def _labels(data: ImageFolderDataset) -> Counter:
    if not data.has_labels:
        return Counter()
    labels = (data.get_details(i).raw_label.tolist() for i in range(len(data)))
    return Counter(tuple(label) if isinstance(label, list) else label for label in labels)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob('*') if file.is_file())


def write_means(report: Report, path: str | Path) -> None:
    """Write a picture of the mean image, with the mean images of the first classes beside it. Raises UserError if it cannot be
    written."""
    images = list(report.means.values())[:1 + MOST_MEANS]
    if len(images) == 2:  # of one class, which is all
        images = images[:1]
    pixels = np.rint(np.concatenate(images, axis=2)).astype(np.uint8).transpose(1, 2, 0)  # [H, W of all, C]
    pixels = on_checkerboard(pixels)
    try:
        with atomic_open(path) as f:
            PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(f, format='png')
    except OSError as err:
        raise UserError(f'{path}: cannot be written ({(err.strerror or str(err)).lower()}); choose a --dest') from err


def describe(report: Report, path: str) -> list[str]:
    """The report in lines."""
    channels, height, width = report.shape
    size = f'{report.bytes / 2 ** 20:.1f} MiB'
    lines = [f'{path}: {report.images} images, {width}x{height} {channel_name(channels)}, {size}']
    classes = all(isinstance(label, int) for label in report.labels)
    if not report.labels:
        lines.append('No labels')
    elif not classes:
        lines.append(f'Labels: vectors of {len(next(iter(report.labels)))} numbers, {len(report.labels)} different ones')
    else:
        number = max(report.labels) + 1
        names = dict(enumerate(report.domains or []))
        lines.append('Label  Images' + ('  Domain' if names else ''))
        for label in range(max(number, len(names))):
            if number <= 100 or report.labels[label]:
                lines.append(f'{label:5d}  {report.labels[label]:6d}  {names.get(label, "")}'.rstrip())
        empty = number - len(report.labels)
        if empty:
            lines.append(f'Warning: {empty} of the labels 0 to {number - 1} have no image')
    if report.content_dim:
        lines.append(f'Content: {report.content_dim} classes')
    mean = report.means[None].mean(axis=(1, 2))
    lines.append('Mean ' + ', '.join(f'{v:.2f}' for v in mean) + '; standard deviation '
                 + ', '.join(f'{v:.2f}' for v in report.std) + ' (of 0 to 255)')
    if report.repeated:
        lines.append(f'{report.repeated} images are the same as an earlier one')
    lines += [f'Broken: {text}' for text in report.troubles[:MOST_NAMED]]
    if len(report.troubles) > MOST_NAMED:
        lines.append(f'and {len(report.troubles) - MOST_NAMED} more')
    return lines


def check(path: str, picture: str | None, workers: int | None) -> None:
    """Print the content of a dataset, and write its mean image to `picture`, or beside the dataset as <name>-mean.png.

    Raises UserError at the end if an image is damaged, or networks do not support the size.
    """
    report = check_dataset(path, workers)
    data = _opened(path)
    print('\n'.join(describe(report, path)))
    place = picture or Path(path).absolute().with_name(f'{data.name}-mean.png')
    write_means(report, place)
    print(f'Mean image{" of all, and of each label" if len(report.means) > 2 else ""}: {place}')
    if report.troubles:
        raise UserError(f'{path}: {len(report.troubles)} of {report.images + len(report.troubles)} images are broken; '
                        'convert it again')
    data.validate()
