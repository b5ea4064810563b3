"""--eval-data: images for metrics to compare with, other than the training images, such as a held-out split."""

from __future__ import annotations

from typing import Any

from dnnlib.util import OptionError, UserError


def open_eval_data(cls: type, path: str, use_labels: bool, xflip: bool, training_set: Any = None) -> Any:
    """The dataset at `path`, opened by the class of the training images.

    use_labels: as in training. training_set: the training images; None if they are not available, for no comparison. Raises
    OptionError if the dataset cannot be opened, or differs from the training images in image shape, kind or width of labels, or
    domains.
    """
    try:
        data = cls(path=path, use_labels=use_labels, xflip=xflip)
        if training_set is not None:
            _check(data, training_set, use_labels)
        return data
    except UserError as err:
        raise OptionError(f'--eval-data: {err}') from err


def _check(data: Any, training_set: Any, use_labels: bool) -> None:
    remedy = f'convert it as {training_set.path} was, with dataset_tool.py'
    if list(data.image_shape) != list(training_set.image_shape):
        raise UserError(f'{data.path}: its images are {list(data.image_shape)}, but the training images '
                        f'{list(training_set.image_shape)}; {remedy}')
    if not use_labels:
        return
    ours, theirs = ((x.label_dim, x.has_onehot_labels) for x in (data, training_set))
    if ours != theirs:
        raise UserError(f'{data.path}: has {_labels(*ours)}, but the training images have {_labels(*theirs)}; {remedy}')
    if data.domains and training_set.domains and data.domains != training_set.domains:
        raise UserError(f'{data.path}: its domains are {", ".join(data.domains)}, but those of the training images '
                        f'{", ".join(training_set.domains)}; {remedy}')


def _labels(width: int, onehot: bool) -> str:
    return 'no labels' if width == 0 else f'{width} classes' if onehot else f'labels of {width} numbers'


def describe(data: Any) -> str:
    """The name of a dataset in records: its name, and the beginning of the digest of its images."""
    return f'{data.name}-{data.identity()[:8]}' if hasattr(data, 'identity') else data.name
