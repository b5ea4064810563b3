"""Averages of the weights with power-function profiles, from which averages of other lengths can be made later.

Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", sec. 3 and app. C.

At time t, counted from the start of the average, the weights of time τ count

    p(τ) = (γ+1) τ^γ / t^(γ+1),    0 ≤ τ ≤ t.

The standard deviation of p, relative to t, is the length σ_rel: the larger γ, the shorter the average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

SIGMAS = (0.05, 0.1)                # σ_rel of the averages that a run keeps, as in the paper
LONGEST = 1 / (2 * math.sqrt(3))    # σ_rel of γ = 0, where all weights since the start count alike


def exponent(sigma: float) -> float:
    """γ of a σ_rel between 0 and LONGEST: the largest root of (γ+2)²(γ+3) σ² = γ+1."""
    t = sigma ** -2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


class PowerAverages:
    """Averages of the parameters of a module, one for each of SIGMAS, in their precision and on their device.

    seen_nimg: images since the averages began. values: by σ_rel and name of the parameter; zeros until the first update.
    """

    def __init__(self, module: nn.Module):
        self.seen_nimg = 0
        self._parameters = dict(module.named_parameters())
        self._exponents = {sigma: exponent(sigma) for sigma in SIGMAS}
        self.values = {sigma: {name: torch.zeros_like(p) for name, p in self._parameters.items()} for sigma in SIGMAS}

    @torch.no_grad()
    def update(self, batch_size: int) -> None:
        """Update the averages with the weights after a batch."""
        self.seen_nimg += batch_size
        for sigma, average in self.values.items():
            weight = 1 - (1 - batch_size / self.seen_nimg) ** (self._exponents[sigma] + 1)
            torch._foreach_lerp_(list(average.values()), list(self._parameters.values()), weight)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and the tensors themselves."""
        return {'seen_nimg': self.seen_nimg, 'values': {str(sigma): dict(average) for sigma, average in self.values.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Restore the result of state_dict. Returns False and changes nothing if it has other averages or parameters."""
        if _shapes(state['values']) != _shapes(self.state_dict()['values']):
            return False
        self.seen_nimg = state['seen_nimg']
        for sigma, average in self.values.items():
            for name, tensor in average.items():
                tensor.copy_(state['values'][str(sigma)][name])
        return True


def _shapes(values: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, dict[str, torch.Size]]:
    return {sigma: {name: t.shape for name, t in average.items()} for sigma, average in values.items()}


def profile_products(t_a: Any, gamma_a: Any, t_b: Any, gamma_b: Any) -> np.ndarray:
    """∫ p_a(τ) p_b(τ) dτ for profiles that end at times t with exponents γ; float64 arrays that broadcast."""
    a_first = t_a <= t_b
    first, last = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    gamma_first, gamma_last = np.where(a_first, gamma_a, gamma_b), np.where(a_first, gamma_b, gamma_a)
    return (gamma_first + 1) * (gamma_last + 1) / (gamma_first + gamma_last + 1) * (first / last) ** gamma_last / last


def combination(times: np.ndarray, sigmas: np.ndarray, t: float, sigma: float) -> tuple[np.ndarray, float]:
    """The factors with which averages that ended at `times` add up to the best approximation of the average of length `sigma` at
    time t.

    times, sigmas: [M], float64. Returns the factors [M], and the L2 distance between the profile wanted and that of the sum,
    relative to the former: 0 for a perfect fit. Source: app. C (least squares). Unlike there, the factors add up to 1, so
    constant weights stay constant even with few averages.
    """
    gammas, gamma = np.array([exponent(s) for s in sigmas]), exponent(sigma)
    norms = np.sqrt(profile_products(times, gammas, times, gammas))
    norm = math.sqrt(profile_products(np.float64(t), gamma, np.float64(t), gamma))
    products = profile_products(times[:, None], gammas[:, None], times, gammas) / (norms[:, None] * norms)
    wanted = profile_products(times, gammas, np.float64(t), gamma) / (norms * norm)
    one = norm / norms  # the constraint, for factors of profiles of unit norm; the last unknown is its Lagrange multiplier
    system = np.block([[products, one[:, None]], [one[None], np.zeros((1, 1))]])
    x = np.linalg.lstsq(system, np.append(wanted, 1), rcond=None)[0][:-1]
    error = math.sqrt(max(1 - 2 * x @ wanted + x @ products @ x, 0))
    return x * one, error
