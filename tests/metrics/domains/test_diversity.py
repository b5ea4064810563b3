"""Perceptual distances, and the diversity of images of one content."""

import itertools

import numpy as np
import pytest
import torch
from helpers.domain_cases import Cells, Painter, context, networks, pictures, write_dataset

from dnnlib import UserError
from metrics.detectors.alexnet import AlexNet
from metrics.detectors.efficientnet import EfficientNet
from metrics.detectors.lpips import LPIPS, heads
from metrics.domains import perceptual
from metrics.domains.diversity import restyled
from metrics.registry import calc_metric


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / 'a.zip', pictures(4), [0, 1, 0, 1])


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_mean_over_pairs():
    x = random(10, 33).double()
    expected = np.mean([float((x[i] - x[j]).square().sum()) for i, j in itertools.combinations(range(10), 2)])
    assert float(perceptual.mean_pairwise(x)) == pytest.approx(expected, rel=1e-12)
    assert float(perceptual.mean_pairwise(x[torch.randperm(10)] + 7)) == pytest.approx(expected, rel=1e-12)
    assert float(perceptual.mean_pairwise(x[:1].expand(4, -1))) == pytest.approx(0, abs=1e-20)


def test_unweighted_distance_by_hand():
    a, b = [random(2, 3, 4, 5), random(2, 7, 2, 2, seed=1)], [random(2, 3, 4, 5, seed=2), random(2, 7, 2, 2, seed=3)]
    expected = sum((x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)).square().sum(dim=1).mean(dim=(1, 2))
                   for x, y in zip(a, b, strict=True))
    found = (perceptual.of_maps(a) - perceptual.of_maps(b)).square().sum(dim=1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close((perceptual.of_maps([3 * x for x in a]) - perceptual.of_maps(b)).square().sum(dim=1), expected)
    assert torch.isfinite(perceptual.of_maps([torch.zeros(1, 3, 2, 2)])).all()


def test_lpips_is_that_of_its_network():
    torch.manual_seed(0)
    net = AlexNet().eval()
    net.heads = torch.nn.ParameterList(heads('alex'))
    net.requires_grad_(False)
    images = random(3, 3, 40, 40).clamp(-1, 1)
    ctx = context()
    ctx.detectors['alexnet', 'published'] = net
    embedded = perceptual.embedder(ctx, 'alexnet')(images)
    expected = torch.stack([LPIPS(net).distance(images[i:i + 1], images[j:j + 1])[0] for i, j in ((0, 1), (0, 2), (1, 2))])
    assert float(perceptual.mean_pairwise(embedded)) == pytest.approx(float(expected.mean()), rel=1e-4)
    groups = torch.stack([images, images.flip(3)])
    assert float(perceptual.diversity_of(groups, perceptual.embedder(ctx, 'alexnet'))[0]) == pytest.approx(float(expected.mean()))


def test_maps_of_efficientnet():
    torch.manual_seed(0)
    net = EfficientNet().eval()
    images = torch.from_numpy(pictures(2))
    with torch.no_grad():
        maps = net.feature_maps(images)
        assert [list(x.shape) for x in maps] == [[2, 16, 112, 112], [2, 24, 56, 56], [2, 40, 28, 28], [2, 112, 14, 14],
                                                 [2, 320, 7, 7]]
        features = torch.nn.functional.relu6(net.head(maps[-1])).mean(dim=(2, 3))
    torch.testing.assert_close(net.features(images), features)


def test_contents_are_kept_and_styles_drawn_anew(dataset):
    G = Painter(z_dim=6, i_dim=2)
    images = [restyled(context(G, dataset), range(3), u, 5) for u in range(2)]
    (z0, c0), (z1, c1) = ((z.unflatten(0, (3, 5)), c) for z, c in G.given)
    assert torch.equal(z0, z1) and (c0 == 0).all() and (c1 == 1).all(), 'the same in both domains'
    assert torch.equal(z0[:, :, 2:], z0[:, :1, 2:].expand(-1, 5, -1)) and len(z0[:, 0, 2:].unique()) == 12
    assert len(z0[:, :, :2].unique()) == 30
    assert images[0].shape == (3, 5, 3, 8, 8)
    torch.testing.assert_close(restyled(context(G, dataset), [2, 1], 0, 5), images[0][[2, 1]])


def test_diversity_by_hand(dataset):
    G = Painter(z_dim=6, i_dim=2, gain=(1, 0.5))
    values = calc_metric('lpips_div40', context(G, dataset, batch=7))[0].values
    z = Painter(z_dim=6, i_dim=2)
    restyled(context(z, dataset), range(40), 0, 10)
    styles = (z.given[0][0][:, :2] / 6).clamp(-1, 1).unflatten(0, (40, 10)) / 2  # in [0, 1], as the double embeds them
    pairs = [(styles[:, i] - styles[:, j]).square().sum(dim=1) for i, j in itertools.combinations(range(10), 2)]
    red = float(torch.stack(pairs).mean())
    assert values == pytest.approx({'lpips_div40': red * 5 / 8, 'lpips_div40_red': red, 'lpips_div40_green': red / 4}, rel=1e-4)
    # In the long run, the mean squared distance of two draws is twice the variance.
    assert red == pytest.approx(2 * 2 * (1 / 12) ** 2, rel=0.2)


def test_a_generator_that_ignores_style_has_none(dataset):
    values = calc_metric('pd_div5_efficientnet', context(Painter(uses=slice(2, None)), dataset))[0].values
    assert len(values) == 3 and list(values.values()) == pytest.approx([0, 0, 0], abs=1e-9)


def test_noise_inputs_differ_between_images(dataset):
    G, _ = networks()
    with torch.no_grad():
        G.mapping.importance.zero_()  # no living style
    image = restyled(context(G, dataset), range(2), 0, 3)
    assert (image[:, 0] - image[:, 1]).abs().amax() > 1e-3
    assert calc_metric('pd_div2_efficientnet', context(G, dataset))[0].values['pd_div2_efficientnet'] > 0


def test_without_style_it_is_not_defined(dataset):
    net = Cells()
    with pytest.raises(UserError, match='no style to vary; train with --method=i-stylegan or cg-gan'):
        calc_metric('lpips_div', context(networks(cond_mode='concat')[0], dataset, net=net))
    assert net.seen == 0


def test_the_figure_shows_contents_in_rows(dataset):
    result = calc_metric('lpips_div8', context(networks()[0], dataset))[0]
    assert result.arrays['images'].shape == (2, 6, 10, 3, 8, 8)
    assert [axes.get_title().split(':')[0] for axes in result.draw().axes] == ['red', 'green']
