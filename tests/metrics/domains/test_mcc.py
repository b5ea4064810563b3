"""The mean correlation coefficient."""

import itertools

import numpy as np
import pytest
import torch
from helpers.domain_cases import Finder, Painter, context, networks, pictures, write_dataset

from metrics.domains.mcc import assign, correlations
from metrics.registry import calc_metric


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / 'a.zip', pictures(4), [0, 1, 0, 1])


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    np.testing.assert_allclose(correlations(x, y), np.abs(np.corrcoef(x.T, y.T)[:3, 3:]), atol=1e-12)
    np.testing.assert_allclose(correlations(x, x * [2, -3, 1e-3] + 5), np.abs(np.corrcoef(x.T)), atol=1e-9)
    assert correlations(x, np.ones([50, 2])).tolist() == [[0, 0]] * 3


def test_order_sign_and_scale_do_not_matter():
    x = np.random.default_rng(0).normal(size=(50, 5))
    order = [3, 0, 4, 2, 1]
    assert assign(correlations(x, -7 * x[:, order] + 1))[0] == pytest.approx(1)
    y = x + np.random.default_rng(1).normal(size=(50, 5))
    assert assign(correlations(x, y))[0] == pytest.approx(assign(correlations(x[:, order[::-1]], -y[:, order]))[0])


def test_the_assignment_is_the_best():
    matrix = np.random.default_rng(0).uniform(size=(5, 5))
    best = max(np.mean([matrix[i, j] for i, j in enumerate(order)]) for order in itertools.permutations(range(5)))
    mean, chosen = assign(matrix)
    assert mean == pytest.approx(best) == pytest.approx(chosen.mean())
    assert np.isnan(assign(np.full([2, 2], np.nan))[0])


def test_an_encoder_that_inverts_the_generator(dataset):
    values = calc_metric('mcc200', context(Painter(i_dim=2), dataset, Finder()))[0].values
    chance = values.pop('mcc200_chance')
    assert values == pytest.approx(dict.fromkeys(('mcc200', 'mcc200_same', 'mcc200_style', 'mcc200_content'), 1), abs=1e-6)
    assert 0.01 < chance < 0.2
    mixed = calc_metric('mcc200', context(Painter(i_dim=0), dataset, Finder(order=[1, 2, 3, 4, 5, 0], sign=-1.0)))[0].values
    assert mixed['mcc200'] == pytest.approx(1) and mixed['mcc200_same'] < 0.2 and mixed['mcc200_style'] is None


def test_what_the_generator_ignores_is_not_found(dataset):
    result = calc_metric('mcc200', context(Painter(i_dim=2, uses=slice(2, None)), dataset, Finder()))[0]
    assert result.values['mcc200_style'] == 0 and result.values['mcc200_content'] == pytest.approx(1)
    assert result.values['mcc200'] == pytest.approx(4 / 6) and result.arrays['correlations'].shape == (6, 6)
    assert len(result.draw().axes) == 3


def test_a_network_without_labels_needs_no_dataset():
    G, D = networks(c_dim=0, cond_mode='concat')
    values = calc_metric('mcc20', context(G, None, D))[0].values
    assert 0 < values['mcc20'] < 1


def test_an_encoder_that_diverged(dataset):
    G, D = networks()
    with torch.no_grad():
        next(D.parameters()).fill_(float('nan'))
    result, record = calc_metric('mcc20', context(G, dataset, D))
    assert record['results']['mcc20'] is None and result.draw()
