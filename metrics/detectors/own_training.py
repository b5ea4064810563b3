"""Training the detector `own`: a small classifier of the labels and contents of a dataset, kept for later programs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from dnnlib.errors import UserError
from metrics.context import Context
from metrics.detectors.own import Own
from metrics.detectors.registry import OWN
from metrics.domains.classifier import shrinking, train_heads
from metrics.features.extraction import FEWEST_LABELLED
from metrics.quality.class_judge import digits_of, may_be_stacked, read_inputs, shows_digits
from torch_utils import devices, distributed

SUBSET, TRAINING = 900, 901   # what random numbers are for
RECIPE: dict[str, Any] = dict(version=1, most_images=10_000, epochs=4,
                              good_enough=0.98)  # features are good before the accuracy is perfect
LABELS, CONTENTS = 'labels', 'contents'
INSTEAD = 'use --detector=efficientnet, which needs none'


def check(context: Context) -> None:
    """Raise UserError unless the dataset of a context has labels or contents to train on."""
    targets_of(_dataset(context))


def load(context: Context) -> Own:
    """The detector for the dataset of a context (the training images, if known), on the device. It comes from the cache, or rank
    0 trains it while the other ranks wait.

    It depends only on the images, their labels and contents, context.seed and the recipe; on a CPU, not on the number of
    threads. Raises UserError as `check` does.
    """
    arrays = distributed.broadcast_from_rank0(lambda: _arrays(context))
    net = Own.from_arrays(arrays).to(context.device)
    return cast(Own, net.set_up(OWN, key=f'{OWN}-{_digest(arrays)}', resize='published', verified=True))


def targets_of(dataset: Any) -> dict[str, np.ndarray]:
    """The known classes of each image of a dataset, int64 [N]: LABELS, CONTENTS, or both.

    Only kinds with at least two classes, and two images per class on average. Classes of single images teach nothing. Raises
    UserError if there are none, or too few images.
    """
    count, targets = len(dataset), {}
    if dataset.label_dim > 1 and dataset.has_onehot_labels:
        targets[LABELS] = np.array([int(dataset.get_details(i).raw_label) for i in range(count)])
    if getattr(dataset, 'content_dim', 0) > 1:
        targets[CONTENTS] = np.array([dataset.get_content(i) for i in range(count)])
    most = {LABELS: np.inf if may_be_stacked(dataset) else count / 2, CONTENTS: count / 2}  # stacked digits have 10 classes
    targets = {kind: classes for kind, classes in targets.items() if 2 <= len(np.unique(classes)) <= most[kind]}
    if not targets:
        raise UserError(f'{dataset.path}: has no labels or contents that several images share, and --detector={OWN} is a '
                        f'classifier of these; {INSTEAD}')
    if count < FEWEST_LABELLED:
        raise UserError(f'{dataset.path}: has {count} images, and --detector={OWN} trains a classifier, which needs '
                        f'{FEWEST_LABELLED}; pass more of them, or {INSTEAD}')
    return targets


def _dataset(context: Context) -> Any:
    dataset = context.labels_of
    if dataset is None:
        raise UserError(f'--detector={OWN} is trained on a dataset; pass --data')
    if context.images is not None:
        raise UserError(f'--detector={OWN} is trained on the labels of a dataset, and with --images those of {dataset.path} '
                        f'are not read; {INSTEAD}')
    return dataset.all_images(False)


def _arrays(context: Context) -> dict[str, np.ndarray]:
    """Own.arrays of the detector, from the cache or newly trained."""
    dataset = _dataset(context)
    targets = targets_of(dataset)
    cache = context.feature_cache if hasattr(dataset, 'identity') else None
    if cache is None:
        return _train(context, dataset, targets).arrays()
    key = dict(network=OWN, images=dataset.identity(), targets=_digest(targets), seed=context.seed, recipe=RECIPE)
    if (known := cache.load_arrays(key)) is not None:
        return known
    arrays = _train(context, dataset, targets).arrays()
    cache.save_arrays(key, arrays, name=f'{dataset.name}-{OWN}-network')
    return arrays


def _train(context: Context, dataset: Any, targets: Mapping[str, np.ndarray]) -> Own:
    order = torch.randperm(len(dataset), generator=context.generator(SUBSET))
    chosen = order[:RECIPE['most_images']].sort().values.numpy()
    images = read_inputs(context, dataset, chosen)
    heads = []
    for kind, classes in targets.items():
        if kind == LABELS and may_be_stacked(dataset) and shows_digits(images, classes[chosen]):
            heads += [*digits_of(classes[chosen]).T]  # a thousand classes would be hard to learn
        else:
            heads.append(classes[chosen])
    found = [np.unique(head, return_inverse=True) for head in heads]  # without classes that have no image
    labels = torch.from_numpy(np.stack([numbers for _, numbers in found], axis=1))
    images, labels = images.to(context.device), labels.to(context.device)
    with devices.full_precision(), devices.one_thread():
        trained = train_heads(images, labels, [len(classes) for classes, _ in found], context.generator(TRAINING),
                              epochs=RECIPE['epochs'], good_enough=RECIPE['good_enough'],
                              progress=lambda epochs: context.progress(epochs, f'--detector={OWN}'))
        net = Own(images.shape[1], images.shape[2:], shrinking(dataset.image_shape[1:]), trained.accuracies).to(context.device)
        net.take(trained.net, images)
    return net


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Hex digest of arrays by name."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f'{name} {array.dtype} {array.shape} '.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
