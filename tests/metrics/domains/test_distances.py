"""Distances in each domain by itself, and of tuples, with generators for which they are known."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import Cells, Replay, context, networks, pictures, write_dataset

from dnnlib import UserError
from metrics.features.cache import FeatureCache
from metrics.quality.frechet import frechet_distance
from metrics.quality.kid import SUBSETS, kernel_distance
from metrics.registry import calc_metric, check_metric

NUM = 40
X = pictures(2 * NUM).reshape(2, NUM, 3, 8, 8)


def cells(images):
    return Cells().features(torch.from_numpy(np.ascontiguousarray(images))).numpy()


def distance(real, fake):
    (m1, c1), (m2, c2) = ((f.mean(axis=0), np.cov(f.T.astype(np.float64), ddof=0)) for f in (cells(real), cells(fake)))
    return frechet_distance(m1, c1, m2, c2)


@pytest.fixture
def dataset(tmp_path):
    """Images X of two domains, in any order."""
    order = np.random.default_rng(1).permutation(2 * NUM)
    return write_dataset(tmp_path / 'a.zip', X.reshape(-1, 3, 8, 8)[order], order // NUM)


@pytest.fixture
def paired(tmp_path):
    """The same, paired: image k of one domain goes with image k of the other."""
    x = X.swapaxes(0, 1).reshape(-1, 3, 8, 8)
    return write_dataset(tmp_path / 'paired.zip', x, [0, 1] * NUM, content=np.arange(2 * NUM) // 2)


def values(name, G, data, **kwargs):
    return calc_metric(name, context(G, data, **kwargs))[0].values


def test_real_images_moved_by_a_constant_are_as_far_as_that(dataset):
    found = values('fid40_full_domains', Replay(X, shift=(5, 11)), dataset)  # 12 features, each moved by so much
    assert list(found) == ['fid40_full_dommean', 'fid40_full_red', 'fid40_full_green']
    assert list(found.values()) == pytest.approx([12 * 73, 12 * 25, 12 * 121], rel=1e-5)
    same = values('fd40_efficientnet_full_domains', Replay(X), dataset)
    assert same == pytest.approx(dict.fromkeys(('fd40_efficientnet_full_red', 'fd40_efficientnet_full_green',
                                                'fd40_efficientnet_full_dommean'), 0), abs=1e-4)


def test_it_is_the_distance_of_the_part_of_the_dataset(dataset):
    fake = pictures(60, seed=5).reshape(2, 30, 3, 8, 8)
    found = values('fid30_full_domains', Replay(fake), dataset)
    expected = [distance(X[u], fake[u]) for u in range(2)]
    assert [found['fid30_full_red'], found['fid30_full_green']] == pytest.approx(expected, rel=1e-6)
    assert found['fid30_full_dommean'] == pytest.approx(np.mean(expected), rel=1e-6)


def test_as_many_real_images_of_each_as_are_generated(dataset):
    fake = pictures(60, seed=5).reshape(2, 30, 3, 8, 8)
    found = values('fid30_domains', Replay(fake), dataset)
    first = [np.stack([dataset[i][0] for i in range(80) if dataset.get_label(i)[u]][:30]) for u in range(2)]
    assert found['fid30_red'] == pytest.approx(distance(first[0], fake[0]), rel=1e-6)
    assert found['fid30_green'] == pytest.approx(distance(first[1], fake[1]), rel=1e-6)


def test_kernel_distances(dataset):
    fake = pictures(60, seed=5).reshape(2, 30, 3, 8, 8)
    found = values('kid30_full_domains', Replay(fake), dataset)
    real = [np.stack([dataset[i][0] for i in range(80) if dataset.get_label(i)[u]]) for u in range(2)]
    expected = [kernel_distance(cells(real[u]), cells(fake[u]), context().generator(SUBSETS)) for u in range(2)]
    assert [found['kid30_full_red'], found['kid30_full_green']] == pytest.approx(expected, rel=1e-6)


def test_domains_in_another_order_are_the_same_domains(dataset, tmp_path):
    fake = pictures(60, seed=5).reshape(2, 30, 3, 8, 8)
    swapped = write_dataset(tmp_path / 'b.zip', [dataset[i][0] for i in range(80)],
                            [dataset.get_label(i)[0] for i in range(80)], domains=('green', 'red'))
    a, b = values('fid30_full_domains', Replay(fake), dataset), values('fid30_full_domains', Replay(fake[::-1]), swapped)
    assert a == pytest.approx(b, rel=1e-6) and list(a) != list(b)


def test_too_few_images_of_a_domain_are_told_before_anything_is_computed(tmp_path):
    data = write_dataset(tmp_path / 'a.zip', X[0, :5], [0, 1, 0, 0, 0])
    net = Cells()
    with pytest.raises(UserError, match='has 1 image of domain green, and the metric needs at least 2 of each'):
        values('fid30_full_domains', Replay(X), data, net=net)
    with pytest.raises(UserError, match='1 image of domain green'):
        check_metric('fd30_efficientnet_domains', context(Replay(X), data, detector_paths={'efficientnet': data.path}))
    assert net.seen == 0


def test_features_of_real_images_are_kept_for_each_domain(dataset, tmp_path):
    cache = FeatureCache(tmp_path / 'cache')
    for expected in (2 * NUM, 0):
        net = Cells()
        values('fid30_full_domains', Replay(X), dataset, net=net, feature_cache=cache)
        assert net.seen == expected + 2 * 30
    assert len(list((tmp_path / 'cache').iterdir())) == 2


def test_the_figure_shows_every_domain(dataset):
    result = calc_metric('fid30_full_domains', context(Replay(X), dataset))[0]
    bars, real, fake = result.draw().axes
    assert [t.get_text() for t in bars.get_yticklabels()] == [t.get_text() for t in real.get_yticklabels()] == ['red', 'green']
    assert [bar.get_width() for bar in bars.patches] == [result.values['fid30_full_red'], result.values['fid30_full_green']]
    assert fake.get_title() == 'generated' and result.arrays['generated'].shape == (2, 6, 3, 8, 8)
    assert len(calc_metric('fid10_full_domains', context(Replay(X), dataset))[0].notes) == 2  # fewer than features


# Tuples.


def side_by_side(x):
    return np.concatenate([x[0], x[1]], axis=3)


def test_joint_distance_by_hand(paired):
    assert values('jfid40', Replay(X, shift=(7, 7)), paired) == pytest.approx({'jfid40': 12 * 49}, rel=1e-5)
    # The features are two columns of cells; one is of each domain.
    assert values('jfid40', Replay(X, shift=(0, 10)), paired) == pytest.approx({'jfid40': 6 * 100}, rel=1e-5)
    fake = pictures(60, seed=5).reshape(2, 30, 3, 8, 8)
    assert values('jfd30_efficientnet', Replay(fake), paired)['jfd30_efficientnet'] == pytest.approx(
        distance(side_by_side(X), side_by_side(fake)), rel=1e-6)


def test_what_belongs_together_matters_to_the_joint_distance_alone(paired):
    smooth = np.random.default_rng(2).integers(60, 190, (NUM, 3, 1, 1)).astype(np.uint8) * np.ones([1, 3, 8, 8], np.uint8)
    x = np.stack([smooth, smooth])  # the same in both domains
    data = write_dataset(paired.path, x.swapaxes(0, 1).reshape(-1, 3, 8, 8), [0, 1] * NUM, content=np.arange(2 * NUM) // 2)
    mixed = np.stack([smooth, smooth[::-1]])
    each = values('fid40_full_domains', Replay(mixed), data)
    assert each['fid40_full_dommean'] == pytest.approx(0, abs=1e-3)
    assert values('jfid40', Replay(x), data)['jfid40'] == pytest.approx(0, abs=1e-3)
    assert values('jfid40', Replay(mixed), data)['jfid40'] > 1000


def test_the_figure_shows_tuples(paired, tmp_path):
    cache = FeatureCache(tmp_path / 'cache')
    result = calc_metric('jfid30', context(Replay(X), paired, feature_cache=cache))[0]
    assert result.arrays['real'].shape == result.arrays['generated'].shape == (8, 2, 3, 8, 8)
    np.testing.assert_array_equal(result.arrays['real'][3, 1], X[1, 3])
    real, _ = result.draw().axes
    assert [t.get_text() for t in real.get_yticklabels()] == ['red', 'green']
    net = Cells()
    calc_metric('jfid30', context(Replay(X), paired, net=net, feature_cache=cache))
    assert net.seen == 30, 'features of tuples are kept'


def test_images_in_place_of_a_network_have_no_domains(paired):
    for name in ('fd30_efficientnet_domains', 'jfd_efficientnet', 'mcc'):
        with pytest.raises(UserError, match=f'--metrics={name}: needs a network, not images'):
            check_metric(name, context(None, paired, images=paired))


def test_an_unpaired_dataset_is_told_before_anything_is_computed(dataset):
    net = Cells()
    with pytest.raises(UserError, match=r'has no contents.*dataset_tool.py --domains=<colors> --paired'):
        values('jfid40', networks()[0], dataset, net=net)
    assert net.seen == 0
