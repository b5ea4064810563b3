"""Metrics of one network that want the same images share them: the same values, each image seen once."""

import numpy as np
import pytest
import torch
from helpers.doubles import Projection
from helpers.shapes import write_dataset

from metrics import Context
from metrics.features.cache import FeatureCache
from metrics.features.together import Captures, Together
from metrics.registry import calc_metric
from training.data.dataset import ImageFolderDataset
from training.networks import Generator


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return ImageFolderDataset(write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=60), use_labels=True)


@pytest.fixture(scope='module')
def G():
    torch.manual_seed(0)
    return Generator(z_dim=8, c_dim=2, w_dim=8, img_resolution=16, img_channels=3, mapping_kwargs=dict(num_layers=1),
                     synthesis_kwargs=dict(channel_base=64)).eval()


class Open(Projection):
    """Shows how it comes by its probabilities, as our own Inception does."""

    def probabilities_of(self, features):
        return features.softmax(dim=1)


def evaluate(G, dataset, names, net, together, **kwargs):
    context = Context(G, dataset, torch.device('cpu'), detectors={('inception', 'published'): net}, batch=7, together=together,
                      **kwargs)
    return [calc_metric(name, context)[0].values for name in names]


@pytest.mark.parametrize(('names', 'apart', 'joined'), [
    (['fid30_full', 'kid30_full', 'is30'], 2 * 60 + 3 * 30, 60 + 30),
    (['is30', 'kid30', 'fid30'], 2 * 30 + 3 * 30, 30 + 30),
    (['fid30_full', 'kid20_full'], 2 * 60 + 30 + 20, 60 + 30 + 20),
    (['fid30', 'kid30_full'], 30 + 60 + 2 * 30, 30 + 60 + 30),
    (['fid30_full'], 60 + 30, 60 + 30)])
def test_values_are_the_same_and_images_are_seen_once(G, dataset, names, apart, joined):
    alone, shared = Open(), Open()
    expected = [evaluate(G, dataset, [name], alone, Together())[0] for name in names]
    assert evaluate(G, dataset, names, shared, Together(names)) == expected
    assert (alone.seen, shared.seen) == (apart, joined)


def test_probabilities_of_a_closed_network_are_asked_for_apart(G, dataset):
    names, net = ['fid30_full', 'is30'], Projection()
    expected = [evaluate(G, dataset, [name], Projection(), Together())[0] for name in names]
    assert evaluate(G, dataset, names, net, Together(names)) == expected and net.seen == 60 + 30 + 30


def test_kept_features_with_more_in_them_will_do(G, dataset, tmp_path):
    net, names = Open(), ['fid30_full', 'kid30_full']
    both = evaluate(G, dataset, names, net, Together(names), feature_cache=FeatureCache(tmp_path))
    assert len(list(tmp_path.glob('*.npz'))) == 1
    again = Open()
    for name, values in zip(names, both, strict=True):
        found, = evaluate(G, dataset, [name], again, Together([name]), feature_cache=FeatureCache(tmp_path))
        assert found == pytest.approx(values, rel=1e-12)
    assert again.seen == 2 * 30


def test_nothing_is_kept_that_no_other_metric_wants(G, dataset):
    together = Together(['fid30_full', 'kid20_full', 'jacobian', 'ppl2_wend', 'fid30_full_domains'])
    evaluate(G, dataset, ['fid30_full', 'kid20_full'], Open(), together)
    assert not together._generated


def test_what_is_wanted_of_which_images():
    net = Projection()
    together = Together(['fid50k_full', 'kid50k_full', 'fid50k', 'kid50k_full_clean', 'is50k', 'pr50k3_full'])
    mean, every, both = Captures(True, False), Captures(False, True), Captures(True, True)
    assert together.of_generated(net, 50_000, mean) == (both, True)
    assert together.of_generated(net, 10_000, mean) == (mean, False)
    assert together.of_reals(net, True, 70_000, 70_000, mean) == both
    assert together.of_reals(net, True, 1_300_000, 1_300_000, mean) == mean, 'which KID does not look at'
    assert together.of_reals(net, False, 50_000, 70_000, mean) == mean
    assert Together().of_reals(net, True, 9, 9, every) == every


def test_another_evaluation_starts_anew(G, dataset):
    names, net = ['fid30_full', 'kid30_full'], Open()
    first = evaluate(G, dataset, names, net, Together(names))
    with torch.no_grad():
        G.synthesis.b16.torgb.bias.add_(0.5)
    second = evaluate(G, dataset, names, net, Together(names))
    assert np.not_equal([list(v.values()) for v in first], [list(v.values()) for v in second]).all()
