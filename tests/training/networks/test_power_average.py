"""Power-function averages of weights: their lengths, their updates, and averages of other lengths made of them."""

import numpy as np
import pytest
import torch
from torch import nn

from training.networks.power_average import LONGEST, SIGMAS, PowerAverages, combination, exponent, profile_products

STEPS = 1000


@pytest.mark.parametrize('sigma, gamma', [(0.05, 16.97), (0.10, 6.94)])  # Karras et al. 2024, sec. 3.1
def test_lengths_have_the_published_exponents(sigma, gamma):
    assert exponent(sigma) == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize('sigma', [0.01, 0.05, 0.2, 0.28])
def test_a_length_is_the_relative_deviation_of_the_profile(sigma):
    gamma, tau = exponent(sigma), (np.arange(10 ** 6) + 0.5) / 10 ** 6
    p = (gamma + 1) * tau ** gamma / 10 ** 6
    mean = p @ tau
    assert p.sum() == pytest.approx(1, rel=1e-5) and (p @ (tau - mean) ** 2) ** 0.5 == pytest.approx(sigma, rel=1e-5)
    assert exponent(LONGEST) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('a, b', [((7, 2), (7, 2)), ((3, 16.97), (5, 6.94)), ((5, 6.94), (3, 16.97))])
def test_products_of_profiles_are_their_integrals(a, b):
    tau = (np.arange(10 ** 6) + 0.5) / 10 ** 6 * 8
    p, q = ((gamma + 1) * tau ** gamma / t ** (gamma + 1) * (tau <= t) for t, gamma in (a, b))
    assert profile_products(*map(np.float64, (*a, *b))) == pytest.approx(p @ q * 8 / 10 ** 6, rel=1e-5)


def random_walk(steps=STEPS, width=50):
    """Weights that move less and less, as with most optimisers: float64 [steps, width]."""
    rng = np.random.default_rng(0)
    strides = rng.standard_normal((steps, width)) / np.arange(1, steps + 1)[:, None] ** 0.5
    return rng.standard_normal(width) + np.cumsum(strides, axis=0)


def tracked(walk, sigma, wanted):
    """The averages after each of `wanted` steps, by the definition of the update."""
    gamma, average, found = exponent(sigma), np.zeros_like(walk[0]), {}
    for i, weights in enumerate(walk, 1):
        beta = (1 - 1 / i) ** (gamma + 1)
        average = beta * average + (1 - beta) * weights
        if i in wanted:
            found[i] = average
    return found


@pytest.mark.parametrize('sigma, most, most_rounded', [
    (0.03, 2e-3, 1e-2), (0.05, 1e-12, 1e-3), (0.08, 1e-4, 1.5e-3), (0.1, 1e-12, 1e-3), (0.15, 3e-4, 1.5e-3), (0.2, 4e-3, 4e-3)])
def test_an_average_of_another_length_is_that_which_would_have_been_tracked(sigma, most, most_rounded):
    """20 snapshots. Half precision alone is off by 5e-4 at most; between the lengths that are kept, errors are not magnified."""
    walk, times = random_walk(), [STEPS * k // 20 for k in range(1, 21)]
    kept = {s: tracked(walk, s, times) for s in SIGMAS}
    parts = [(t, s) for t in times for s in SIGMAS]
    factors, error = combination(*np.array(parts, dtype=np.float64).T, STEPS, sigma)
    truth = tracked(walk, sigma, [STEPS])[STEPS]
    values = np.stack([kept[s][t] for t, s in parts])
    scale = np.abs(truth).mean()
    assert np.abs(factors @ values - truth).max() < most * scale
    assert np.abs(factors @ values.astype(np.float16).astype(float) - truth).max() < most_rounded * scale
    assert error < 0.03 and (error > 1e-6) == (sigma not in SIGMAS) and factors.sum() == pytest.approx(1, abs=1e-12)
    others = [np.abs(tracked(walk, s, [STEPS])[STEPS] - truth).max() for s in SIGMAS if s != sigma]
    assert min(others) > 5 * most * scale, 'the averages that are kept would have done as well'


def test_an_average_can_end_before_the_last_snapshot():
    walk, times = random_walk(), [100 * k for k in range(1, 11)]
    parts = [(t, s) for t in times for s in SIGMAS]
    factors, _ = combination(*np.array(parts, dtype=np.float64).T, 700, 0.08)
    values = np.stack([tracked(walk, s, [t])[t] for t, s in parts])
    truth = tracked(walk, 0.08, [700])[700]
    assert np.abs(factors @ values - truth).max() < 5e-3 * np.abs(truth).mean()


def walked(net, averages, walk, first=0):
    for weights in walk[first:]:
        with torch.no_grad():
            net.weight.copy_(torch.from_numpy(weights).reshape(net.weight.shape))
        averages.update(32)


def test_a_module_is_tracked_by_the_update_of_the_paper():
    walk = random_walk(40, 6)
    net = nn.Linear(3, 2).double()
    averages = PowerAverages(net)
    walked(net, averages, walk)
    for sigma in SIGMAS:
        expected = torch.from_numpy(tracked(walk, sigma, [40])[40]).reshape(2, 3)
        assert torch.allclose(averages.values[sigma]['weight'], expected, rtol=1e-9, atol=1e-12)
        assert torch.allclose(averages.values[sigma]['bias'], net.bias)


def test_the_first_update_takes_the_weights_as_they_are():
    net = nn.Linear(3, 2)
    averages = PowerAverages(net)
    averages.update(8)
    assert all(torch.equal(average[name], p) for average in averages.values.values() for name, p in net.named_parameters())


def test_a_restored_average_continues_bit_for_bit():
    walk = random_walk(20, 6)
    net, again = nn.Linear(3, 2), nn.Linear(3, 2)
    again.load_state_dict(net.state_dict())
    whole, first, second = PowerAverages(net), PowerAverages(again), PowerAverages(again)
    walked(net, whole, walk)
    walked(again, first, walk[:9])
    assert second.load_state_dict(first.state_dict()) and second.seen_nimg == 9 * 32
    walked(again, second, walk, first=9)
    assert all(torch.equal(whole.values[s][name], second.values[s][name]) for s in SIGMAS for name in ('weight', 'bias'))


@pytest.mark.parametrize('change', [lambda v: v.pop('0.1'), lambda v: v['0.1'].pop('bias'),
                                    lambda v: v['0.05'].update(bias=torch.zeros(3))])
def test_averages_of_something_else_change_nothing(change):
    averages, other = PowerAverages(nn.Linear(3, 2)), PowerAverages(nn.Linear(3, 2))
    other.update(9)
    state = other.state_dict()
    change(state['values'])
    assert not averages.load_state_dict(state) and averages.seen_nimg == 0
