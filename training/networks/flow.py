"""The domain flow prior of i-StyleGAN (Xie et al., ICLR 2023): an increasing map of each style coordinate.

Built like the dense sigmoidal flow of Huang et al. (ICML 2018), with SELU instead of the sigmoid, and no logit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from torch_utils.persistence import persistent

KAPPA = math.log(math.expm1(1 - 1e-7))  # softplus(KAPPA) is just below 1: a parameter of 0 means a slope of 1


@persistent
class DenseSigmoidFlow(nn.Module):
    """One block: h -> V selu(a ⊙ (U h) + β), with rows of U and V that are positive and sum to 1, and a > 0.

    in_dim, hidden_dim, out_dim: lengths of h, of the hidden vector and of the result. `num_params` numbers per latent
    dimension parametrise it: α, β, ω (hidden_dim each) and υ (in_dim), on top of the weights u_ and w_.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__()
        self.in_dim, self.hidden_dim, self.out_dim = in_dim, hidden_dim, out_dim
        self.num_params = 3 * hidden_dim + in_dim
        self.u_ = nn.Parameter(torch.empty(hidden_dim, in_dim).uniform_(-0.001, 0.001))
        self.w_ = nn.Parameter(torch.empty(out_dim, hidden_dim).uniform_(-0.001, 0.001))

    def forward(self, h: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """h [N, S, in_dim], params [N, S, num_params] -> [N, S, out_dim]."""
        H = self.hidden_dim
        alpha, beta, omega, upsilon = params.split([H, H, H, self.in_dim], dim=2)
        mixed = h if self.in_dim == 1 else _weighted_means(self.u_, upsilon, h)  # the weights of a single number are 1
        hidden = F.selu(F.softplus(alpha + KAPPA) * mixed + beta)
        return _weighted_means(self.w_, omega, hidden)


def _weighted_means(weight: torch.Tensor, shift: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """h [N, S, in] -> [N, S, out]: the rows of softmax(weight [out, in] + shift [N, S, 1, in]) applied to it."""
    rows = torch.softmax(weight + shift[:, :, None, :], dim=3)
    return (rows @ h[:, :, :, None])[:, :, :, 0]


@persistent
class DDSF(nn.Module):
    """A stack of n_blocks blocks, applied to each latent dimension separately: 1 -> hidden_dim -> ... -> 1.

    Strictly increasing in its input. The caller passes `num_params` parameters per dimension, block after block.
    """

    def __init__(self, n_blocks: int = 1, hidden_dim: int = 16):
        super().__init__()
        self.model = nn.Sequential(*(
            DenseSigmoidFlow(hidden_dim if k > 0 else 1, hidden_dim, hidden_dim if k < n_blocks - 1 else 1)
            for k in range(n_blocks)))
        self.num_params = sum(block.num_params for block in self.model)

    def forward(self, x: torch.Tensor, params: torch.Tensor) -> torch.Tensor:
        """x [N, S], params [N, S, num_params] -> [N, S]."""
        h = x[:, :, None]
        own = iter(params.split([block.num_params for block in self.model], dim=2))
        for block in self.model:
            h = block(h, next(own))
        return h[:, :, 0]
