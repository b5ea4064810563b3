"""Projection: the latent w whose image is most similar to a given one, by gradient descent.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 5 and appendix D.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from torch_utils.optimizers import Adam
from training.networks import Generator
from training.sampling.drawing import MEAN_BATCH, MEAN_LATENTS

STATISTICS_SEED = 123
LEARNING_RATE, RAMP_UP, RAMP_DOWN = 0.1, 0.05, 0.25  # ramps: shares of all steps
BETAS = (0.9, 0.999)
W_NOISE, W_NOISE_SHARE = 0.05, 0.75  # relative to the deviation of w; it fades out within that share of the steps
NOISE_WEIGHT = 1e5
SMALLEST_NOISE = 8  # shorter side of the coarsest level of the pyramid
INITIAL_NOISE, W_STEP = 0, 1  # keys of random numbers


@torch.no_grad()
def w_statistics(G: Generator, label: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The mean w̄ [w_dim], float32, of the latents of a fixed seed mapped with label [1, c_dim], and their deviation
    σ_w = √(Σ |w - w̄|² / n)."""
    latents = np.random.RandomState(STATISTICS_SEED).randn(MEAN_LATENTS, G.z_dim)
    parts = [torch.from_numpy(z).to(label.device, torch.float32) for z in np.split(latents, MEAN_LATENTS // MEAN_BATCH)]
    w = torch.cat([G.mapping(z, label.expand(len(z), -1))[:, 0] for z in parts]).cpu().double()
    mean = w.mean(dim=0)
    return mean.float().to(label.device), (w - mean).square().sum(dim=1).mean().sqrt().item()


def learning_rate(t: float) -> float:
    """After the share t in [0, 1) of all steps: up linearly from 0 at first, down by half a cosine in the end."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / RAMP_DOWN))
    return LEARNING_RATE * down * min(1.0, t / RAMP_UP)


def w_noise_scale(t: float) -> float:
    """Standard deviation of the noise that is added to w after the share t in [0, 1) of all steps, relative to σ_w."""
    return W_NOISE * max(0.0, 1 - t / W_NOISE_SHARE) ** 2


def noise_regularization(noise: list[torch.Tensor]) -> torch.Tensor:
    """The penalty that keeps noise inputs [h, w] from carrying the image: a scalar.

    The squares of the mean products of each pixel with its right and its lower neighbour, wrapping around, summed over the inputs
    and the levels of their pyramids. Each level averages 2 x 2 pixels of the level before.
    """
    total = torch.zeros([], device=noise[0].device) if noise else torch.zeros([])
    for level in noise:
        while True:
            for dim in (0, 1):
                total = total + (level * level.roll(1, dims=dim)).mean().square()
            if min(level.shape) <= SMALLEST_NOISE:
                break
            level = F.avg_pool2d(level[None], 2)[0]
    return total


@torch.no_grad()
def normalize_(noise: list[torch.Tensor]) -> None:
    """Give each of them zero mean and unit mean square, in place."""
    for x in noise:
        x -= x.mean()
        x *= x.square().mean().rsqrt()


class Projection:
    """An optimisation of w and of the noise inputs of a generator. The generator itself stays unchanged.

    G: in eval mode, without gradients. embed: images [1, C, H, W] in [-1, 1] -> [1, K], whose squared distances are perceptual
    distances. target: such an image. label: [1, c_dim]; only the statistics of w depend on it. seed: keys all random numbers
    together with the step. They need not be saved and do not depend on the device. The global generators are not used.

    step: number of steps done, of num_steps. w: [1, 1, w_dim], for all layers; mean: its initial value, [w_dim]. path: w after
    each step, float32 [num_steps, w_dim]; rows of later steps are 0.
    """

    def __init__(self, G: Generator, embed: Callable[[torch.Tensor], torch.Tensor], target: torch.Tensor, label: torch.Tensor,
                 num_steps: int, seed: int):
        self.num_steps, self.step = num_steps, 0
        self._G, self._embed, self._seed = G, embed, seed
        with torch.no_grad():
            self._target = embed(target)
        self.mean, self.deviation = w_statistics(G, label)
        self.w = self.mean.reshape(1, 1, -1).clone().requires_grad_()
        self.path = torch.zeros(num_steps, G.w_dim, device=target.device)
        shapes = {name: x.shape for name, x in G.synthesis.named_buffers() if name.endswith('noise_const')}
        self._noise = {name: self._normal(INITIAL_NOISE, i, shape=shape).requires_grad_()
                       for i, (name, shape) in enumerate(shapes.items())}
        self._optimizer = Adam([self.w, *self._noise.values()], betas=BETAS)

    def advance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One step. Returns the perceptual distance and the loss before it, scalars on the device."""
        t = self.step / self.num_steps
        for group in self._optimizer.param_groups:
            group['lr'] = learning_rate(t)
        noise = list(self._noise.values())
        w = self.w + self._normal(W_STEP, self.step, shape=self.w.shape) * (self.deviation * w_noise_scale(t))
        distance = (self._embed(self._draw(w)) - self._target).square().sum()
        loss = distance + NOISE_WEIGHT * noise_regularization(noise)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        normalize_(noise)
        self.path[self.step] = self.w.detach()[0, 0]
        self.step += 1
        return distance.detach(), loss.detach()

    def ws(self, steps: slice = slice(None)) -> torch.Tensor:
        """The latents after some of the steps, float32 [N, num_ws, w_dim]."""
        return self.path[steps, None].expand(-1, self._G.num_ws, -1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the same projection needs to continue: tensors and numbers in dicts."""
        return dict(step=self.step, w=self.w.detach(), path=self.path[:self.step].clone(),
                    noise={name: x.detach() for name, x in self._noise.items()}, optimizer=self._optimizer.state_dict()['state'])

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state_dict of the same projection."""
        self.step = state['step']
        self.w.copy_(state['w'])
        self.path[:self.step] = state['path']
        for name, x in self._noise.items():
            x.copy_(state['noise'][name])
        self._optimizer.load_state_dict(dict(state=state['optimizer'], param_groups=self._optimizer.state_dict()['param_groups']))

    def _draw(self, w: torch.Tensor) -> torch.Tensor:
        """The image [1, C, H, W] of w [1, 1, w_dim], with the noise of the optimisation instead of the network's."""
        ws = w.expand(-1, self._G.num_ws, -1)
        return torch.func.functional_call(self._G.synthesis, self._noise, (ws,), dict(noise_mode='const', force_fp32=True))

    def _normal(self, *key: int, shape: torch.Size) -> torch.Tensor:
        """N(0, 1) of the seed and a key, float32."""
        number = np.random.SeedSequence([self._seed, *key]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(number >> 1))
        return torch.randn(shape, generator=generator).to(self._target.device)
