"""The data of one accumulation round of one phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import nn

from torch_utils import training_stats


class PhaseBatch:
    """Latents, labels and reals of one round, and what networks make of them, computed once when first asked for.

    G, D: the networks; gradients reach the parameters of the one that the phase trains. z [N, z_dim] and c [N, c_dim]:
    inputs of the generator. real_images [M, C, H, W] in [-1, 1] and real_c [M, c_dim]. round_size: samples in the round
    before the phase kept only the rows that its terms need; N by default. augment: applied to every
    image that enters D. style_mixing_prob: probability that later layers take their w from another latent.
    keep_unmixed: leave the first half of the rows without it, or all of them where that probability is 0.
    float32_kwargs: arguments of synthesis and D for images that a term subtracts or differentiates twice; shared_kwargs: for the
    shared images and logits. generated_grad: generated images without a graph of their own are leaves that require a gradient.
    reports: report statistics of D's logits of real images; signs: include their signs, which ADA follows.
    crossovers: int64 tensors [] on the device with the crossover points of style mixing, num_ws for none. Without them, they are
    drawn here.
    """

    def __init__(self, G: nn.Module, D: nn.Module, z: torch.Tensor, c: torch.Tensor, real_images: torch.Tensor,
                 real_c: torch.Tensor, round_size: int | None = None,
                 augment: Callable[[torch.Tensor], torch.Tensor] | None = None, style_mixing_prob: float = 0.0,
                 keep_unmixed: bool = False, float32_kwargs: dict | None = None, shared_kwargs: dict | None = None,
                 generated_grad: bool = False, reports: bool = True, signs: bool = True,
                 crossovers: Iterator[torch.Tensor] | None = None):
        self.G, self.D = G, D
        self.z, self.c = z, c
        self.real_images, self.real_c = real_images, real_c
        self.round_size = z.shape[0] if round_size is None else round_size
        self.augment: Callable[[torch.Tensor], torch.Tensor] = augment or (lambda images: images)
        self.style_mixing_prob = style_mixing_prob
        self.float32_kwargs, self.shared_kwargs = float32_kwargs or {}, shared_kwargs or {}
        self.generated_grad, self.reports, self.signs = generated_grad, reports, signs
        self.crossovers = crossovers
        self.num_unmixed = 0 if not keep_unmixed else (z.shape[0] + 1) // 2 if style_mixing_prob > 0 else z.shape[0]

    @cached_property
    def latent(self) -> torch.Tensor:
        """The input of the layers of the mapping network for (z, c), after flow and normalisation: [N, >= z_dim]."""
        return self.G.mapping.latent(self.z, self.c)

    @cached_property
    def ws(self) -> torch.Tensor:
        """Style-mixed w [N, num_ws, w_dim] of (z, c); one crossover point for the whole round (Karras et al. 2019, 3.1).
        The first `num_unmixed` rows stay as they are."""
        return self.mixed(self.G.mapping.map_latent(self.latent), self.c, self.num_unmixed)

    def mixed(self, ws: torch.Tensor, c: torch.Tensor, num_unmixed: int = 0) -> torch.Tensor:
        """ws [N, num_ws, w_dim] of labels c [N, c_dim], with style mixing by chance in all rows but the first."""
        num_ws = ws.shape[1]
        if num_ws == 1:
            return ws
        if self.crossovers is not None:
            if self.style_mixing_prob == 0:
                return ws
            first = torch.arange(num_ws, device=ws.device)[:, None] < next(self.crossovers)
            both = torch.where(first, ws, self._other(ws, c))
        else:
            crossover = draw_crossover(num_ws, self.style_mixing_prob)
            if crossover == num_ws:
                return ws
            both = torch.cat([ws[:, :crossover], self._other(ws, c)[:, crossover:]], dim=1)
        return torch.cat([ws[:num_unmixed], both[num_unmixed:]])

    def _other(self, ws: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """ws of other latents."""
        z = torch.randn(ws.shape[0], self.z.shape[1], dtype=self.z.dtype, device=self.z.device)
        return self.G.mapping(z, c, skip_w_avg_update=True)

    @cached_property
    def images(self) -> torch.Tensor:
        """Generated images [N, C, H, W]."""
        images = self.G.synthesis(self.ws, **self.shared_kwargs)
        return images.requires_grad_() if self.generated_grad else images

    @cached_property
    def fake_logits(self) -> torch.Tensor:
        """D's logits of the generated images [N, 1]."""
        return self._fake[0]

    @cached_property
    def fake_latent(self) -> torch.Tensor:
        """D's estimate of z for the generated images [N, latent_dim]."""
        return self._fake[1]

    @cached_property
    def real_logits(self) -> torch.Tensor:
        """D's logits of the real images [M, 1]."""
        logits = self.D(self.augment(self.real_images), self.real_c, **self.shared_kwargs)
        return _reported('real', logits, self.signs) if self.reports else logits

    @cached_property
    def _fake(self) -> tuple[torch.Tensor, torch.Tensor]:
        logits, latent = self.D(self.augment(self.images), self.c, return_latent=True, **self.shared_kwargs)
        return _reported('fake', logits), latent


def draw_crossover(num_ws: int, probability: float) -> int:
    """Crossover point of style mixing: in 1 ... num_ws - 1 with this probability, otherwise num_ws, which mixes nothing. Drawn on
    the CPU, to avoid waiting for the device."""
    return int(torch.randint(1, num_ws, [])) if float(torch.rand([])) < probability else num_ws


def _reported(kind: str, logits: torch.Tensor, signs: bool = True) -> torch.Tensor:
    training_stats.report(f'Loss/scores/{kind}', logits)
    if signs:
        training_stats.report(f'Loss/signs/{kind}', logits.detach().sign())
    return logits
