"""Which of many pictures look like an earlier one."""

from __future__ import annotations

import numpy as np

BLOCK = 256  # pictures that are compared at a time


def unlike(looks: np.ndarray, alike: float) -> np.ndarray:
    """Indices, int64, of the pictures that differ from every earlier picture with an index in the result.

    looks: uint8 [N, D]. alike: root mean square of differences of 0..255 below which two pictures count as equal.
    """
    limit = alike ** 2 * looks.shape[1]
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(looks), BLOCK):
        block = looks[start:start + BLOCK].astype(np.float32)
        nearest = np.full(len(block), np.inf, dtype=np.float32)
        for at in range(0, len(kept), BLOCK):
            earlier = looks[kept[at:at + BLOCK]].astype(np.float32)
            nearest = np.minimum(nearest, _squared_distances(block, earlier).min(axis=1))
        within = _squared_distances(block, block)
        chosen: list[int] = []
        for i in range(len(block)):
            if min(nearest[i], within[i, chosen].min(initial=np.inf)) >= limit:
                chosen.append(i)
        kept = np.concatenate([kept, start + np.array(chosen, dtype=np.int64)])
    return kept


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Float32 [N, M] of float32 [N, D] and [M, D]."""
    return np.square(a).sum(axis=1)[:, np.newaxis] - 2 * a @ b.T + np.square(b).sum(axis=1)
