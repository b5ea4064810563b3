"""Memorisation: cases of which the value is known: copies, fresh images, far ones; repeated and mirrored training images."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.doubles import Projection

from dnnlib.errors import UserError
from metrics.context import Context
from metrics.features.points import Points
from metrics.quality.memorisation import groups_of, memorisation_values, own_distances
from metrics.registry import calc_metric, check_metric


def rows(n, width=4, shift=0.0, seed=0):
    return (np.random.RandomState(seed).randn(n, width) + shift).astype(np.float32)


def of(real, fake, groups=None, block=4096):
    points = Points(real, block=block)
    own = own_distances(points, np.arange(len(real)) if groups is None else groups)
    return memorisation_values(own, points.nearest(fake, 1)[1][:, 0])


def test_samples_that_are_training_images():
    values = of(rows(500), rows(500)[::2])
    assert values == dict(copies=1, ratio=pytest.approx(0, abs=1e-6), duplicates=0)


def test_samples_of_a_held_out_half():
    """Fresh samples are nearer than the 1% quantile in 1% of cases."""
    found = [of(half[:2000], half[2000:]) for half in (rows(4000, seed=seed) for seed in range(8))]
    assert np.mean([values['copies'] for values in found]) == pytest.approx(0.01, abs=0.003)
    assert np.mean([values['ratio'] for values in found]) == pytest.approx(1, abs=0.02)


def test_far_samples():
    values = of(rows(500), rows(100, shift=100))
    assert values['copies'] == 0 and values['ratio'] > 50


def test_some_copies_among_fresh_ones():
    fake = np.concatenate([rows(500)[:60], rows(240, seed=1)])
    assert of(rows(500), fake)['copies'] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize('times', [2, 5, 17])
@pytest.mark.parametrize('block', [64, 4096])
def test_repeated_training_images_do_not_hide_copies(times, block):
    """With them the quantile would be 0, and no sample nearer."""
    once = rows(150, seed=5)
    real = np.concatenate([once, np.repeat(once[:40], times - 1, axis=0)])[np.random.RandomState(0).permutation(110 + 40 * times)]
    copies, plain = of(real, once[:50], block=block), of(once, once[:50])
    assert copies['copies'] == plain['copies'] == 1
    assert copies['duplicates'] == pytest.approx(40 * (times - 1) / len(real))
    fresh = rows(200, seed=6)
    ours, theirs = of(real, fresh, block=block), of(once, fresh)
    assert (ours['ratio'], ours['copies']) == pytest.approx((theirs['ratio'], theirs['copies']))


def test_copies_within_rounding_are_the_same_image():
    real = rows(200)
    nearly = np.concatenate([real, real[:20] * np.float32(1 + 1e-6)])
    assert of(nearly, rows(50, seed=1))['duplicates'] == pytest.approx(20 / 220)


def test_a_mirrored_image_is_no_neighbour_of_its_own():
    """A symmetric image is like its mirrored copy, which must not count as repeated; another's mirrored copy does count."""
    plain = rows(200)
    mirrored = plain * np.float32([-1, 1, 1, 1])
    both, groups = np.concatenate([plain, mirrored]), np.tile(np.arange(200), 2)
    own = own_distances(Points(both), groups)
    apart = np.linalg.norm(both[:, None].astype(np.float64) - both[None], axis=2)
    apart[groups[:, None] == groups[None]] = np.inf
    np.testing.assert_allclose(own.distances, apart.min(axis=1))
    assert not own.repeated.any() and of(both, mirrored[:50], groups)['copies'] == 1

    symmetric = plain * np.float32([0, 1, 1, 1])
    both = np.concatenate([symmetric, symmetric])
    assert own_distances(Points(both), groups).distances.min() > 0.01


class Shown:
    """A dataset of images that are in memory."""

    path, label_dim = 'here.zip', 0

    def __init__(self, images):
        self.images, self.image_shape = images, list(images.shape[1:])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], None

    def all_images(self, xflip=None):
        return self


def pictures(n, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (n, 3, 8, 8)).astype(np.uint8)


def context(real, fake):
    return Context(None, Shown(real), torch.device('cpu'), images=Shown(fake), batch=32,
                   detectors={('efficientnet', 'published'): Projection()})


def test_the_metric_and_its_picture():
    real = pictures(150)
    fake = np.concatenate([pictures(90, seed=1), real[[7, 100, 8, 9, 10, 11, 12, 13, 14, 15]]])
    many = context(real, np.concatenate([fake, pictures(10, seed=2)]))
    result, record = calc_metric('nn110_efficientnet', many)
    values = record['results']
    assert list(values) == [f'nn110_efficientnet_{name}' for name in ('copies', 'ratio', 'duplicates')]
    assert 0.09 <= values['nn110_efficientnet_copies'] < 0.2 and 0.5 < values['nn110_efficientnet_ratio'] < 1.5
    nearest = dict(zip(result.arrays['samples'][:6].tolist(), result.arrays['neighbours'][:6, 0].tolist(), strict=True))
    assert set(nearest.items()) < {(90 + i, number) for i, number in enumerate([7, 100, 8, 9, 10, 11, 12, 13, 14, 15])}
    assert result.arrays['samples'][6:].tolist() == [0, 1, 2, 3, 4, 5] and (result.arrays['relative'][:6, 0] < 1e-3).all()
    figure = result.draw()
    figure.canvas.draw()
    assert [len(axes.images) for axes in figure.axes] == [36, 36]
    assert sum(text.get_color() == 'tab:red' for text in figure.axes[0].texts) == 6, 'the nearest of each'


def test_what_is_too_few_is_told():
    with pytest.raises(UserError, match=r'^here.zip: has 99 images, and the metric needs at least 100; pass more of them$'):
        check_metric('nn100_efficientnet', context(pictures(99), pictures(100)))
    with pytest.raises(UserError, match=r'has 100 images, but nn200_efficientnet takes 200; ask for --metrics=nn100_eff'):
        check_metric('nn200_efficientnet', context(pictures(100), pictures(100)))
    with pytest.raises(UserError, match=r'^here.zip: has 60 different images, and the metric needs at least 100'):
        calc_metric('nn100_efficientnet', context(np.repeat(pictures(60), 3, axis=0), pictures(100, 1)))


def test_held_out_images_are_not_taken_for_training_images():
    held_out = dataclasses.replace(context(pictures(100), pictures(100)), eval_data='other.zip')
    with pytest.raises(UserError, match='pass the training images with --data'):
        check_metric('nn100_efficientnet', held_out)
    check_metric('nn100_efficientnet', dataclasses.replace(held_out, training_set=Shown(pictures(100))))


def test_groups_of_mirrored_items(tmp_path):
    from helpers.shapes import write_dataset

    from training.data.dataset import ImageFolderDataset
    path = write_dataset(tmp_path / 'shapes.zip', count=5)
    assert groups_of(ImageFolderDataset(path, xflip=True)).tolist() == [0, 1, 2, 3, 4] * 2
    assert groups_of(Shown(pictures(3))).tolist() == [0, 1, 2]
