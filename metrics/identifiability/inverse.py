"""From images to latents for a generator without an encoder: a small regression, trained on samples with known latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import nn

from metrics.context import batches
from metrics.domains.classifier import apply
from metrics.domains.regression import make_network, make_schedule
from torch_utils.optimizers import Adam

EPOCHS, BATCH, LEARNING_RATE = 10, 50, 4e-3


class Inverse(NamedTuple):
    """net: images [N, C, H, W] -> latents [N, F], in eval mode. r2: R² on held-out samples, mean over the latents that vary: 1 at
    best, 0 if it finds nothing."""

    net: nn.Module
    r2: float


def train_inverse(images: torch.Tensor, latents: torch.Tensor, num_held_out: int, generator: torch.Generator,
                  progress: Callable[[Iterable], Iterable] = iter, epochs: int = EPOCHS) -> Inverse:
    """Fit images float32 [N, C, H, W] to latents float32 [N, F] in the mean square; the last num_held_out are held out.

    Deterministic on a CPU: all random numbers come from `generator`. progress: wraps the list of epochs.
    """
    count = len(images) - num_held_out
    mean, deviation = latents[:count].mean(dim=0), latents[:count].std(dim=0, correction=0)
    deviation = torch.where(deviation > 1e-6, deviation, 1)
    targets = (latents - mean) / deviation
    net = make_network(images.shape[1:], latents.shape[1], generator).to(images.device)
    optimizer = Adam(net.parameters(), lr=LEARNING_RATE)
    steps = epochs * math.ceil(count / BATCH)
    schedule = make_schedule(optimizer, steps)
    net.train()
    with torch.enable_grad():
        for _ in progress(range(epochs)):
            order = torch.randperm(count, generator=generator).to(images.device)
            for part in batches(count, BATCH):
                net.zero_grad()
                (net(images[order[part]]) - targets[order[part]]).square().mean().backward()
                optimizer.step()
                schedule.step()
    net = net.requires_grad_(False).eval()
    return Inverse(net, recovered(apply(net, images[count:]), targets[count:]))


def recovered(found: torch.Tensor, latents: torch.Tensor) -> float:
    """R² of estimated latents [N, F]: 1 - mean square error / variance, mean over the columns that vary."""
    found, latents = found.double(), latents.double()
    variance = latents.var(dim=0, correction=0)
    errors = (found - latents).square().mean(dim=0)
    varying = variance > 1e-12
    return float((1 - errors[varying] / variance[varying]).mean()) if varying.any() else 0.0


