"""Mean correlation coefficients on codes of which it is known what they must be."""

import numpy as np
import pytest
from helpers.known_factors import COUNT, factors, mixed, noise, numbers, perfect

from metrics.identifiability.correlation import MEASURES, mean_correlations
from metrics.identifiability.factors import Factor, angle_columns, equal_bins, ranks, standardised

F = factors()
CODES = perfect(F)[0]


def test_factors_themselves_in_any_order_sign_and_scale():
    rng = np.random.default_rng(0)
    shuffled = CODES[:, rng.permutation(CODES.shape[1])] * rng.choice([-1, 1], CODES.shape[1]) * 10.0 ** rng.integers(-5, 5) + 3
    for codes in (CODES, shuffled):
        assert mean_correlations(codes, F) == pytest.approx(dict.fromkeys(MEASURES, 1), abs=1e-5)


def test_a_linear_mixture_is_found_by_the_weak_coefficient_alone():
    values = mean_correlations(mixed(CODES), F)
    assert values['mcc_weak'] == pytest.approx(1) and max(values['mcc_strong'], values['mcc_monotone']) < 0.85
    half = np.sqrt(0.5)
    pair = [Factor('a', noise(2)[:, 0]), Factor('b', noise(2)[:, 1])]
    turned = standardised(noise(2)) @ np.array([[half, -half], [half, half]])  # by 45°: each is half of each
    assert mean_correlations(turned, pair)['mcc_strong'] == pytest.approx(half, abs=0.03)


def test_rounding_errors_of_redundant_codes_do_not_count():
    """64 codes in float32 that a network mixes from fewer, inexact features: all other directions are rounding errors."""
    features = (standardised(CODES) + noise(CODES.shape[1])).astype(np.float32)
    mixture = np.random.default_rng(0).standard_normal([features.shape[1], 64], dtype=np.float32)
    expected = mean_correlations(features.astype(np.float64), F)['mcc_weak']
    assert expected > 0.5
    assert mean_correlations((features @ mixture).astype(np.float64), F)['mcc_weak'] == pytest.approx(expected, abs=1e-3)


def test_increasing_and_decreasing_maps_are_undone_by_the_monotone_coefficients():
    some = numbers(F)
    codes = np.stack([np.sign(k) * np.exp(3 * k * standardised(f.values)) for k, f in zip([1, -1, 1], some, strict=True)], axis=1)
    values = mean_correlations(codes, some)
    assert values['mcc_spearman'] == pytest.approx(1) and values['mcc_monotone'] == pytest.approx(1, abs=0.01)
    assert values['mcc_strong'] < 0.8


def test_a_circle_needs_two_codes_and_its_zero_does_not_matter():
    circle = [Factor('hue', np.random.default_rng(0).uniform(size=COUNT), 'circle')]
    for shift in (0, 0.07, 0.4):
        both = angle_columns(shift - circle[0].values)
        assert mean_correlations(both, circle)['mcc_strong'] == pytest.approx(1, abs=1e-3)
    one = mean_correlations(both[:, :1], circle)
    twice = mean_correlations(both[:, [0, 0]], circle)
    assert one['mcc_strong'] == pytest.approx(0.5, abs=0.02), 'the other coordinate has no code'
    assert twice['mcc_strong'] < 0.75, 'the same code twice is no circle'


def test_constant_codes_and_noise():
    assert mean_correlations(np.ones([COUNT, 4]), F) == dict.fromkeys(MEASURES, 0)
    values = mean_correlations(noise(CODES.shape[1]), F)
    assert all(0 <= value < 0.1 for value in values.values())
    many = mean_correlations(noise(64), F)
    assert many['mcc_strong'] > values['mcc_strong'], 'more codes have more by chance'


def test_fewer_codes_than_factors_leave_some_without():
    assert mean_correlations(numbers(F)[0].values[:, None], numbers(F))['mcc_strong'] == pytest.approx(1 / 3)


def test_what_is_not_defined():
    assert mean_correlations(np.zeros([COUNT, 0]), F) == dict.fromkeys(MEASURES)
    assert mean_correlations(CODES, [f for f in F if f.kind == 'class']) == dict.fromkeys(MEASURES)


def test_ranks_and_bins():
    assert ranks(np.array([[3., 1, 3, 2]]).T).T.tolist() == [[3.5, 1, 3.5, 2]]
    assert ranks(np.ones([3, 1])).tolist() == [[2], [2], [2]]
    assert np.bincount(equal_bins(noise(1)[:, 0], 20)).tolist() == [50] * 20
    assert set(equal_bins(np.ones(9), 4)) == {1} and standardised(np.ones([3, 2])).tolist() == [[0, 0]] * 3
