"""Pictures that look like an earlier one are found, whatever block they are compared in."""

import numpy as np
import pytest

from training.data.making import looks


@pytest.mark.parametrize('block', [1, 7, 256])
def test_the_first_of_each_look_is_kept(monkeypatch, block):
    monkeypatch.setattr(looks, 'BLOCK', block)
    rng = np.random.RandomState(0)
    pictures = rng.randint(0, 4, [60, 6]).astype(np.uint8) * 80
    pictures[30:] = pictures[rng.permutation(30)] + rng.randint(0, 3, [30, 1], dtype=np.uint8) * 3  # 0, 3 or 6 brighter
    kept = []
    for i, picture in enumerate(pictures.astype(float)):  # one by one, in float64
        if all(np.sqrt(np.mean((picture - pictures[k]) ** 2)) >= 4 for k in kept):
            kept.append(i)
    assert 30 < len(kept) < 60
    assert looks.unlike(pictures, 4).tolist() == kept


def test_none_and_one():
    assert looks.unlike(np.zeros([0, 5], np.uint8), 1).tolist() == []
    assert looks.unlike(np.zeros([3, 5], np.uint8), 1).tolist() == [0]
