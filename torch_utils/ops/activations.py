"""Activations that the operators support, in the order of their numbers in the native library."""

from __future__ import annotations

import math
from typing import NamedTuple


class Activation(NamedTuple):
    """Defaults of an activation: `alpha` is the slope of lrelu; `gain` keeps the variance near that of the input."""

    alpha: float
    gain: float


activation_funcs = {
    'linear':   Activation(alpha=0.0, gain=1.0),
    'relu':     Activation(alpha=0.0, gain=math.sqrt(2)),
    'lrelu':    Activation(alpha=0.2, gain=math.sqrt(2)),
    'tanh':     Activation(alpha=0.0, gain=1.0),
    'sigmoid':  Activation(alpha=0.0, gain=1.0),
    'elu':      Activation(alpha=0.0, gain=1.0),
    'selu':     Activation(alpha=0.0, gain=1.0),
    'softplus': Activation(alpha=0.0, gain=1.0),
    'swish':    Activation(alpha=0.0, gain=math.sqrt(2)),
}
