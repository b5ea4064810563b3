"""DCI, SAP, MIG and modularity on codes of which it is known what they must be."""

import numpy as np
import pytest
from helpers.known_factors import COUNT, factors, mixed, noise, numbers, perfect

from metrics.identifiability.dci import completeness, dci, disentanglement, lasso
from metrics.identifiability.factors import Factor, angle_columns, standardised
from metrics.identifiability.information import gap, information, mig, modularity
from metrics.identifiability.sap import class_score, sap

F = [factor for factor in factors() if factor.kind != 'class']
CODES = perfect(F)[0]
CLASS = factors()[2]


def all_of(codes, some):
    shares = information(codes, some)
    return dict(**dci(codes, some), sap=sap(codes, some), mig=mig(shares, some), modularity=modularity(shares))


def test_factors_themselves_in_any_order_sign_and_scale():
    order = np.random.default_rng(0).permutation(CODES.shape[1])
    for codes in (CODES, -1e3 * CODES[:, order] + 7):
        values = all_of(codes, F)
        assert values.pop('mig') == pytest.approx(1, abs=0.1), 'bins of an angle and of its cosine have other edges'
        assert values == pytest.approx(dict.fromkeys(values, 1), abs=0.05)


def test_mixtures():
    values = all_of(mixed(CODES), F)
    assert values['dci_informativeness'] > 0.99, 'all is there'
    assert max(values[name] for name in ('dci_disentanglement', 'dci_completeness', 'sap', 'mig')) < 0.5


def test_increasing_maps_change_nothing_for_information():
    some = numbers(F)
    codes = np.exp(3 * standardised(perfect(some)[0]))
    assert np.allclose(information(codes, some), information(perfect(some)[0], some))


def test_noise_is_near_chance_and_constant_codes_know_nothing():
    values = all_of(noise(6), F)
    assert max(values['sap'], values['mig'], abs(values['dci_informativeness'])) < 0.05
    values = all_of(np.ones([COUNT, 6]), F)
    assert values.pop('modularity') is None and values.pop('dci_informativeness') == pytest.approx(0, abs=0.02)
    assert values == dict.fromkeys(values, 0)


def test_two_codes_of_one_factor():
    x = F[0].values[:, None]
    values = all_of(np.concatenate([x, x], axis=1), [F[0], F[1]])
    assert values['modularity'] > 0.95 and values['sap'] < 0.02 and values['mig'] < 0.05


def test_one_code_of_two_factors():
    other = np.random.default_rng(9).integers(0, 3, COUNT).astype(float)
    both = [Factor('a', CLASS.values, 'class'), Factor('b', other, 'class')]
    shares = information(CLASS.values[:, None] + 3 * other[:, None], both)
    assert shares == pytest.approx(np.ones([1, 2])) and modularity(shares) == pytest.approx(0)


def test_importance_of_known_shape():
    even, single = np.ones([4, 4]), np.eye(4)
    some = [Factor(str(k), np.zeros(1)) for k in range(4)]
    assert disentanglement(single) == completeness(single, some) == pytest.approx(1)
    assert disentanglement(even) == pytest.approx(0) and completeness(even, some) == pytest.approx(0)
    half = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert disentanglement(half) == pytest.approx(0.5) and completeness(half, some) == pytest.approx(1)
    unequal = np.array([[3., 0], [1, 1]])  # the first matters for 3/5 of all, and for one factor only
    assert disentanglement(unequal) == pytest.approx(3 / 5)
    assert disentanglement(np.zeros([3, 2])) == 0 and disentanglement(np.ones([3, 1])) is None


def test_a_circle_may_take_two_codes():
    circle = Factor('hue', np.random.default_rng(3).uniform(size=COUNT), 'circle')
    codes = np.concatenate([angle_columns(circle.values + 0.1), noise(2)], axis=1)
    values = all_of(codes, [circle, F[0]])
    assert completeness(np.array([[1.], [1], [0], [0]]), [circle]) == pytest.approx(1)
    assert gap(np.array([0.9, 0.9, 0.1]), 2) == pytest.approx(0.8) and gap(np.array([0.9, 0.9, 0.1]), 1) == 0
    assert information(codes, [circle])[:2] == pytest.approx(1, abs=0.15) and values['sap'] == pytest.approx(0.5, abs=0.03)
    angle = information(circle.values[:, None], [circle])
    assert angle == pytest.approx(1), 'a single code that has the whole angle'


def test_classes():
    assert class_score(CLASS.values, CLASS.bins(0)) == pytest.approx(1)
    assert class_score(CLASS.values % 2, CLASS.bins(0)) == pytest.approx(0.5, abs=0.01), 'two of three: (2/3 - 1/3) / (1 - 1/3)'
    assert class_score(noise(1)[:, 0], CLASS.bins(0)) < 0.1
    assert information(CLASS.values[:, None], [CLASS]) == pytest.approx(1)
    assert information(noise(1), [CLASS])[0, 0] < 0.03


def test_too_few_codes_or_factors():
    values = all_of(CODES[:, :1], F[:1])
    assert [values[name] for name in ('dci_disentanglement', 'dci_completeness', 'sap', 'mig', 'modularity')] == [None] * 5
    assert values['dci_informativeness'] == pytest.approx(1, abs=0.01)


def test_lasso_is_at_its_optimum():
    """Where a weight is not 0, the gradient of the squares is the penalty; elsewhere it is less."""
    x, y = standardised(noise(5)), standardised(noise(2, seed=1)) + standardised(noise(5))[:, :2]
    weights = lasso(x, y, 0.1)
    gradient = x.T @ (y - x @ weights) / len(x)
    assert np.allclose(gradient[weights != 0], 0.1 * np.sign(weights[weights != 0]), atol=1e-4)
    assert np.abs(gradient).max() <= 0.1 + 1e-4 and (weights == 0).any() and (weights != 0).any()
