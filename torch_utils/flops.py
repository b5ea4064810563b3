"""How much arithmetic a program does, and how much its GPU could do."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# 10^12 operations per second: in half precision, multiplied by tensor cores and summed in float32, without sparsity; in float32
# without TF32. By names of torch.cuda.get_device_name(). From NVIDIA's data sheets of the cards; RTX 3090 and 4090 from the
# white papers on GA102 (2020) and Ada (2022).
PEAKS = {
    r'H200': (989, 67), r'H100 PCIe': (756, 51), r'H100 (80GB HBM3|SXM)': (989, 67), r'A100': (312, 19.5), r'L40S': (362, 91.6),
    r'L4$': (121, 30.3), r'V100-SXM': (125, 15.7), r'V100-PCIE': (112, 14), r'T4$': (65, 8.1), r'RTX 3090$': (71, 35.6),
    r'RTX 4090$': (165, 82.6),
}


class Flops(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products inside of it, a multiply-add as two; also of gradients of
    gradients."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result


class FlopMeter:
    """Counts each part of a repeated work once, when it is first done.

    intervals: {name of a part: every how many repetitions it is done}.
    """

    def __init__(self, intervals: dict[Hashable, int]):
        self._intervals = intervals
        self._counts: dict[Hashable, int] = {}

    @contextmanager
    def counting(self, part: Hashable) -> Iterator[None]:
        """Do the part within."""
        if part in self._counts:
            yield
            return
        with Flops() as counter:
            yield
        self._counts[part] = counter.total

    def per_repetition(self) -> float | None:
        """Operations of one repetition, on average; None while a part has not been done yet."""
        if len(self._counts) < len(self._intervals):
            return None
        return float(sum(Fraction(self._counts[part], interval) for part, interval in self._intervals.items()))


def peak_flops(device: torch.device, half: bool) -> float | None:
    """Operations per second that `device` can do at most, in half precision or in float32; None where that is not known."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else ''
    found = next((peaks for pattern, peaks in PEAKS.items() if re.search(pattern, name)), None)
    return None if found is None else found[0 if half else 1] * 1e12
