"""What the Jacobian term costs, by finite difference and by forward mode: `python -m tests.benchmarks.jacobian_term`.

All are timed in turn, round by round, so that whatever else the machine does hits them alike; medians are printed.
"""

from __future__ import annotations

import statistics
import time

import torch

from torch_utils.devices import resolve_device
from training.losses import PhaseBatch
from training.methods import term_class
from training.networks import Generator

ROUNDS, BATCH = 15, 32
VARIANTS = {
    'no term': None,
    'fd': dict(jacobian='fd'),
    'fd, hoyer': dict(jacobian='fd', penalty='hoyer'),
    'jvp': dict(jacobian='jvp'),
    'jvp, hoyer': dict(jacobian='jvp', penalty='hoyer'),
}


def main() -> None:
    """Forward and backward pass of the generator for 32 images of 32x32, with each form of the term on 16 of them."""
    device = resolve_device('auto')
    torch.manual_seed(0)
    mapping = dict(num_layers=1, cond_mode='flow', i_dim=32, embed_features=16)
    G = Generator(512, 2, 512, 32, 3, mapping_kwargs=mapping, synthesis_kwargs=dict(channel_base=512, channel_max=64)).to(device)
    z, c = torch.randn(BATCH, 512, device=device), torch.eye(2, device=device).repeat(BATCH // 2, 1)

    def step(kwargs: dict | None) -> float:
        start = time.perf_counter()
        G.zero_grad()
        batch = PhaseBatch(G, None, z, c, None, None)
        loss = batch.images.mean()
        if kwargs is not None:
            loss = loss + term_class('G/img_sparse')(**kwargs)(batch).mean()
        loss.backward()
        float(loss.detach())  # waits for the device
        return (time.perf_counter() - start) * 1e3

    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for i in range(ROUNDS + 2):
        for name, kwargs in VARIANTS.items():
            milliseconds = step(kwargs)
            if i >= 2:
                times[name].append(milliseconds)
    base = statistics.median(times['no term'])
    for name, values in times.items():
        print(f'{name:12s} {statistics.median(values):8.1f} ms   {statistics.median(values) / base:5.2f} x')


if __name__ == '__main__':
    main()
