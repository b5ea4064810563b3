"""Latents of real images: the z with which a generator G(z, c) draws them. With another label c', the same z gives the image in
another domain.

There are three ways. encoder: the discriminator of CLR-GAN gives z directly. trained encoder: a network that was trained for the
generator later gives it (metrics.domains.encoder). projection: gradient descent on z, for every network (Abdal et al.,
"Image2StyleGAN", ICCV 2019, and Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 5, do this
for w. Here it is z, because w depends on the domain). i-StyleGAN's flow moves the style part of z to the target domain. A
concatenated label leaves all of z unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dnnlib.errors import UserError
from metrics.context import ENCODER, PROJECTION, STEPS, TRAINED
from metrics.domains.encoder import Encoder
from torch_utils.optimizers import Adam

CANDIDATES = 512          # random latents; the search begins with the one with the nearest image
CANDIDATE_BATCH, CANDIDATE_SIDE = 32, 32  # images drawn per batch; side in pixels at which they are compared
LEARNING_RATE, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.5  # ramps: shares of all steps
PRIOR = 1e-3              # weight of the mean square of z
COARSEST = 4              # side of the smallest level at which images are compared
REFINING_RATE = 0.05      # learning rate at which the latents of an encoder are refined
TRIED, MOST_MISSING = 16, 0.9  # test images for an encoder; the relative error above which it is useless


@torch.no_grad()
def encode(net: nn.Module, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The latents [N, z_dim] that a discriminator or a trained encoder finds in images [N, C, H, W] in [-1, 1] with labels c [N,
    c_dim].

    One image at a time: minibatch stddev would make the result depend on the others.
    """
    if isinstance(net, Encoder):
        return torch.cat([net(images[i:i + 1], c[i:i + 1]) for i in range(len(images))])
    return torch.cat([net(images[i:i + 1], c[i:i + 1], return_latent=True)[1] for i in range(len(images))])


@torch.no_grad()
def rebuilding(G: nn.Module, net: nn.Module, device: torch.device) -> float:
    """The error of G when it rebuilds its own images from the latents that `net` finds in them (encode): the mean square
    difference, relative to that between images of different latents in the same domain. 0 at best; 1 if the latents carry no
    information."""
    z = torch.cat([torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim)) for seed in range(TRIED)])
    z = z.to(device, torch.float32)
    c = torch.eye(G.c_dim, device=device)[:1]

    def drawn(latents: torch.Tensor) -> torch.Tensor:
        return torch.cat([G(latents[i:i + 1], c, noise_mode='const') for i in range(len(latents))])

    x = drawn(z)
    again = drawn(encode(net, x, c.expand(len(z), -1)))
    distances = torch.cdist(again.flatten(1), x.flatten(1)).square()
    return (distances.diagonal().mean() / distances.mean()).item()


def check_encoder(G: nn.Module, D: nn.Module | None, remedy: str = '') -> None:
    """Raise UserError unless the discriminator finds latents of the generator. remedy: what else can be done, for the message."""
    if D is None:
        raise UserError(f'the encoder, which is the discriminator, is missing: pass a network snapshot that holds it{remedy}')
    if D.latent_dim != G.z_dim:
        raise UserError(f'this network cannot encode images: its discriminator finds {D.latent_dim} numbers, but latents have '
                        f'{G.z_dim}; train with --method=clr-gan, alone or beside another{remedy}')


def choose(by: str, G: nn.Module, D: nn.Module | None, device: torch.device, encoder: nn.Module | None = None) -> str:
    """One of metrics.context.WAYS, chosen by `by`, of these or of WAYS_OR_AUTO. encoder: a trained one.

    'encoder': the discriminator if it finds images that the network drew itself, else the trained encoder. 'auto': one of them if
    it finds such images, the discriminator first; else projection. Raises UserError for 'encoder' if the network has none.
    """
    if by == 'encoder' and encoder is None:
        check_encoder(G, D, '; or train an encoder for it, with python -m training.encoder; or find latents by optimisation, '
                      'with --by=projection')
        return ENCODER
    if by in (TRAINED, PROJECTION):
        return by
    for way, net in ((ENCODER, D), (TRAINED, encoder)):
        if net is not None and net.latent_dim == G.z_dim and rebuilding(G, net, device) <= MOST_MISSING:
            return way
    return TRAINED if by == 'encoder' else PROJECTION


def default_steps(way: str) -> int:
    """Default number of optimisation steps. An encoder needs none."""
    return STEPS if way == PROJECTION else 0


