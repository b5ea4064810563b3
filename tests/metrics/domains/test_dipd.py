"""Distances of content from domain to domain."""

import itertools

import numpy as np
import pytest
import torch
from helpers.domain_cases import Cells, Painter, Replay, context, networks, pictures, write_dataset

from metrics.domains import domain_images
from metrics.domains.dipd import distances
from metrics.features.generation import to_uint8
from metrics.registry import calc_metric


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / 'a.zip', pictures(4), [0, 1, 0, 1])


def maps(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_scale_and_shift_of_a_map_do_not_matter():
    x = maps(3, 5, 7, 6)
    assert distances(x, x).tolist() == [0, 0, 0]
    scale, shift = maps(3, 5, 1, 1, seed=1).abs() + 0.5, 10 * maps(3, 5, 1, 1, seed=2)
    torch.testing.assert_close(distances(x, x * scale + shift), torch.zeros(3), atol=5e-3, rtol=0)
    assert distances(x, -x).min() > 10 and distances(x, x.flip(3)).min() > 10


def test_distances_of_unrelated_maps():
    a, b = maps(8, 16, 14, 14), maps(8, 16, 14, 14, seed=1)
    assert distances(a, b).tolist() == pytest.approx([np.sqrt(2 * 16 * 14 * 14)] * 8, rel=0.05)
    torch.testing.assert_close(distances(a, b), distances(b, a))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(distances(a[:, order], b[:, order]), distances(a, b))


def test_distances_by_hand():
    a, b = torch.tensor([[[[1., 3]]]]), torch.tensor([[[[7., -7]]]])
    assert distances(a, b).tolist() == pytest.approx([np.sqrt(8)], rel=1e-3)  # (-1, 1) and (1, -1)


@pytest.mark.parametrize('num', [2, 5, 12])
def test_the_mean_over_latents_and_pairs_of_domains(tmp_path, num):
    data = write_dataset(tmp_path / 'a.zip', pictures(3), [0, 1, 2], domains=['a', 'b', 'c'])
    G, _ = networks(c_dim=3)
    ctx = context(G, data, batch=2)
    result = calc_metric(f'dipd{num}', ctx)[0]
    x = to_uint8(domain_images.in_domains(ctx, range(num))).double()
    x = (x - x.mean(dim=(3, 4), keepdim=True)) / (x.var(dim=(3, 4), keepdim=True, correction=0) + 1e-5).sqrt()
    pairs = list(itertools.combinations(range(3), 2))

    def far(i, a, j, b):
        return (x[i, a] - x[j, b]).norm()

    same = torch.tensor([[far(i, a, i, b) for a, b in pairs] for i in range(num)])
    other = torch.tensor([far(i, a, i ^ 1, b) for i in range(num - num % 2) for a, b in pairs])
    expected = {'': same.mean(), '_different': other.mean(), '_relative': same.mean() / other.mean(), '_a_b': same[:, 0].mean(),
                '_a_c': same[:, 1].mean(), '_b_c': same[:, 2].mean()}
    assert result.values == pytest.approx({f'dipd{num}{key}': float(value) for key, value in expected.items()}, rel=1e-4)
    np.testing.assert_allclose(result.arrays['same'], same, rtol=1e-3)
    assert result.arrays['different'].shape == (num, 3)


def test_content_that_is_kept_and_content_that_is_not(dataset):
    kept = calc_metric('dipd20', context(Painter(gain=(0.9, 0.8)), dataset))[0].values
    assert kept['dipd20_relative'] < 0.1 < kept['dipd20_different']  # but for rounding to bytes
    x = pictures(80).reshape(2, 40, 3, 8, 8)
    lost = calc_metric('dipd20', context(Replay(x), dataset))[0].values
    assert lost['dipd20_relative'] == pytest.approx(1, abs=0.05)


def test_a_generator_that_draws_one_image(dataset):
    values = calc_metric('dipd20', context(Replay(np.stack([pictures(1)] * 2)), dataset))[0].values
    assert values == {'dipd20': 0, 'dipd20_different': 0, 'dipd20_relative': None}
    values = calc_metric('dipd1', context(networks()[0], dataset))[0].values
    assert values['dipd1'] > 0 and values['dipd1_different'] is values['dipd1_relative'] is None


def test_real_tuples_are_the_measure(tmp_path):
    x = pictures(5)
    dark = np.stack([x // 2, x], axis=1).reshape(-1, 3, 8, 8)
    data = write_dataset(tmp_path / 'paired.zip', dark, [0, 1] * 5, content=np.arange(10) // 2)
    values = calc_metric('dipd20', context(Replay(pictures(80).reshape(2, 40, 3, 8, 8)), data, batch=2))[0].values
    a, b = torch.from_numpy(x // 2), torch.from_numpy(x)
    assert values['dipd20_real'] == pytest.approx(float(distances(a, b).mean()))
    assert values['dipd20_real'] < 0.1 * values['dipd20']
    assert calc_metric('dipd3', context(Painter(), data))[0].values['dipd3_real'] == pytest.approx(
        float(distances(a, b)[:3].mean()))


def test_maps_of_another_network(dataset):
    net = Cells()
    result = calc_metric('dipd20_efficientnet', context(Painter(gain=(0.9, 0.8)), dataset, net=net))[0]
    assert result.values['dipd20_efficientnet'] < 1 and net.seen == 40
    sheet, histogram = result.draw().axes
    assert [t.get_text() for t in sheet.get_yticklabels()] == ['red', 'green'] and len(histogram.get_legend().get_texts()) == 2
    assert [float(t.get_text()) for t in sheet.get_xticklabels()] == [round(float(x)) for x in result.arrays['same'][:8, 0]]
