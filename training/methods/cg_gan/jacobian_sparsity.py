"""Sparse effect of each style coordinate on the image (CG-GAN, ICLR 2025, arXiv 2503.00639).

The code published with the paper renders the same latent twice, so its term does not depend on the Jacobian. This module
implements the term that the paper describes. docs/methods.md compares the two.
"""

from __future__ import annotations

import torch

from torch_utils.forward_ad import jvp
from training.losses.batch import PhaseBatch
from training.losses.term import Term

JACOBIANS = ('fd', 'fd-normalized', 'jvp')
PENALTIES = ('l1', 'hoyer')


class JacobianSparsity(Term):
    """Penalty on one column J = ±∂x/∂u_j of the generator's Jacobian per sample. j is drawn among the active style coordinates.

    u is the latent after flow and normalisation. x = g(f(u)) is the image, generated without style mixing.

    jacobian: how J is computed. 'fd': x(u + ε σ e_j) - x(u), with step ε = perturb_norm, random sign σ and the same noise in
    both images. As in the published code, the difference is not divided by ε, so J scales with ε, and the l1 penalty with it.
    'fd-normalized': the difference divided by ε. 'jvp': exact, by forward-mode differentiation; ε is unused.
    penalty: 'l1', as in the paper, is the mean |J| over all pixels and channels; it favours a weak effect. 'hoyer' is mean |J| /
    rms J, between 1/√CHW (a single pixel) and 1 (all pixels equal); it favours sparsity at any strength.
    batch_shrink: use 1/N of the samples, at least one.
    """

    net, name = 'G', 'img_sparse'
    recordable = True

    def __init__(self, weight: float = 1.0, interval: int | None = None, jacobian: str = 'fd', penalty: str = 'l1',
                 perturb_norm: float = 0.1, batch_shrink: int = 2):
        super().__init__(weight, interval)
        if jacobian not in JACOBIANS or penalty not in PENALTIES:
            raise ValueError(f'unknown jacobian {jacobian!r} or penalty {penalty!r}')
        self.jacobian, self.penalty = jacobian, penalty
        self.perturb_norm, self.batch_shrink = perturb_norm, batch_shrink

    def num_rows(self, batch_size: int) -> int:
        return max(batch_size // self.batch_shrink, 1)

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        latent = batch.latent[:self.num_rows(batch.round_size)]
        column = self._column(batch, latent, random_coordinates(batch.G.mapping.style_mask(), latent))
        size = column.abs().mean(dim=(1, 2, 3))
        if self.penalty == 'l1':
            return size
        # Where a coordinate has almost no effect (rms below 1e-4), the penalty and its gradient fade to zero with the effect.
        return size / (column.square().mean(dim=(1, 2, 3)) + 1e-8).sqrt()

    def _column(self, batch: PhaseBatch, latent: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        """Compute J · direction [N, C, H, W]. It is scaled by ε with 'fd' and 'l1'."""

        G = batch.G

        def render(u: torch.Tensor, noise_repeat: int = 1) -> torch.Tensor:
            return G.synthesis(G.mapping.map_latent(u, skip_w_avg_update=True), noise_repeat=noise_repeat,
                               **batch.float32_kwargs)

        if self.jacobian == 'jvp':
            return jvp(render, latent, direction)[1]
        pair = torch.cat([latent + self.perturb_norm * direction, latent])
        moved, still = render(pair, noise_repeat=2).chunk(2)
        unscaled = self.jacobian == 'fd' and self.penalty == 'l1'
        return (moved - still) if unscaled else (moved - still) / self.perturb_norm


def random_coordinates(mask: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Draw ± a unit vector along a random coordinate for each row of latent [N, F].

    Coordinates are drawn uniformly among those with mask [z_dim <= F] True. If there are none, the rows are zero. Does not wait
    for the device.
    """
    living = mask.to(latent.dtype)
    scores = (torch.rand(latent.shape[0], mask.shape[0], dtype=latent.dtype, device=latent.device) + 1) * living
    chosen = scores.argmax(dim=1)
    signs = torch.randint(2, chosen.shape, device=latent.device).to(latent.dtype) * 2 - 1
    return torch.zeros_like(latent).scatter_(1, chosen[:, None], (signs * living[chosen])[:, None])
