"""Training of an encoder E for a generator G, on samples with known latents, and on real images if available.

Each step has two terms, for samples G(z, c), and for images x, which are real or the same samples:

    |E(G(z, c), c) - z|²    mean over coordinates, by a small weight
    |G(E(x, c), c) - x|²    mean over resolutions, as in a projection (metrics.domains.inversion)

The first term keeps the codes where the generator draws likely images, and keeps style apart from content (Perarnau et al.,
"Invertible Conditional GANs for image editing", 2016). Alone, it would weight all coordinates equally, although most of them
hardly change the image. The second term is the purpose of an encoder of real images (Zhu et al., "In-Domain GAN Inversion for
Real Image Editing", ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from metrics.context import batches
from metrics.domains.encoder import Encoder
from metrics.domains.inversion import difference, pyramid
from metrics.domains.latents import rebuilt_error
from metrics.domains.regression import make_schedule
from metrics.identifiability.inverse import recovered
from torch_utils.optimizers import Adam

BATCH, LEARNING_RATE = 32, 2e-3
LATENTS = 0.05              # weight of the first term
TRAINING, QUALITY = 32, 33  # what random numbers are for


class RealImages(NamedTuple):
    """The images of a dataset with one-hot labels that have the numbers `items`."""

    dataset: Any
    items: Sequence[int]

    def read(self, places: Iterable[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [N, C, H, W] in [-1, 1] and labels [N, c_dim], float32, of these places in `items`."""
        pixels, labels = zip(*(self.dataset[self.items[i]] for i in places), strict=True)
        x, c = (torch.from_numpy(np.stack(rows)).to(device, torch.float32) for rows in (pixels, labels))
        return x / 127.5 - 1, c


class Draws:
    """Random samples and real images for a generator. All random numbers come from (seed, purpose). The global generators are not
    used."""

    def __init__(self, G: nn.Module, seed: int, purpose: int):
        self._G, self._device = G, next(G.parameters()).device
        self.generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0]))

    def samples(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """z [N, z_dim], labels [N, c_dim] of random domains, and images G(z, c) [N, C, H, W]."""
        z = torch.randn(count, self._G.z_dim, generator=self.generator).to(self._device)
        c = torch.eye(self._G.c_dim)[torch.randint(self._G.c_dim, [count], generator=self.generator)].to(self._device)
        with torch.no_grad():
            return z, c, self._G(z, c, noise_mode='const', force_fp32=True)

    def reals(self, images: RealImages, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random real images [N, C, H, W] in [-1, 1], with their labels."""
        return images.read(torch.randint(len(images.items), [count], generator=self.generator).tolist(), self._device)


def train(G: nn.Module, num_samples: int, seed: int, reals: RealImages | None = None,
          progress: Callable[[range], Iterable[int]] = iter) -> Encoder:
    """An encoder for G, in eval mode. G: on its device, in eval mode, without gradients. progress: wraps the batches of BATCH.

    Deterministic on a CPU.
    """
    draws = Draws(G, seed, TRAINING)
    encoder = Encoder(G, draws.generator).to(next(G.parameters()).device).train()
    num_steps = max(num_samples // BATCH, 1)
    optimizer = Adam(encoder.parameters(), lr=LEARNING_RATE)
    schedule = make_schedule(optimizer, num_steps)
    with torch.enable_grad():
        for _ in progress(range(num_steps)):
            optimizer.zero_grad()
            loss(G, encoder, draws, reals).backward()
            optimizer.step()
            schedule.step()
    return encoder.requires_grad_(False).eval()


def loss(G: nn.Module, encoder: Encoder, draws: Draws, reals: RealImages | None) -> torch.Tensor:
    """The loss of one batch."""
    z, c, x = draws.samples(BATCH)
    if reals is None:
        code = rebuilding = encoder(x, c)
    else:
        samples, labels = x, c
        x, c = draws.reals(reals, BATCH)
        code, rebuilding = encoder(torch.cat([samples, x]), torch.cat([labels, c])).split(BATCH)  # normalised together
    drawn = G(rebuilding, c, noise_mode='const', force_fp32=True)
    return LATENTS * (code - z).square().mean() + difference(pyramid(drawn), pyramid(x)).mean()


def quality(G: nn.Module, encoder: Encoder, num_samples: int, seed: int) -> dict[str, float]:
    """The quality of an encoder on fresh samples: latents_r2, R² of z, at most 1; samples_rebuilt, mean |G(E(x, c), c) - x| of
    values in [0, 1]."""
    z, c, x = Draws(G, seed, QUALITY).samples(num_samples)
    with torch.no_grad():
        code = encoder(x, c)
    return dict(latents_r2=recovered(code, z), samples_rebuilt=float(rebuilt_error(G, code, c, x).double().mean()))


def real_quality(G: nn.Module, encoder: Encoder, images: RealImages) -> float:
    """Mean |G(E(x, c), c) - x| of real images, of values in [0, 1]."""
    device, errors = next(G.parameters()).device, []
    for part in batches(len(images.items), BATCH):
        x, c = images.read(range(part.start, part.stop), device)
        errors.append(rebuilt_error(G, encoder(x, c), c, x))
    return float(torch.cat(errors).double().mean())
