"""Modes: of generators of which it is known what they draw, on stacked digits and on other classes."""

import numpy as np
import pytest
import torch
from helpers.shapes import Artist, write_dataset
from helpers.stacks import Stacker, write_stacks

from dnnlib.errors import OptionError, UserError
from metrics.context import Context
from metrics.domains import classifier
from metrics.quality.class_judge import digits_of, linear_accuracy
from metrics.quality.modes import mode_values
from metrics.registry import calc_metric, check_metric
from training.data.dataset import ImageFolderDataset
from training.data.plain import PlainDataset

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def stacked(tmp_path_factory):
    return ImageFolderDataset(write_stacks(tmp_path_factory.mktemp('data') / 'stacked.zip'), use_labels=True)


@pytest.fixture(scope='module')
def cache():
    """The classifier is trained once."""
    return {}


def test_closed_cases():
    uniform = np.full(8, 1 / 8)
    assert mode_values(np.arange(8).repeat(5), uniform) == dict(modes=8, kl=pytest.approx(0))
    assert mode_values(np.zeros(10, int), uniform) == dict(modes=1, kl=pytest.approx(np.log(8)))
    assert mode_values(np.arange(4).repeat(3), uniform) == dict(modes=4, kl=pytest.approx(np.log(2)))
    real = np.array([0.5, 0.25, 0.25, 0])  # a class without images costs nothing that is not drawn
    assert mode_values(np.array([0, 1, 1, 1]), real) == dict(
        modes=2, kl=pytest.approx(0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.25)))


def test_stacked_digits_are_read_channel_by_channel(stacked, cache):
    """150 images have at most 150 of 1000 classes: only a classifier of single digits can know the others."""
    G = Stacker()
    context = Context(G, stacked, CPU, cache=cache)
    check_metric('modes1k', context)
    result, record = calc_metric('modes1k', context)
    values = record['results']
    drawn = np.array(G.drawn[:1000])
    assert (result.arrays['seen'] == drawn).mean() > 0.97
    assert values['modes1k'] == pytest.approx(len(set(drawn.tolist())), abs=20) and values['modes1k_of'] == 1000
    assert values['modes1k_kl'] == pytest.approx(mode_values(drawn, result.arrays['real'])['kl'], abs=0.05)
    assert values['modes1k_test_accuracy'] > 0.8 and not result.notes
    assert result.arrays['real'].sum() == pytest.approx(1)
    assert list(values) == ['modes1k', 'modes1k_kl', 'modes1k_of', 'modes1k_test_accuracy']
    result.draw().canvas.draw()


def test_a_collapsed_generator(stacked, cache):
    values = calc_metric('modes1k', Context(Stacker(lambda z: 307), stacked, CPU, cache=cache))[1]['results']
    assert values['modes1k'] == 1 and values['modes1k_kl'] == pytest.approx(-np.log(cache['class judge'].real[307]))
    two = calc_metric('modes1k', Context(Stacker(lambda z: 123 if z[0] > 0 else 888), stacked, CPU, cache=cache))[1]['results']
    assert two['modes1k'] == 2 and two['modes1k_kl'] < values['modes1k_kl']


def test_other_classes_and_conditional_networks(tmp_path):
    """Red and green shapes, by colour."""
    path = write_dataset(tmp_path / 'shapes.zip', count=60)
    data = ImageFolderDataset(path, use_labels=True)
    values = calc_metric('modes100', Context(Artist(), data, CPU))[1]['results']
    assert (values['modes100'], values['modes100_of']) == (2, 2) and 0 <= values['modes100_kl'] < 0.1
    values = calc_metric('modes100', Context(Artist(domain=lambda u: 1), data, CPU))[1]['results']
    assert values['modes100'] == 1 and values['modes100_kl'] == pytest.approx(np.log(2))


class Greys(PlainDataset):
    """Dark and bright noise, of classes 0 and 3."""

    def read(self, path):
        labels = np.arange(60) % 2 * 3
        noise = np.random.RandomState(0).randint(0, 90, (60, 3, 16, 16))
        return (noise + 50 * labels[:, None, None, None]).astype(np.uint8), labels


def test_classes_without_images_are_neither_counted_nor_seen(monkeypatch):
    monkeypatch.setattr(classifier, 'MIN_STEPS', 20)
    result, record = calc_metric('modes100', Context(Stacker(), Greys('here', use_labels=True), CPU))
    assert record['results']['modes100_of'] == 2 and set(result.arrays['seen'].tolist()) <= {0, 3}


def test_a_thousand_classes_need_not_be_stacked_digits(stacked):
    images = np.stack([stacked[i][0] for i in range(150)]).astype(np.float32).reshape(450, 1, 16, 16) / 127.5 - 1
    digits = digits_of(np.array([int(stacked.get_details(i).raw_label) for i in range(150)])).reshape(-1)
    assert digits[:3].tolist() == [9, 9, 9]
    images, digits = torch.from_numpy(images), torch.from_numpy(digits)
    assert linear_accuracy(images, digits) > 0.7
    assert linear_accuracy(images, digits[torch.randperm(450, generator=torch.Generator().manual_seed(0))]) < 0.25


@pytest.mark.parametrize('labels, count, name, message', [
    (False, 30, 'modes', 'has no classes, and modes counts classes of images; make a dataset of a source that has some'),
    ('vectors', 30, 'modes', 'has labels that are vectors, and modes counts classes'),
    (True, 19, 'modes', 'has 19 images of 1000 classes; modes trains a classifier, which needs 20 images and 2 classes'),
    (True, 30, 'modes500', '500 samples cannot show its 1000 classes; ask for --num=1000 or more')])
def test_what_cannot_be_counted_is_told(tmp_path, labels, count, name, message):
    data = ImageFolderDataset(write_stacks(tmp_path / 'few.zip', count, labels), use_labels=True)
    with pytest.raises(UserError) as caught:
        check_metric(name, Context(Stacker(), data, CPU))
    assert message in str(caught.value) and '\n' not in str(caught.value) and str(caught.value).startswith(data.path)


def test_images_have_no_classes(stacked):
    with pytest.raises(OptionError, match='needs a network, not images'):
        check_metric('modes', Context(None, stacked, CPU, images=stacked))
