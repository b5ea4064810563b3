"""Measures where all factors are classes, as those of glyphs are."""

import numpy as np
import pytest
from helpers.known_factors import COUNT, noise, perfect

from metrics.identifiability import figure
from metrics.identifiability.correlation import class_correlations
from metrics.identifiability.factors import Factor
from metrics.identifiability.identifiability import left_out
from metrics.identifiability.measures import measures

RNG = np.random.default_rng(3)
F = [Factor('initial', RNG.integers(0, 4, COUNT).astype(float), 'class'),
     Factor('final', RNG.integers(0, 5, COUNT).astype(float), 'class'),
     Factor('typeface', RNG.integers(0, 3, COUNT).astype(float), 'class', True)]


def test_mcc_has_no_value_and_all_else_has_the_one_it_must_have():
    codes, content, style = perfect(F)
    found = measures(codes, content, style, F)
    assert all(value is None for name, value in found.items() if name.startswith('mcc'))
    assert found['r2_content_from_content'] == pytest.approx(1) == pytest.approx(found['r2_style_from_style'])
    assert max(found['r2_style_from_content'], found['r2_content_from_style']) < 0.05
    for name in ('dci_disentanglement', 'dci_informativeness', 'modularity'):
        assert found[name] == pytest.approx(1, abs=0.01), name


def test_one_code_for_each_class_leaves_nothing_to_others():
    found = measures(np.stack([factor.values for factor in F], axis=1), np.arange(2), np.arange(2, 3), F)
    assert found['sap'] > 0.9 and found['mig'] > 0.98


def test_noise_is_near_chance():
    found = measures(noise(10), np.arange(7), np.arange(7, 10), F)
    for name in ('r2_content_from_content', 'r2_style_from_style', 'sap', 'mig', 'dci_informativeness'):
        assert abs(found[name]) < 0.06, name


def test_the_correlation_ratio():
    factor = Factor('kind', np.array([0., 0., 1., 1.]), 'class')
    codes = np.array([[0., 5., 1., 3.], [0., 5., -1., 3.], [2., 5., 1., 3.], [2., 5., -1., 7.]])
    # All of the variance is between the classes; nothing varies; none of it; 1 of 3.
    assert class_correlations(codes, factor)[:, 0] == pytest.approx([1, 0, 0, 3 ** -0.5])


def test_the_figure_shows_classes(tmp_path):
    codes, _, style = perfect(F)
    is_style = np.isin(np.arange(codes.shape[1]), style)
    arrays = figure.arrays(codes, is_style, F)
    assert list(arrays['names']) == ['initial (class)', 'final (class)', 'typeface (class)']
    assert (arrays['correlations'].argmax(axis=0) >= [0, 4, 9]).all() and arrays['correlations'].max() < 1.0001
    values = {name: None if name.startswith('mcc') else 0.5 for name in figure.SHOWN}
    values |= {f'{name}_{baseline}': value for name, value in values.items() for baseline in figure.MARKS}
    drawn = figure.draw(values, arrays, 'identifiability')
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == list(arrays['names'])
    assert not any('mcc' in label.get_text() for label in drawn.axes[1].get_yticklabels())


def test_what_has_no_mcc_is_said():
    assert left_out('k', F) == ['k: no mcc_..., which is of numbers and circles: initial, final, typeface are classes']
    number = Factor('x', RNG.normal(size=COUNT))
    assert left_out('k', [number, *F]) == ['k: no mcc_..._style, which is of numbers and circles: typeface are classes']
    assert left_out('k', [number, number._replace(style=True)]) == left_out('k', [number]) == []
