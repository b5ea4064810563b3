"""A small convolutional network from images to numbers, and its learning rate, for training within minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

WIDTHS = (16, 32, 64)  # of convolutions with stride 2, while more than SMALLEST pixels are left
SMALLEST, HIDDEN = 4, 128


def make_network(shape: Sequence[int], features: int, generator: torch.Generator, widths: Sequence[int] = WIDTHS,
                 hidden: int = HIDDEN) -> nn.Module:
    """Convolutions with batch normalisation, and two linear layers: images [N, *shape] -> [N, features].

    widths: of the convolutions. hidden: width between the linear layers.
    Weights: He et al. 2015, from `generator`. Untrained and in eval mode, it is the random encoder for comparisons.
    """
    layers: list[nn.Module] = []
    channels, *sides = shape
    with torch.random.fork_rng(devices=[]):  # constructors draw global random numbers, which are replaced below
        for width in widths:
            stride = 2 if min(sides) > SMALLEST else 1
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1, stride=stride, bias=False), nn.BatchNorm2d(width),
                       nn.ReLU()]
            channels, sides = width, [math.ceil(side / stride) for side in sides]
        layers += [nn.Flatten(), nn.Linear(channels * math.prod(sides), hidden), nn.ReLU(), nn.Linear(hidden, features)]
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu', generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def make_schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate rises linearly for a fifth of all steps, then falls to 0."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.2 * steps), (steps - step) / (0.8 * steps)))
