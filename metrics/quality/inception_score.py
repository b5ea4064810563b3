"""The inception score (Salimans et al. 2016, arXiv 1606.03498): do images clearly belong to a class, and to many classes?"""

from __future__ import annotations

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.features import extraction
from torch_utils import distributed


def score(probabilities: np.ndarray, num_splits: int = 10) -> tuple[float, float]:
    """exp(mean_x KL(p(y|x) ‖ p̄(y))) of consecutive parts of the rows [N, classes], p̄ the mean of the part.

    Returns mean over the parts, and population standard deviation. N >= num_splits. In float64.
    """
    scores = []
    for i in range(num_splits):
        part = probabilities[i * len(probabilities) // num_splits:(i + 1) * len(probabilities) // num_splits]
        p = torch.from_numpy(np.asarray(part, np.float64))
        divergence = torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(dim=0))  # 0 log 0 = 0
        scores.append(float(divergence.sum(dim=1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


def inception_score(context: Context, key: str, num_gen: int, resize: str = 'published') -> Result:
    """Inception score of num_gen generated images, in 10 parts. Values <key>_mean, <key>_std.

    The class probabilities are those of the published network, without the bias of its last layer.
    """
    extraction.check_labels(context)
    net = context.detector('inception', resize)
    if net.probabilities_of is None:  # a network without access to its last layer
        stats = extraction.of_generator(context, net, num_gen, every=True, compute=net.probabilities)
    else:
        stats = extraction.of_generator(context, net, num_gen, every=True)

    def probabilities() -> np.ndarray:
        rows = stats.features()
        if net.probabilities_of is None:
            return rows
        parts = (torch.from_numpy(rows[part]).to(context.device) for part in batches(num_gen, context.batch))
        return np.concatenate([net.probabilities_of(part).cpu().numpy() for part in parts])

    mean, std = distributed.broadcast_from_rank0(lambda: score(probabilities()))
    return Result({f'{key}_mean': mean, f'{key}_std': std})
