"""A classifier of a dataset's own classes, and the frequency of each class, for counting the modes of a generator."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from metrics.context import Context
from metrics.domains.classifier import predict, shrink, train_classifier
from metrics.features import extraction
from torch_utils import distributed

JUDGE, SUBSET = 600, 601  # what random numbers are for
MOST_IMAGES = 10_000      # that a classifier of classes is trained on
MOST_DIGITS = 6000        # and one of digits, which are easy
DIGITS, CHANNELS = 10, 3  # of StackedMNIST, whose class is 100 red + 10 green + blue
LINEAR_IMAGES = 1000      # for the linear classifier that tests whether channels are digits
BY_CHANCE = 0.4           # its accuracy must exceed this. Chance is 0.1; MNIST gives 0.7 to 0.8


class ClassJudge(NamedTuple):
    """net: classifier of images [N, C, S, S] that `shrink` gave; for `stacked` datasets of one channel, [N, 1, S, S]. accuracy:
    on held-out real images. real: share of each class in the dataset, float64 [classes]."""

    net: nn.Module
    accuracy: float
    real: np.ndarray
    stacked: bool

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """The class of each image, uint8 [N, C, H, W]: int64 [N]."""
        small = as_input(images)
        if not self.stacked:
            return predict(self.net, small)
        digits = predict(self.net, small.flatten(end_dim=1)[:, None]).reshape(-1, CHANNELS)
        return digits @ torch.tensor([100, 10, 1], device=digits.device)


def as_input(images: torch.Tensor, factor: int | None = None) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float32 [N, C, S, S] in [-1, 1], what the classifier takes. factor: as of `shrink`."""
    return shrink(images.to(torch.float32) / 127.5 - 1, factor)


def make_class_judge(context: Context) -> ClassJudge:
    """Train a classifier on the labels of the dataset. All ranks call this together and get the same classifier.

    A thousand classes with few images each are hard to learn. If the class of an image consists of the digits in its channels
    (StackedMNIST), a classifier of single digits is trained instead. The share of a class is then the product of the shares of
    its digits, because digits are drawn independently. A small dataset lacks classes only by chance.
    """
    return distributed.broadcast_from_rank0(lambda: _train(context))


def _train(context: Context) -> ClassJudge:
    dataset = context.dataset.all_images(False)
    labels = np.array([int(dataset.get_details(i).raw_label) for i in range(len(dataset))])
    order = torch.randperm(len(dataset), generator=context.generator(SUBSET))
    if may_be_stacked(dataset):
        chosen = order[:MOST_DIGITS // CHANNELS].sort().values.numpy()
        images = read_inputs(context, dataset, chosen)
        if shows_digits(images, labels[chosen]):
            targets = torch.from_numpy(digits_of(labels[chosen]).reshape(-1))
            trained = _fit(context, images.flatten(end_dim=1)[:, None], targets, DIGITS)
            single = np.bincount(digits_of(labels).reshape(-1), minlength=DIGITS) / (CHANNELS * len(labels))
            real = np.einsum('a,b,c->abc', single, single, single).reshape(-1)
            return ClassJudge(trained.net, trained.accuracy ** CHANNELS, real, stacked=True)
    chosen = order[:MOST_IMAGES].sort().values.numpy()
    trained = _fit(context, read_inputs(context, dataset, chosen), torch.from_numpy(labels[chosen]), dataset.label_dim)
    real = np.bincount(labels, minlength=dataset.label_dim) / len(labels)
    return ClassJudge(_without(trained.net, real == 0), trained.accuracy, real, stacked=False)


def may_be_stacked(dataset: Any) -> bool:
    """Whether a dataset has as many channels and classes as StackedMNIST."""
    return dataset.num_channels == CHANNELS and 100 < dataset.label_dim <= DIGITS ** CHANNELS


def shows_digits(images: torch.Tensor, labels: np.ndarray) -> bool:
    """Whether the three channels of images [N, 3, S, S] show the digits of their labels, int64 [N]."""
    targets = torch.from_numpy(digits_of(labels[:LINEAR_IMAGES]).reshape(-1))
    return linear_accuracy(images[:LINEAR_IMAGES].flatten(end_dim=1)[:, None], targets) > BY_CHANCE


def digits_of(labels: np.ndarray) -> np.ndarray:
    """Labels 100 a + 10 b + c, int64 [N], as [a, b, c]: int64 [N, 3]."""
    return np.stack([labels // 100, labels // 10 % 10, labels % 10], axis=1)


def linear_accuracy(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Accuracy of a linear classifier on one third of the images [N, 1, S, S], fitted to the others.

    Ridge regression of the labels, int64 [N] of 0..9, from the pixels. It is fast, and much better than chance only if the label
    is the digit shown."""
    pixels = images.flatten(start_dim=1).double().cpu()
    inputs = torch.cat([pixels, torch.ones(len(pixels), 1, dtype=pixels.dtype)], dim=1)
    count = 2 * len(inputs) // 3
    x, y = inputs[:count], nn.functional.one_hot(labels[:count], DIGITS).double()
    weights = torch.linalg.solve(x.T @ x + len(x) * 0.01 * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    return float(((inputs[count:] @ weights).argmax(dim=1) == labels[count:]).double().mean())


def read_inputs(context: Context, dataset: Any, items: np.ndarray) -> torch.Tensor:
    """The images of these numbers, as `as_input` makes them, on the CPU."""
    parts = [items[i:i + context.batch] for i in range(0, len(items), context.batch)]
    with context.count('labelled images', len(items)) as progress:
        images = []
        for part in extraction.read_images(context, dataset, parts):
            images.append(as_input(part).cpu())
            progress.advance(len(part))
    return torch.cat(images)


def _fit(context: Context, images: torch.Tensor, labels: torch.Tensor, num_classes: int):
    return train_classifier(images.to(context.device), labels.to(context.device), num_classes, context.generator(JUDGE),
                            progress=lambda epochs: context.progress(epochs, 'classifier'))


def _without(net: nn.Sequential, classes: np.ndarray) -> nn.Sequential:
    """The same network, which never predicts one of these classes (bool [classes]), because no image has them."""
    with torch.no_grad():
        net[-1].bias[torch.from_numpy(classes).to(net[-1].bias.device)] = -torch.inf
    return net
