"""R² of blocks on codes of which it is known what it must be."""

import numpy as np
import pytest
from helpers.known_factors import COUNT, factors, mixed, noise, perfect

from metrics.identifiability.factors import halves
from metrics.identifiability.regression import block_r2, factor_r2, predict

F = factors()
CODES, CONTENT, STYLE = perfect(F)


def test_blocks_that_are_the_factors_and_their_mixtures_within_a_block():
    within = np.concatenate([mixed(CODES[:, CONTENT]), np.tanh(mixed(CODES[:, STYLE]))], axis=1)
    for codes, least in ((CODES, 0.999), (within, 0.97)):
        values = block_r2(codes, np.arange(len(CONTENT)), np.arange(len(CONTENT), CODES.shape[1]), F)
        assert min(values['r2_content_from_content'], values['r2_style_from_style']) > least
        assert max(values['r2_style_from_content'], values['r2_content_from_style']) < 0.02


def test_blocks_that_are_mixed_or_exchanged():
    values = block_r2(mixed(CODES), CONTENT, STYLE, F)
    assert values['r2_style_from_content'] > 0.3
    values = block_r2(CODES, STYLE, CONTENT, F)
    assert values['r2_content_from_style'] == pytest.approx(1) and values['r2_style_from_content'] == pytest.approx(1)
    assert values['r2_style_from_style'] < 0.02


def test_noise_and_constant_codes_know_nothing():
    for codes in (noise(40), np.ones([COUNT, 3])):
        assert np.abs(factor_r2(codes, F)).max() < 0.05


def test_a_known_share_of_noise():
    code = F[1].values[:, None] + noise(1)
    assert factor_r2(code, [F[1]])[0] == pytest.approx(0.5, abs=0.07)


def test_functions_that_are_not_linear():
    x = noise(1, seed=1)
    fit, test = halves(COUNT)
    squares = predict(x[fit], np.square(x)[fit], x[test])
    assert np.corrcoef(squares[:, 0], np.square(x)[test][:, 0])[0, 1] > 0.99
    assert factor_r2(F[3].values[:, None], [F[3]])[0] > 0.95, 'a circle from its angle'


def test_few_rows_of_noise_are_not_fitted():
    """As many fits as there are rows, each without one of them, which is then predicted."""
    x, y = noise(3, count=30), noise(2, count=30, seed=6)
    y[:, 0] += x[:, 0]
    alone = np.concatenate([predict(np.delete(x, i, 0), np.delete(y, i, 0), x[i:i + 1]) for i in range(30)])
    errors = np.square(alone - y).sum(axis=0) / np.square(y - y.mean(axis=0)).sum(axis=0)
    assert errors[0] < 0.9 and errors[1] < 1.5


def test_blocks_that_do_not_exist():
    values = block_r2(CODES, np.arange(CODES.shape[1]), np.arange(0), F)
    assert values['r2_content_from_style'] is None and values['r2_style_from_style'] is None
    assert values['r2_style_from_content'] == pytest.approx(1, abs=1e-3)
