"""The moving average of weights: its formula, its ramp-up, and that buffers are copied."""

import pytest
import torch
from torch import nn

from training.networks.ema import update_ema


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(4, 3, generator=generator))
        self.scalar = nn.Parameter(torch.randn([], generator=generator), requires_grad=False)
        self.inner = nn.Linear(2, 2)
        self.register_buffer('w_avg', torch.randn(5, generator=generator))
        self.register_buffer('count', torch.tensor(seed))
        for p in self.inner.parameters():
            nn.init.normal_(p, generator=generator)


def parameters(net):
    return [p.detach().clone() for p in net.parameters()]


def moved(beta, old, new):
    return [o * beta + n * (1 - beta) for o, n in zip(old, new, strict=True)]


@pytest.mark.parametrize('batch_size, cur_nimg, ema_kimg, ema_rampup, beta', [
    (10, 0, 0.01, None, 0.5), (20, 10 ** 6, 0.01, None, 0.25), (4, 0, 0.5, None, 0.5 ** 0.008),
    (50, 1000, 10, 0.05, 0.5), (50, 500, 10, 0.05, 0.25), (50, 10 ** 6, 0.1, 0.05, 0.5 ** 0.5)])
def test_weights_move_by_the_half_life(batch_size, cur_nimg, ema_kimg, ema_rampup, beta):
    ema, net = Net(1), Net(2)
    expected = moved(beta, parameters(ema), parameters(net))
    before = parameters(net)
    update_ema(ema, net, batch_size, cur_nimg, ema_kimg, ema_rampup)
    torch.testing.assert_close(parameters(ema), expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(parameters(net), before, strict=True))


@pytest.mark.parametrize('cur_nimg, ema_kimg, ema_rampup', [(0, 20, 0.05), (64, 0, None), (64, 20, 0)])
def test_a_half_life_of_nothing_copies(cur_nimg, ema_kimg, ema_rampup):
    ema, net = Net(1), Net(2)
    update_ema(ema, net, 64, cur_nimg, ema_kimg, ema_rampup)
    assert all(torch.equal(a, b) for a, b in zip(ema.parameters(), net.parameters(), strict=True))


def test_buffers_are_copied():
    ema, net = Net(1), Net(2)
    update_ema(ema, net, 1, 10 ** 6, 1000, None)
    assert torch.equal(ema.w_avg, net.w_avg) and ema.count.item() == 2
    net.w_avg.zero_()
    assert ema.w_avg.abs().sum() > 0
    assert not torch.equal(ema.weight, net.weight)


def test_a_half_life_later_half_of_the_way_is_done():
    ema, net = Net(1), Net(2)
    expected = moved(0.5, parameters(ema), parameters(net))
    for i in range(25):
        update_ema(ema, net, 40, i * 40, 1, None)
    torch.testing.assert_close(parameters(ema), expected, rtol=1e-4, atol=1e-5)


def test_no_graph_is_built():
    ema, net = Net(1), Net(2)
    update_ema(ema, net, 4, 4, 1, None)
    assert ema.weight.is_leaf and ema.weight.requires_grad and ema.weight.grad is None
