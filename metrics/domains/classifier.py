"""A small convolutional classifier that is trained when needed, for datasets without a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import nn

from dnnlib.channels import has_alpha, num_colors, over
from metrics.context import batches
from metrics.domains.regression import make_schedule
from torch_utils.optimizers import Adam

SIZE = 32      # longer side of shrunk images: enough for digits and animals, and cheap
MARGIN = 2     # largest random shift of training images, in pixels
WIDTHS = (16, 32, 64)
MIN_STEPS = 200


class Trained(NamedTuple):
    """A network in eval mode, [N, C, H, W] -> logits [N, classes], and its accuracy on held-out images."""

    net: nn.Module
    accuracy: float


class TrainedHeads(NamedTuple):
    """A network in eval mode, [N, C, H, W] -> concatenated logits of all heads [N, sum of classes], and the accuracy of each head
    on held-out images."""

    net: nn.Sequential
    accuracies: tuple[float, ...]


def shrink(images: torch.Tensor, factor: int | None = None) -> torch.Tensor:
    """Clamp images [N, C, H, W] to [-1, 1] and average square blocks of pixels so that the longer side has about SIZE, or blocks
    of factor x factor pixels.

    Images with alpha are put on black and keep alpha, so invisible pixels carry no information.
    """
    factor = factor or shrinking(images.shape[2:])
    images = images.clamp(-1, 1)
    if has_alpha(images.shape[1]):
        images = torch.cat([over(images, background=-1, low=-1, high=1), images[:, -1:]], dim=1)
    return F.avg_pool2d(images, factor)


def shrinking(size: Sequence[int]) -> int:
    """How many times smaller `shrink` makes each side of an image of this (height, width)."""
    return max(max(size) // SIZE, 1)


def shape_of(images: torch.Tensor) -> torch.Tensor:
    """The drawing without its colour: [N, C, H, W] -> [N, 1, H, W], zero mean and unit variance per image. Alpha stays,
    normalised in the same way: [N, 2, H, W].

    Content must be recognised in other colours than those of its examples. The maximum over channels is the same for a red, a
    green and a white drawing on black, and for mixed colours, such as those of an untrained generator. Random permutations of
    channels during training approach that, but need longer, and colours could still mislead the classifier. Unit variance removes
    differences in brightness.
    """
    count = num_colors(images.shape[1])
    brightest = torch.cat([images[:, :count].amax(dim=1, keepdim=True), images[:, count:]], dim=1)
    centred = brightest - brightest.mean(dim=(2, 3), keepdim=True)
    return centred / (centred.square().mean(dim=(2, 3), keepdim=True).sqrt() + 1e-2)


def train_classifier(images: torch.Tensor, labels: torch.Tensor, num_classes: int, generator: torch.Generator, epochs: int = 8,
                     batch: int = 50, lr: float = 8e-3, good_enough: float = 0.995,
                     progress: Callable[[Iterable], Iterable] = iter) -> Trained:
    """Train on 90% of images float32 [N, C, H, W] with labels int64 [N] of 0..num_classes - 1; hold out the rest. See
    train_heads."""
    trained = train_heads(images, labels[:, None], [num_classes], generator, epochs, batch, lr, good_enough, progress)
    return Trained(trained.net, trained.accuracies[0])


def train_heads(images: torch.Tensor, labels: torch.Tensor, num_classes: Sequence[int], generator: torch.Generator,
                epochs: int = 8, batch: int = 50, lr: float = 8e-3, good_enough: float = 0.995,
                progress: Callable[[Iterable], Iterable] = iter) -> TrainedHeads:
    """Train one network to answer several questions: 90% of images float32 [N, C, H, W] with labels int64 [N, K], the k-th of
    0..num_classes[k] - 1; hold out the rest. The loss is the sum of the K cross-entropies.

    epochs: with few images there are more, up to MIN_STEPS steps. Training stops early when the accuracy reaches `good_enough`
    for each question, both on the held-out images and on the training images of an epoch, because a few held-out answers may be
    right by chance.
    Deterministic on a CPU: all random numbers come from `generator`. Needs at least 2 images.
    progress: wraps the list of epochs.
    """
    num_held_out = max(len(images) // 10, 1)
    order = torch.randperm(len(images), generator=generator)
    held_out, kept = order[:num_held_out], order[num_held_out:]
    images = images.contiguous(memory_format=torch.channels_last)
    net = make_network(images.shape[1], images.shape[2:], sum(num_classes), generator).to(images.device)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in annotations of torch
    steps_per_epoch = math.ceil(len(kept) / batch)
    epochs = max(epochs, math.ceil(MIN_STEPS / steps_per_epoch))
    steps = epochs * steps_per_epoch
    optimizer = Adam(net.parameters(), lr=lr)
    schedule = make_schedule(optimizer, steps)
    accuracies = torch.zeros(len(num_classes), dtype=torch.float64)
    with torch.enable_grad():
        for _ in progress(range(epochs)):
            net.train()
            num_right = torch.zeros(len(num_classes), dtype=torch.float64)
            shuffled = kept[torch.randperm(len(kept), generator=generator)]
            for part in batches(len(shuffled), batch):
                chosen = shuffled[part].to(images.device)
                net.zero_grad()
                logits = net(moved_about(images[chosen], generator))
                heads = logits.split(list(num_classes), dim=1)
                cast(torch.Tensor, sum(F.cross_entropy(head, labels[chosen, k]) for k, head in enumerate(heads))).backward()
                optimizer.step()
                schedule.step()
                num_right += _right(logits, labels[chosen], num_classes).sum(dim=0)
            net.eval()
            accuracies = _right(apply(net, images[held_out]), labels[held_out], num_classes).mean(dim=0)
            if min(*accuracies, *num_right / len(kept)) >= good_enough:
                break
    return TrainedHeads(net.requires_grad_(False), tuple(accuracies.tolist()))


def _right(logits: torch.Tensor, labels: torch.Tensor, num_classes: Sequence[int]) -> torch.Tensor:
    """Whether each answer is right: float64 [N, K] on the CPU."""
    answers = torch.stack([head.argmax(dim=1) for head in logits.split(list(num_classes), dim=1)], dim=1)
    return (answers == labels).cpu().double()


def apply(net: nn.Module, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """The output of a network for images [N, C, H, W], computed in batches."""
    with torch.no_grad():
        return torch.cat([net(images[part]) for part in batches(len(images), batch)])


def predict(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The most likely class of each image: [N, C, H, W] -> int64 [N]."""
    return apply(net, images).argmax(dim=1)


