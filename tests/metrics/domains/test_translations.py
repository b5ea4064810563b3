"""Translations of real images, and metrics of them, by networks of which it is known what they keep."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import Cells, Finder, Painter, context, networks, pictures, write_dataset
from scipy.linalg import sqrtm

from dnnlib import UserError
from metrics.domains.perceptual import mean_pairwise
from metrics.domains.translations import all_pairs
from metrics.features.generation import to_uint8
from metrics.registry import calc_metric, check_metric

LABELS = [0, 1, 1, 0, 1, 0, 1, 1, 0]


def drawings(count, seed=3):
    """Images that Painter draws of random latents with gain 1, uint8."""
    z = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return to_uint8(Painter()(z, torch.eye(2)[[0] * count])).numpy()


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / 'a.zip', drawings(9), LABELS)


def test_content_is_kept_and_style_drawn_anew(dataset):
    G, D = Painter(), Finder()
    pairs = dict(all_pairs(context(G, dataset, D), num_images=3, num_styles=4))
    assert list(pairs) == ['red2green', 'green2red'] and [len(p) for p in pairs.values()] == [12, 12]
    some = pairs['green2red']
    assert some.items == [1, 2, 4]
    images = some.images(range(12))
    assert [c for _, c in D.given] == [0, 0, 0, 1, 1, 1], 'each encoded once, with its own label'
    z, c = G.given[-1]
    assert (c == 0).all() and images.shape == (12, 3, 8, 8)
    reals = [torch.from_numpy(dataset[i][0])[None] / 127.5 - 1 for i in some.items]
    codes = torch.cat([Finder()(x, torch.eye(2)[1:], return_latent=True)[1] for x in reals])
    torch.testing.assert_close(z[:, 2:], codes[:, 2:].repeat_interleave(4, dim=0))
    assert len(z[:, :2].unique()) == 24 and abs(float(z[:, :2].mean())) < 0.7
    torch.testing.assert_close(some.images([7, 2]), images[[7, 2]])
    torch.testing.assert_close(next(some.read([slice(1, 2)], group=4)), images[4:8])


def test_all_of_the_latent_is_kept_where_none_of_it_is_style(dataset):
    (_, some), _ = all_pairs(context(Painter(i_dim=0, gain=(1, 0.5)), dataset, Finder()), num_images=9, num_styles=10)
    assert len(some) == 4
    expected = some.reals(range(4)) * 0.5
    torch.testing.assert_close(some.images(range(4)).flatten(1)[:, :6], expected.flatten(1)[:, :6])


def features(images):
    return Cells().features(to_uint8(images)).double().numpy()


def test_distance_of_translations(dataset):
    ctx = context(Painter(), dataset, Finder(), batch=7)
    values = calc_metric('tfid4', ctx)[0].values
    reals = torch.from_numpy(np.stack([dataset[i][0] for i in range(9)]))
    expected = []
    for name, some in all_pairs(ctx, 4, 10):
        x, y = features(some.images(range(40))), Cells().features(reals[torch.tensor(LABELS) == some.target]).double().numpy()
        gap, (cx, cy) = x.mean(axis=0) - y.mean(axis=0), (np.cov(f.T, ddof=0) for f in (x, y))
        expected.append(gap @ gap + np.trace(cx + cy - 2 * np.real(sqrtm(cx @ cy + 1e-13 * np.eye(12)))))
        assert values[f'tfid4_{name}'] == pytest.approx(expected[-1], rel=1e-2, abs=1e-2)
    assert values['tfid4'] == pytest.approx(np.mean(expected), rel=1e-2, abs=1e-2) and len(values) == 3


def test_perfect_translations_are_real_images(tmp_path):
    x = np.concatenate([drawings(20)] * 2)
    data = write_dataset(tmp_path / 'a.zip', x, [0] * 20 + [1] * 20)
    values = calc_metric('tfd20_efficientnet', context(Painter(i_dim=0), data, Finder()))[0].values
    assert values == pytest.approx(dict.fromkeys(('tfd20_efficientnet', 'tfd20_efficientnet_red2green',
                                                  'tfd20_efficientnet_green2red'), 0), abs=1e-2)
    values = calc_metric('tfd20_efficientnet', context(Painter(i_dim=0, gain=(1, 3)), data, Finder()))[0].values
    assert values['tfd20_efficientnet_green2red'] < 1e-2 < 5e-2 < values['tfd20_efficientnet_red2green']


def test_diversity_of_translations(dataset):
    ctx = context(Painter(gain=(1, 0.5)), dataset, Finder(), batch=2)
    values = calc_metric('tlpips3', ctx)[0].values
    for name, some in all_pairs(ctx, 3, 10):
        groups = ((some.images(range(30)).clamp(-1, 1) + 1) / 2).flatten(1).unflatten(0, (3, 10))
        assert values[f'tlpips3_{name}'] == pytest.approx(float(torch.stack([mean_pairwise(g) for g in groups]).mean()), rel=1e-4)
    assert values['tlpips3_red2green'] < 0.4 * values['tlpips3_green2red']
    assert values['tlpips3'] == pytest.approx(np.mean(list(values.values())[1:]))


def test_what_is_missing_is_told_before_anything_is_computed(dataset):
    net, G = Cells(), networks()[0]
    for name in ('tfid', 'tlpips', 'mcc'):
        with pytest.raises(UserError, match='finds 5 numbers, but latents have 4; train with --method=clr-gan'):
            calc_metric(name, context(G, dataset, Finder(z_dim=5), net))
        with pytest.raises(UserError, match='pass a network snapshot that holds it'):
            calc_metric(name, context(G, dataset, None, net))
    with pytest.raises(UserError, match='one translation of an image'):
        calc_metric('tlpips', context(Painter(i_dim=0), dataset, Finder(), net))
    with pytest.raises(UserError, match='but latents have 4'):
        check_metric('mcc', context(G, dataset, Finder(z_dim=5)))
    assert net.seen == 0


def test_an_encoder_that_finds_nothing_is_noted(tmp_path):
    x = drawings(40)
    data = write_dataset(tmp_path / 'a.zip', x, [0, 1] * 20)
    for name in ('tfid20', 'tlpips20'):
        notes = [calc_metric(name, context(Painter(), data, D))[0].notes for D in (Finder(), Finder(sign=-1.0))]
        assert not any('encoder' in note for note in notes[0])
        assert notes[1][0].startswith(f'{name}: the encoder does not find images again (mean square error ')


def test_without_the_weights_of_lpips_it_says_what_to_get_and_what_does_without(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path))
    monkeypatch.setattr('metrics.detectors.weight_files._answers', lambda url: False)
    ctx = context(Painter(), dataset, Finder())
    ctx.detectors.clear()
    for compute in (check_metric, calc_metric):
        for name in ('lpips_div', 'tlpips'):
            with pytest.raises(UserError, match=rf'LPIPS \(alex\).*alexnet-owt-7be5be79.pth and put it at {tmp_path}.*'
                                                r'without a network, use --metrics=pd_div_efficientnet or tpd_efficientnet$'):
                compute(name, ctx)


def test_the_figures_show_images_and_their_translations(dataset):
    for name in ('tfid3', 'tlpips3'):
        result = calc_metric(name, context(Painter(), dataset, Finder()))[0]
        assert {k: v.shape for k, v in result.arrays.items()} == {'red2green': (3, 6, 3, 8, 8), 'green2red': (3, 6, 3, 8, 8)}
        np.testing.assert_allclose(result.arrays['red2green'][1, 0], dataset[3][0] / 127.5 - 1, atol=1e-6)
        assert [axes.get_title().split(':')[0] for axes in result.draw().axes] == ['red2green', 'green2red']
    three = write_dataset(dataset.path, pictures(6), [0, 1, 2] * 2, domains='abc')
    figure = calc_metric('tfid2', context(Painter(c_dim=3), three, Finder()))[0].draw()
    assert len(figure.axes) == 6
