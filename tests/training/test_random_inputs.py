"""What random numbers depend on."""

import contextlib

import pytest
import torch
from helpers.per_sample import InputsPerSample, PerSample

from dnnlib.util import EasyDict
from torch_utils import distributed
from training.inputs import RandomInputs

CPU = torch.device('cpu')


class Labels:
    """A dataset of ten labels."""

    label_dim = 2

    def __len__(self):
        return 10

    def get_label(self, i):
        return torch.tensor([i, i * i], dtype=torch.float32).numpy()


def draws(count):
    """All kinds of random tensors that training draws, with so many rows."""
    x = torch.zeros(count, 3, dtype=torch.float64)
    return [torch.randn(count, 2), torch.rand([count]), torch.randn((count, 1, 2, 2), dtype=torch.float64), torch.randn_like(x),
            torch.rand_like(x, dtype=torch.float32), torch.randint(2, (count,)), torch.randint(5, 9, [count, 2]),
            torch.rand([]), torch.randint(1, 7, [])]


@pytest.mark.parametrize('parts', [1, 2, 3, 6])
def test_parts_draw_the_rows_of_the_whole(parts):
    torch.manual_seed(0)
    whole = draws(6)
    for part in range(parts):
        torch.manual_seed(0)
        with PerSample(part, parts):
            mine = draws(6 // parts)
        for a, b in zip(mine, whole, strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b[part::parts] if b.ndim else b)


def an_iteration(rank, workers, rounds, monkeypatch, per_sample, nimg=24):
    """z, c, and what each round draws, for the 12 samples of a batch, as one of several workers sees them in its second phase."""
    monkeypatch.setattr(distributed, 'rank', lambda: rank)
    monkeypatch.setattr(distributed, 'world_size', lambda: workers)
    inputs = (InputsPerSample if per_sample else RandomInputs)(EasyDict(random_seed=0, batch_size=12), Labels(), 4, CPU)
    torch.manual_seed(rank)
    inputs.begin(nimg)
    inputs.draw()
    torch.randn(rank + 1)
    drawn = inputs.draw()
    noise = []
    for i in range(rounds):
        with inputs.in_round(i, rounds) if per_sample else contextlib.nullcontext():
            noise.append(torch.randn(12 // workers // rounds, 3))
    return drawn['z'], drawn['c'], noise


@pytest.mark.parametrize('workers, rounds', [(2, 1), (3, 2), (1, 4), (12, 1)])
def test_per_sample_a_batch_is_the_same_however_it_is_divided(workers, rounds, monkeypatch):
    z, c, (noise,) = an_iteration(0, 1, 1, monkeypatch, True)
    for rank in range(workers):
        mine = an_iteration(rank, workers, rounds, monkeypatch, True)
        assert torch.equal(mine[0], z[rank::workers]) and torch.equal(mine[1], c[rank::workers])
        for i, part in enumerate(mine[2]):
            assert torch.equal(part, noise[rank::workers][i::rounds])


def test_otherwise_workers_draw_different_numbers_again_and_again_the_same(monkeypatch):
    first, second = (an_iteration(rank, 2, 1, monkeypatch, False)[0] for rank in (0, 1))
    assert first.shape == second.shape == (6, 4) and not torch.equal(first, second)
    assert torch.equal(an_iteration(1, 2, 1, monkeypatch, False)[0], second)
    for per_sample in (False, True):
        once, later = (an_iteration(0, 2, 1, monkeypatch, per_sample, nimg)[0] for nimg in (24, 36))
        assert not torch.equal(once, later)
