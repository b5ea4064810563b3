"""Count the arithmetic operations of a program, and look up the peak rate of its GPU."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# Peak rates in 10^12 operations per second: in half precision (tensor cores with sums in float32, without sparsity), and in
# float32 without TF32. Keys match names of torch.cuda.get_device_name(). Sources: NVIDIA's data sheets of the cards; for RTX
# 3090 and 4090 the white papers on GA102 (2020) and Ada (2022).
PEAKS = {
    r'H200': (989, 67), r'H100 PCIe': (756, 51), r'H100 (80GB HBM3|SXM)': (989, 67), r'A100': (312, 19.5), r'L40S': (362, 91.6),
    r'L4$': (121, 30.3), r'V100-SXM': (125, 15.7), r'V100-PCIE': (112, 14), r'T4$': (65, 8.1), r'RTX 3090$': (71, 35.6),
    r'RTX 4090$': (165, 82.6),
}


class Flops(TorchDispatchMode):
    """Count the operations of convolutions and matrix products inside this context, also those of gradients of gradients. A
    multiply-add counts as two."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise PyTorch imports its compiler, which takes several seconds, in order to skip this class

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result


class FlopMeter:
    """Counts each part of repeated work once, when the part first runs.

    intervals: part -> N if the part runs in every N-th repetition.
    """

    def __init__(self, intervals: dict[Hashable, int]):
        self._intervals = intervals
        self._counts: dict[Hashable, int] = {}

    @contextmanager
    def counting(self, part: Hashable) -> Iterator[None]:
        """Run a part of the work inside this context."""
        if part in self._counts:
            yield
            return
        with Flops() as counter:
            yield
        self._counts[part] = counter.total

    def per_repetition(self) -> float | None:
        """Average operations per repetition; None until every part has run."""
        if len(self._counts) < len(self._intervals):
            return None
        return float(sum(Fraction(self._counts[part], interval) for part, interval in self._intervals.items()))


def peak_flops(device: torch.device, half: bool) -> float | None:
    """Peak operations per second of `device`, in half precision or in float32; None if unknown."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else ''
    found = next((peaks for pattern, peaks in PEAKS.items() if re.search(pattern, name)), None)
    return None if found is None else found[0 if half else 1] * 1e12
