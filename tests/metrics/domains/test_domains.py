"""The metric `domains`, with generators of which it is known what they draw."""

import numpy as np
import pytest
import torch
from helpers.shapes import SHAPES, Artist, write_dataset

from dnnlib import UserError
from metrics import Context
from metrics.domains.domains import content_values, domains, read_reals, render, spread
from training.data.dataset import ImageFolderDataset

CPU = torch.device('cpu')
NUM = 40


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return ImageFolderDataset(write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip'), use_labels=True)


@pytest.fixture(scope='module')
def evaluate(dataset):
    """evaluate(generator): its result."""
    return lambda G, data=None, seed=0: domains(Context(G, data or dataset, CPU, seed), num_latents=NUM, batch=16)


def test_a_perfect_generator(evaluate):
    G = Artist()
    result = evaluate(G)
    v = result.values
    assert v['domain_test_accuracy'] == v['content_test_accuracy'] == v['domain_accuracy'] == v['content_consistency'] == 1
    assert result.arrays['contents'].tolist() == [list(pair) for pair in zip(G.drawn[0], G.drawn[1], strict=True)]
    shares = np.bincount(G.drawn[0], minlength=SHAPES) / NUM
    assert v['content_consistency_chance'] == pytest.approx((shares ** 2).sum()) and v['content_kappa'] == 1
    assert v['content_classes'] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert 0.8 < v['variety'] < 1.2 and result.notes == ()


def test_variety_compares_each_domain_with_its_own_images(evaluate, dataset):
    G = Artist(shape=lambda z, u: u * int(z[:3].argmax()))
    v = evaluate(G).values
    fakes = render(Context(G, None, CPU), NUM, batch=NUM)[1]
    reals = read_reals(Context(G, dataset, CPU), 1000)
    ratios = [float(spread(fakes[:, u]) / spread(reals.images[u::2])) for u in (0, 1)]
    assert ratios[0] < 0.95 * ratios[1] and v['variety'] == pytest.approx(np.mean(ratios))


def test_domains_that_are_swapped_or_ignored(evaluate):
    swapped, red = evaluate(Artist(domain=lambda u: 1 - u)), evaluate(Artist(domain=lambda u: 0))
    assert (swapped.values['domain_accuracy'], red.values['domain_accuracy']) == (0, 0.5)
    assert swapped.values['content_consistency'] == red.values['content_consistency'] == 1
    assert (red.arrays['domains'] == 0).all()


def test_a_collapsed_generator_is_consistent_for_nothing(evaluate):
    v = evaluate(Artist(shape=lambda z, u: 1, moves=False)).values
    assert (v['content_consistency'], v['content_consistency_chance'], v['content_kappa']) == (1, 1, None)
    assert v['content_classes'] == pytest.approx(1) and v['variety'] == pytest.approx(0, abs=1e-6) and v['domain_accuracy'] == 1


def test_content_that_changes_with_the_domain(evaluate):
    G = Artist(shape=lambda z, u: int(z[3 * u:3 * u + 3].argmax()))  # independent draws
    v = evaluate(G).values
    same = np.mean([a == b for a, b in zip(G.drawn[0], G.drawn[1], strict=True)])
    shares = [np.bincount(G.drawn[u], minlength=SHAPES) / NUM for u in (0, 1)]
    chance = (shares[0] * shares[1]).sum()
    assert v['content_consistency'] == pytest.approx(same) and v['content_consistency_chance'] == pytest.approx(chance)
    assert v['content_kappa'] == pytest.approx((same - chance) / (1 - chance)) and abs(v['content_kappa']) < 0.4
    never = evaluate(Artist(shape=lambda z, u: (int(z[:3].argmax()) + u) % 3)).values
    assert never['content_consistency'] == 0 and never['content_kappa'] < -0.4 and never['domain_accuracy'] == 1


def test_content_values_by_hand():
    values = content_values(torch.tensor([[0, 0], [1, 1], [0, 1], [1, 1]]), 3)
    assert values == pytest.approx({'content_consistency': 3 / 4, 'content_consistency_chance': 1 / 2, 'content_kappa': 1 / 2,
                                    'content_classes': (2 + 4 / 3 ** 0.75) / 2})
    values = content_values(torch.tensor([[0, 0, 0], [0, 0, 1]]), 2)  # all domains must agree
    assert values['content_consistency'] == 1 / 2 and values['content_consistency_chance'] == pytest.approx(1 / 2)


def test_spread_by_hand():
    assert spread(torch.tensor([[[[0., 0]]], [[[0, 0]]], [[[9, 12]]]])).item() == pytest.approx((5 + 5 + 10) / 3)
    assert spread(torch.ones(4, 3, 2, 2)).item() == 0


def test_without_content_labels_it_says_how_to_get_them(evaluate, tmp_path):
    data = ImageFolderDataset(write_dataset(tmp_path / 'a.zip', content=False), use_labels=True)
    result = evaluate(Artist(), data)
    none = {key for key, value in result.values.items() if value is None}
    assert none == {key for key in result.values if key.startswith('content_')} and len(none) == 5
    assert result.values['domain_accuracy'] == 1 and result.values['variety'] > 0.8
    assert len(result.notes) == 1 and 'dataset_tool.py' in result.notes[0]
    matrix = result.draw().axes[-2].images[0].get_array()
    assert matrix.tolist() == [[NUM, 0], [0, NUM]]


def test_data_without_variety_has_no_ratio_to_it(evaluate, tmp_path):
    data = ImageFolderDataset(write_dataset(tmp_path / 'a.zip', shapes=1, moves=False), use_labels=True)
    values = evaluate(Artist(), data).values
    assert not np.isfinite(values['variety']) and values['content_kappa'] is None


def test_the_figure_names_what_was_seen(evaluate):
    result = evaluate(Artist(domain=lambda u: 0, shape=lambda z, u: (int(z[:3].argmax()) + u * (z[5] > 0)) % 3))
    figure = result.draw()
    cells = figure.axes[:16]
    contents = result.arrays['contents'][:8]
    assert [cell.get_xlabel() for cell in cells] == [f'{k}, red' for k in contents.T.ravel()]
    assert [cells[0].get_ylabel(), cells[8].get_ylabel()] == ['red', 'green']
    fine = [True] * 8 + [False] * 8  # of the red ones that should be green, none
    assert [cell.xaxis.label.get_color() == 'black' for cell in cells] == fine
    matrix = figure.axes[16].images[0].get_array()
    expected = np.zeros([3, 3])
    np.add.at(expected, tuple(result.arrays['contents'].T), 1)
    np.testing.assert_array_equal(matrix, expected)


def test_another_content_than_in_the_first_domain_is_marked(evaluate):
    result = evaluate(Artist(shape=lambda z, u: (int(z[:3].argmax()) + u * bool(z[5] > 0)) % 3))
    contents = result.arrays['contents'][:8]
    black = [cell.xaxis.label.get_color() == 'black' for cell in result.draw().axes[8:16]]
    assert black == (contents[:, 0] == contents[:, 1]).tolist() and len(set(black)) == 2


def test_the_seed_alone_decides_and_nothing_else_is_changed(evaluate):
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = evaluate(Artist())
    assert torch.equal(torch.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()
    torch.manual_seed(2)
    again, other = evaluate(Artist()), evaluate(Artist(), seed=1)
    assert again.values == first.values and (again.arrays['images'] == first.arrays['images']).all()
    assert other.values['content_classes'] != first.values['content_classes']


def test_every_latent_is_rendered_in_every_domain_alike():
    context = Context(Artist(), None, CPU)
    examples, small = render(context, 10, batch=4)
    assert examples.shape == (8, 2, 3, 16, 16) and small.shape == (10, 2, 3, 16, 16)
    assert torch.equal(small[:8], examples) and len(context.G.drawn[0]) == len(context.G.drawn[1]) == 10
    assert torch.equal(small[:, 0, 0], small[:, 1, 1]) and len({image.numpy().tobytes() for image in small}) > 5


def test_of_many_real_images_a_seeded_part_is_read(dataset):
    reals, again, other = (read_reals(Context(Artist(), dataset, CPU, seed), 50) for seed in (0, 0, 1))
    assert reals.images.shape == (50, 3, 16, 16) and -1 == reals.images.min() < reals.images.max() == 1
    assert torch.equal(reals.images, again.images) and not torch.equal(reals.images, other.images)
    everything = read_reals(Context(Artist(), dataset, CPU), 1000)
    assert everything.domains.tolist() == [0, 1] * 60 and everything.contents.tolist() == [0, 1, 2] * 40
    for image, domain, content in zip(*reals, strict=True):
        matches = [i for i in range(120) if torch.equal(everything.images[i], image)]
        assert any((i % 2, i % 3) == (domain, content) for i in matches)


@pytest.mark.parametrize('attributes,data,message', [
    (dict(c_dim=1), {}, 'conditional network with at least 2 domains'),
    (dict(c_dim=0), {}, 'conditional network with at least 2 domains'),
    (dict(c_dim=3), {}, 'has 2 domains, but the network 3'),
    ({}, dict(labels=False), 'has no domains, but the network 2'),
    ({}, dict(labels='vectors'), 'has no domains, but the network 2'),
    (dict(img_resolution=32), {}, r'its images are \[3, 16, 16\], but the network makes \[3, 32, 32\]'),
    (dict(img_channels=1), {}, r'but the network makes \[1, 16, 16\]'),
    ({}, dict(count=18), '18 images are too few')])
def test_what_does_not_fit_is_refused(evaluate, tmp_path, attributes, data, message):
    G = Artist()
    for key, value in attributes.items():
        setattr(G, key, value)
    with pytest.raises(UserError, match=message) as caught:
        evaluate(G, ImageFolderDataset(write_dataset(tmp_path / 'a.zip', **data), use_labels=True))
    assert '\n' not in str(caught.value) and not any(G.drawn.values())


def test_a_domain_without_images_is_named(dataset, evaluate, monkeypatch):
    monkeypatch.setattr(ImageFolderDataset, 'get_label', lambda self, i: np.float32([1, 0]))
    with pytest.raises(UserError, match='no image of domain 1'):
        evaluate(Artist())
