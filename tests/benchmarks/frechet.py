"""Time of the trace term of the Fréchet distance, ours against scipy.linalg.sqrtm: python tests/benchmarks/frechet.py --help

The two are timed in turn, on the same covariances of correlated features; the ratio is that of the medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import click
import numpy as np
import scipy.linalg
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from metrics.quality.frechet import trace_of_root


def covariance(size: int, samples: int, seed: int) -> np.ndarray:
    """Of so many samples of features that are correlated, positive, and of very different variances, as those of networks."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((size, size), np.float32) * np.logspace(0, -3, size, dtype=np.float32)[:, None]
    x = np.maximum(rng.standard_normal((samples, size), np.float32) @ mixing, 0)
    return np.cov(x.astype(np.float64), rowvar=False, bias=True)


@click.command()
@click.option('--size', help='Number of features.', type=int, default=2048, show_default=True)
@click.option('--samples', help='Number of samples of which the covariances are.', type=int, default=10_000, show_default=True)
@click.option('--repeats', help='How often each is timed.', type=int, default=5, show_default=True)
@click.option('--threads', help='Threads to compute with.', type=int, default=torch.get_num_threads(), show_default=True)
def main(size: int, samples: int, repeats: int, threads: int) -> None:
    """Time Tr (Σ₁ Σ₂)^½."""
    import threadpoolctl
    torch.set_num_threads(threads)
    ways = {'here': trace_of_root, 'scipy.linalg.sqrtm': lambda a, b: np.trace(scipy.linalg.sqrtm(a @ b)).real}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    values = {}
    with threadpoolctl.threadpool_limits(threads):
        covs = [covariance(size, samples, seed) for seed in (0, 1)]
        for _ in range(repeats):
            for way, compute in ways.items():
                start = time.perf_counter()
                values[way] = compute(*covs)
                seconds[way].append(time.perf_counter() - start)
    for way, times in seconds.items():
        each = ', '.join(f'{t:.2f}' for t in times)
        print(f'{way:<20} {statistics.median(times):8.2f} s (of {each})   value {values[way]:.8f}')
    ours, theirs = (statistics.median(times) for times in seconds.values())
    print(f'{size} features, {threads} threads: {theirs / ours:.1f} times as fast; values differ by '
          f'{abs(values["here"] - values["scipy.linalg.sqrtm"]) / values["here"]:.1e} of theirs')


if __name__ == '__main__':
    main()
