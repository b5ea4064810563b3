"""Differential independence of style and content (CSDI, ICML 2026, arXiv 2605.17827)."""

from __future__ import annotations

import math

import torch

from training.losses.batch import PhaseBatch
from training.losses.term import Term


class Orthogonality(Term):
    """|J_sᵀ J_c|² / (|J_s|² |J_c|²), with Frobenius norms. It lies between 0 (orthogonal) and 1.

    J_s and J_c are the columns of J = ∂x/∂u for the style and the content coordinates. u is the latent after flow and
    normalisation. x = g(f(u)) is the image, generated without style mixing. Take probes v_k ~ N(0, I), s_k = J_sᵀ v_k and c_k =
    J_cᵀ v_k. The mean of (s_k·s_l)(c_k·c_l) over k ≠ l is an unbiased estimate of |J_sᵀ J_c|². The published code includes k =
    l, which adds about 1 / probes.

    probes: K >= 2 backward passes per step. batch_shrink: use 1/N of the samples, at least one.
    """

    net, name = 'G', 'orth'
    recordable = True

    def __init__(self, weight: float = 1.0, interval: int | None = 4, probes: int = 4, batch_shrink: int = 2):
        super().__init__(weight, interval)
        if probes < 2:
            raise ValueError('pairs of different probes need two of them at least')
        self.probes, self.batch_shrink = probes, batch_shrink

    def num_rows(self, batch_size: int) -> int:
        return max(batch_size // self.batch_shrink, 1)

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        mapping = batch.G.mapping
        latent = batch.latent[:self.num_rows(batch.round_size)]
        style = mapping.style_mask().to(latent.dtype)
        displacement = torch.zeros_like(latent).requires_grad_()
        images = batch.G.synthesis(mapping.map_latent(latent + displacement, skip_w_avg_update=True), **batch.float32_kwargs)
        rows = []
        for _ in range(self.probes):
            v = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
            rows.append(torch.autograd.grad((images * v).sum(), displacement, create_graph=True)[0][:, :style.shape[0]])
        jacobian = torch.stack(rows, dim=1)  # Jᵀ v_k: [N, K, z_dim]
        s, c = jacobian * style, jacobian * (1 - style)
        gram_s, gram_c = s @ s.transpose(1, 2), c @ c.transpose(1, 2)  # [N, K, K]
        different = 1 - torch.eye(self.probes, dtype=s.dtype, device=s.device)
        cross = (gram_s * gram_c * different).sum(dim=(1, 2)) / (self.probes * (self.probes - 1))
        norm_s, norm_c = s.square().sum(dim=2).mean(dim=1), c.square().sum(dim=2).mean(dim=1)
        return cross / (norm_s * norm_c + 1e-8)
