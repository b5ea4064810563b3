"""What augmentation costs on this machine: `python -m tests.benchmarks.augment`.

All are timed in turn, round by round, so that whatever else the machine does hits them alike; medians are printed.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from torch_utils.devices import resolve_device
from training.augmentation.pipe import AugmentPipe
from training.augmentation.presets import AUGPIPES

ROUNDS, BATCH, SIZES = 15, 32, (32, 64)


def main() -> None:
    """Forward and backward pass for 32 images, at a p that training reaches and at the two ends."""
    device = resolve_device('auto')
    torch.manual_seed(0)
    pipes: dict[str, nn.Module] = {'identity': nn.Identity()}
    for p in (0.0, 0.3, 1.0):
        pipes[f'bgc, p = {p}'] = AugmentPipe(**AUGPIPES['bgc']).to(device)
        pipes[f'bgc, p = {p}'].p.fill_(p)

    def step(pipe: nn.Module, size: int) -> float:
        images = torch.randn(BATCH, 3, size, size, device=device, requires_grad=True)
        start = time.perf_counter()
        pipe(images).square().sum().backward()
        float(images.grad[0, 0, 0, 0])  # waits for the device
        return (time.perf_counter() - start) * 1e3

    times: dict[tuple[int, str], list[float]] = {(size, name): [] for size in SIZES for name in pipes}
    for i in range(ROUNDS + 2):
        for size, name in times:
            milliseconds = step(pipes[name], size)
            if i >= 2:
                times[size, name].append(milliseconds)
    for (size, name), values in times.items():
        print(f'{size:4d}x{size:<4d} {name:14s} {statistics.median(values):8.1f} ms')


if __name__ == '__main__':
    main()
