"""Random parameters of augmentations: one per image, present by chance."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import torch


class Draws:
    """Draws one parameter for each of `count` images: [count], or [count, 2] where `pair` is True.

    Each method draws a value, then one u ~ U[0, 1) per image. It keeps the value where u < chance and gives 0 elsewhere, which
    makes every transform the identity. chance: number or tensor [], 0 or more; from 1 on, all values are kept.

    like: a tensor with the wanted dtype and device; random numbers come from the global generator of that device.
    percentile: for tests, a number in (0, 1) that replaces all random numbers: every image gets this quantile of the value's
    distribution, regardless of the chance. Raises ValueError if it is not in (0, 1). As published, the quantile of a normal
    distribution is too small by √2: erfinv(2q - 1).
    """

    def __init__(self, count: int, like: torch.Tensor, percentile: float | None = None):
        if percentile is not None and not 0 < percentile < 1:
            raise ValueError(f'debug_percentile is between 0 and 1, both excluded, not {percentile}')
        self.count, self.percentile = count, percentile
        self.kind: dict[str, Any] = dict(dtype=like.dtype, device=like.device)

    def integer(self, end: int, chance: torch.Tensor | float) -> torch.Tensor:
        """Uniform whole numbers 0 <= i < end, of floating dtype."""
        if self.percentile is not None:
            return self.all_equal(math.floor(self.percentile * end))
        return self._sometimes((self._rand() * end).floor(), chance)

    def uniform(self, bound: float, chance: torch.Tensor | float, pair: bool = False) -> torch.Tensor:
        """U(-bound, bound)."""
        if self.percentile is not None:
            return self.all_equal((2 * self.percentile - 1) * bound, pair)
        return self._sometimes((self._rand(pair) * 2 - 1) * bound, chance)

    def normal(self, std: float, chance: torch.Tensor | float, pair: bool = False) -> torch.Tensor:
        """N(0, std²)."""
        if self.percentile is not None:
            return self.all_equal(NormalDist().inv_cdf(self.percentile) / math.sqrt(2) * std, pair)
        return self._sometimes(torch.randn(self._shape(pair), **self.kind) * std, chance)

    def half_normal(self, std: float, chance: torch.Tensor | float) -> torch.Tensor:
        """|N(0, std²)|."""
        if self.percentile is not None:  # erfinv(q)
            return self.all_equal(-NormalDist().inv_cdf((1 - self.percentile) / 2) / math.sqrt(2) * std)
        return self._sometimes(torch.randn(self.count, **self.kind).abs() * std, chance)

    def constant(self, value: float, chance: torch.Tensor | float) -> torch.Tensor:
        """The value, where it is kept; 0 elsewhere."""
        value = self.all_equal(value)
        return value if self.percentile is not None else self._sometimes(value, chance)

    def position(self) -> torch.Tensor:
        """U[0, 1) along both axes, never left out: [count, 2]."""
        return self._rand(pair=True) if self.percentile is None else self.all_equal(self.percentile, pair=True)

    def all_equal(self, value: float, pair: bool = False) -> torch.Tensor:
        """One value for all images."""
        return torch.full(self._shape(pair), float(value), **self.kind)

    def _sometimes(self, value: torch.Tensor, chance: torch.Tensor | float) -> torch.Tensor:
        kept = self._rand() < chance  # one gate for both numbers of a pair
        return torch.where(kept[:, None] if value.ndim == 2 else kept, value, 0.0)

    def _rand(self, pair: bool = False) -> torch.Tensor:
        return torch.rand(self._shape(pair), **self.kind)

    def _shape(self, pair: bool) -> list[int]:
        return [self.count, 2] if pair else [self.count]