def moved_about(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each image [N, C, H, W] by up to MARGIN pixels in each direction, repeating its border. Labels stay valid."""
    n, _, height, width = images.shape
    padded = F.pad(images, [MARGIN] * 4, mode='replicate')
    shifts = torch.randint(2 * MARGIN + 1, [2, n], generator=generator).to(images.device)
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)  # [N, H]
    columns = shifts[1, :, None] + torch.arange(width, device=images.device)
    moved = padded.permute(0, 2, 3, 1)[torch.arange(n, device=images.device)[:, None, None], rows[:, :, None], columns[:, None]]
    return moved.permute(0, 3, 1, 2)


def make_network(channels: int, size: Sequence[int], num_classes: int, generator: torch.Generator) -> nn.Module:
    """Three convolutions with batch normalisation, each followed by 2x2 max pooling, and a linear layer.

    For images [N, channels, H, W], (H, W) = size; a side of 4 pixels or less is not halved. Weights: He et al. 2015, from
    `generator`.
    """
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):  # the constructors draw global random numbers, which are not used
        for width in WIDTHS:
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                       nn.MaxPool2d(factors := tuple(2 if side > 4 else 1 for side in size))]
            channels, size = width, [side // factor for side, factor in zip(size, factors, strict=True)]
        layers += [nn.Flatten(), nn.Linear(channels * math.prod(size), num_classes)]
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu', generator=generator)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)
