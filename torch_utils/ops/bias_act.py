"""Bias, activation, gain and clamp in one operator."""

from __future__ import annotations

import torch

from torch_utils.ops.activations import activation_funcs
from torch_utils.ops.backend import kernels


def default_gain(act: str) -> float:
    """The gain that `bias_act` applies when none is given."""
    return activation_funcs[act].gain


def bias_act(x: torch.Tensor, b: torch.Tensor | None = None, dim: int = 1, act: str = 'linear',
             alpha: float | None = None, gain: float | None = None, clamp: float | None = None) -> torch.Tensor:
    """y = clamp(gain * act(x + b), -clamp, +clamp).

    x: tensor of any shape. b: bias [x.shape[dim]] of x's dtype, or None. act: a name in `activation_funcs`.
    alpha, gain: None takes the activation's default; an explicit gain replaces it. clamp: None or >= 0.

    Returns a tensor of x's shape and dtype, differentiable twice with respect to x and b.
    Raises ValueError for an unknown activation, a bias of the wrong shape or a negative clamp.
    """
    if act not in activation_funcs:
        raise ValueError(f'unknown activation {act!r}; known: {", ".join(activation_funcs)}')
    if b is not None and (b.ndim != 1 or b.shape[0] != x.shape[dim]):
        raise ValueError(f'bias of shape {list(b.shape)} does not fit axis {dim} of {list(x.shape)}')
    if clamp is not None and clamp < 0:
        raise ValueError('clamp must not be negative')
    default = activation_funcs[act]
    return kernels(x).bias_act(x, b, dim % x.ndim, act,
                               float(default.alpha if alpha is None else alpha),
                               float(default.gain if gain is None else gain),
                               None if clamp is None else float(clamp))