def make_finder(way: str, G: nn.Module, net: nn.Module | None, steps: int, seed: int = 0, noise_mode: str = 'const'
                ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A function that finds latents: images [N, C, H, W] in [-1, 1] and labels [N, c_dim] -> z [N, z_dim], each independently.

    net: the discriminator or the trained encoder; unused for a projection. steps: of the projection, or for refining an encoder's
    latents. seed: of the initial latents of a projection. noise_mode: during refinement.
    """
    if way == PROJECTION:
        return Projector(G, steps, seed)
    return lambda x, c: refine(G, encode(net, x, c), x, c, steps, noise_mode)


def refine(G: nn.Module, code: torch.Tensor, x: torch.Tensor, c: torch.Tensor, steps: int, noise_mode: str) -> torch.Tensor:
    """Move latents code [N, z_dim] so that G(code, c) comes closer to x [N, C, H, W], by `steps` steps of Adam on the mean
    square. The best latents of each image on the way are returned, so none gets worse. Random noise is off."""
    if steps == 0:
        return code
    noise_mode = 'none' if noise_mode == 'random' else noise_mode
    z = code.clone().requires_grad_()
    optimizer = Adam([z], lr=REFINING_RATE)
    best, best_error = code, torch.full([len(code)], torch.inf, device=code.device)
    with torch.enable_grad():
        for step in range(steps + 1):
            error = (G(z, c, noise_mode=noise_mode) - x).square().mean(dim=(1, 2, 3))
            better = error.detach() < best_error
            best, best_error = torch.where(better[:, None], z.detach(), best), torch.where(better, error.detach(), best_error)
            if step < steps:
                optimizer.zero_grad()
                error.sum().backward()
                optimizer.step()
    return best


def learning_rate(t: float) -> float:
    """Learning rate after the share t in [0, 1) of all steps: a linear ramp from near 0, and half a cosine down at the end."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return LEARNING_RATE * down * min(1.0, t / RAMP_UP + 0.1)


def pyramid(images: torch.Tensor) -> list[torch.Tensor]:
    """Images [N, C, H, W], then averaged over 2x2 pixels repeatedly, down to COARSEST pixels per side."""
    levels = [images]
    while min(levels[-1].shape[2:]) >= 2 * COARSEST:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def difference(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """Mean square of the difference of two pyramids, mean over the levels: [N]."""
    return torch.stack([(x - y).square().mean(dim=(1, 2, 3)) for x, y in zip(a, b, strict=True)]).mean(dim=0)


class Projector:
    """Finds z by gradient descent on the difference between G(z, c) and an image, for many images in parallel, each
    independently.

    G: in eval mode, without gradients. The difference is the mean square at several resolutions, with constant noise inputs, in
    float32. Each search begins with the nearest of CANDIDATES random latents, which are the same for all images. seed: of these
    latents. The global random generators are not used.
    """

    def __init__(self, G: nn.Module, steps: int = STEPS, seed: int = 0):
        self._G, self._steps = G, steps
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, CANDIDATES]).generate_state(1)[0]))
        self._candidates = torch.randn(CANDIDATES, G.z_dim, generator=generator)
        self._drawn: dict[tuple[float, ...], torch.Tensor] = {}  # by label: the images of the candidates, small

    def __call__(self, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:  # type: ignore[return]  # the last step returns
        """Images [N, C, H, W] in [-1, 1] with labels c [N, c_dim] -> z [N, z_dim]: the latents on the way with the smallest mean
        square difference."""
        z = self._begin(images, c).requires_grad_()
        optimizer, target = Adam([z]), pyramid(images)
        best, best_error = z.detach().clone(), torch.full([len(z)], torch.inf, device=z.device)
        with torch.enable_grad():
            for step in range(self._steps + 1):
                drawn = pyramid(self._draw(z, c))
                error = (drawn[0].detach() - images).square().mean(dim=(1, 2, 3))
                better = error < best_error
                best, best_error = torch.where(better[:, None], z.detach(), best), torch.where(better, error, best_error)
                if step == self._steps:
                    return best
                loss = difference(drawn, target).sum() + PRIOR * z.square().mean(dim=1).sum()
                z.grad, = torch.autograd.grad(loss, z)
                optimizer.param_groups[0]['lr'] = learning_rate(step / self._steps)
                optimizer.step()

    def _draw(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self._G(z, c, noise_mode='const', force_fp32=True)

    @torch.no_grad()
    def _begin(self, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """The candidates whose images are nearest: [N, z_dim]."""
        chosen = []
        for image, label in zip(_small(images), c, strict=True):
            key = tuple(label.tolist())
            if key not in self._drawn:
                self._drawn[key] = torch.cat([_small(self._draw(z, label.expand(len(z), -1)))
                                              for z in self._candidates.to(c.device).split(CANDIDATE_BATCH)])
            chosen.append(int((self._drawn[key] - image).square().mean(dim=(1, 2, 3)).argmin()))
        return self._candidates[chosen].to(c.device)


def _small(images: torch.Tensor) -> torch.Tensor:
    factor = max(max(images.shape[2:]) // CANDIDATE_SIDE, 1)
    return F.avg_pool2d(images.to(torch.float32), factor)
