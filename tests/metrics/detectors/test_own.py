"""The detector that is trained on the dataset: what it sees, that it is the same again, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.shapes import Artist, write_dataset
from helpers.stacks import write_stacks

from dnnlib.errors import OptionError, UserError
from metrics.context import Context
from metrics.detectors import own_training
from metrics.domains import classifier
from metrics.features.cache import FeatureCache
from metrics.registry import calc_metric, check_metric, find_metric, parse_metrics
from training.data.dataset import ImageFolderDataset
from training.data.plain import PlainDataset

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=120)


@pytest.fixture(scope='module')
def cache(path):
    """With a classifier that is trained once."""
    found = {}
    with pytest.MonkeyPatch.context() as m:
        m.setattr(classifier, 'MIN_STEPS', 90)
        Context(None, data(path), CPU, cache=found).detector('own')
    return found


@pytest.fixture
def shorter(monkeypatch):
    monkeypatch.setattr(classifier, 'MIN_STEPS', 10)  # a bad classifier will do


def data(path):
    return ImageFolderDataset(path, use_labels=True)


class Blurred(Artist):
    """Draws the same as Artist, but blurred."""

    def forward(self, z, c, **kwargs):
        images = super().forward(z, c, **kwargs)
        return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(images, [2] * 4, mode='replicate'), 5, stride=1)


def test_distances_agree_with_eyes(path, cache):
    """Good shapes are near; worse are blurred ones, one shape instead of three, and one colour instead of two."""
    generators = dict(good=Artist(), blurred=Blurred(), collapsed=Artist(shape=lambda z, u: 2),
                      red=Artist(domain=lambda u: 0))
    found = {name: calc_metric('kd60_own', Context(G, data(path), CPU, cache=cache))[1]['results']['kd60_own']
             for name, G in generators.items()}
    assert abs(found['good']) < 0.15 and min(found[name] for name in found if name != 'good') > 0.25, found
    fd = {name: calc_metric('fd60_own', Context(generators[name], data(path), CPU, cache=cache))[1]['results']['fd60_own']
          for name in ('good', 'blurred')}
    assert fd['blurred'] > 2 * fd['good']
    swapped = calc_metric('kd30_own_domains', Context(Artist(domain=lambda u: 1 - u), data(path), CPU, cache=cache))
    assert swapped[1]['results']['kd30_own_dommean'] > 1


def test_identical_images_have_no_distance(path, cache):
    net = Context(Artist(), data(path), CPU, cache=cache).detector('own')
    images = torch.from_numpy(np.stack([data(path)[i][0] for i in range(60)]))
    features = net.features(images)
    assert features.shape == (60, net.num_features) and features.dtype == torch.float32
    assert torch.equal(features, net.features(images)) and len(net.accuracies) == 2 and min(net.accuracies) > 0.8
    wide = net.features(torch.cat([images, images], dim=3))  # of tuples side by side
    assert wide.shape == features.shape and not torch.equal(wide, features)


def test_it_is_the_same_again_and_disturbs_nothing(path, shorter):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    contexts = [Context(Artist(), data(path), CPU, seed=seed) for seed in (0, 0, 1)]
    nets = [contexts[0].detector('own')]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        nets += [context.detector('own') for context in contexts[1:]]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), state)
    assert nets[0].key == nets[1].key != nets[2].key and not nets[0].training
    assert contexts[0].detector('own') is nets[0]


def test_weights_are_kept_and_replaced_if_damaged(path, tmp_path, shorter, monkeypatch):
    def context(path, **kwargs):
        return Context(Artist(), data(path), CPU, feature_cache=FeatureCache(tmp_path / 'cache'), **kwargs)

    first = context(path).detector('own')
    with monkeypatch.context() as m:
        m.setattr(own_training, 'train_heads', None)
        again = context(path).detector('own')
        assert again.key == first.key and all(torch.equal(a, b) for a, b in zip(
            first.state_dict().values(), again.state_dict().values(), strict=True))
        with pytest.raises(TypeError):
            context(path, seed=1).detector('own')
        with pytest.raises(TypeError):  # the same images with other labels
            context(write_dataset(tmp_path / 'other.zip', content=False)).detector('own')
    [entry] = (tmp_path / 'cache').glob('shapes-own-network-*.npz')
    entry.write_bytes(entry.read_bytes()[:-2000])
    assert context(path).detector('own').key == first.key
    first, again = (calc_metric('kd20_own', context(path))[1]['results'] for _ in range(2))
    assert first == again
    assert len(list((tmp_path / 'cache').glob('shapes-own-*.npz'))) == 2  # the network, and features by it


class Noise(PlainDataset):
    """Dark and bright noise of classes 0 and 3; path says the shape of images."""

    def read(self, path):
        shape, labels = [int(n) for n in path.split('x')], np.arange(40) % 2 * 3
        noise = np.random.RandomState(0).randint(0, 90, (40, *shape))
        return (noise + 50 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.mark.parametrize('shape', ['1x16x16', '2x8x8', '3x12x20', '4x40x64', '3x4x4'])
def test_channels_and_rectangles(shape, shorter):
    dataset = Noise(shape, use_labels=True)
    net = Context(None, dataset, CPU).detector('own')
    features = net.features(torch.from_numpy(np.stack([dataset[i][0] for i in range(4)])))
    assert features.shape == (4, net.num_features) and features.isfinite().all() and features.abs().max() > 0.1


def test_stacked_digits_are_learned_channel_by_channel(tmp_path, shorter):
    context = Context(None, data(write_stacks(tmp_path / 'stacked.zip')), CPU)
    assert len(context.detector('own').accuracies) == 3  # not one of 1000 classes


@pytest.mark.parametrize('kwargs, message', [
    (dict(labels=False, content=False), 'has no labels or contents that several images share'),
    (dict(labels='vectors', content=False), 'has no labels or contents that several images share'),
    (dict(labels=False, content=True, shapes=100), 'has no labels or contents that several images share'),
    (dict(count=18), 'has 18 images, and --detector=own trains a classifier, which needs 20')])
def test_what_cannot_teach_is_refused_before_anything_long(tmp_path, kwargs, message):
    path = write_dataset(tmp_path / 'poor.zip', **kwargs)
    with pytest.raises(UserError) as caught:
        check_metric('kd20_own', Context(Artist(), data(path), CPU))
    assert str(caught.value).startswith(f'{path}: {message}') and '\n' not in str(caught.value)
    assert '--detector=efficientnet' in str(caught.value)


def test_images_without_a_network_have_no_labels(path):
    images = data(path)
    with pytest.raises(UserError, match=r'with --images those of .* are not read; use --detector=efficientnet'):
        check_metric('kd20_own', Context(None, images, CPU, images=images))


def test_names():
    for name in ('kd1k_own', 'fd1k_own_full', 'pr1k3_own', 'dc500_5_own', 'nn1k_own', 'kd1k_own_domains', 'jfd500_own', 'tfd_own',
                 'truth20_own'):
        assert parse_metrics(name) == [name] and find_metric(name).detector == 'own' and find_metric(name).needs_classes
    assert parse_metrics('kd1k', detector='own') == ['kd1k_own']
    for text, kwargs in [('kd1k_own_clean', {}), ('kd1k_own', dict(resize='clean')), ('jfd500_own_clean', {})]:
        with pytest.raises(OptionError, match='does not resize images'):
            parse_metrics(text, **kwargs)
    with pytest.raises(OptionError, match='not computed with own'):
        parse_metrics('dipd_own')


def found_by(path):
    context = Context(Artist(), data(path), CPU, batch=48)
    return {key: value for name in ('fd50_own_full', 'kd10_own_domains')
            for key, value in calc_metric(name, context)[1]['results'].items()} | dict(key=context.detector('own').key)


def worker(rank, folder, path):
    classifier.MIN_STEPS = 10
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save(found_by(path), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(path, tmp_path, shorter):
    torch.multiprocessing.spawn(worker, args=(tmp_path, path), nprocs=2)
    alone = found_by(path)
    for rank in (0, 1):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert found.pop('key') == alone['key']
        assert found == pytest.approx({name: value for name, value in alone.items() if name != 'key'}, rel=1e-5)


def test_training_images_teach_it_when_others_are_compared_with(path, tmp_path, shorter):
    fewer = data(write_dataset(tmp_path / 'held-out.zip', count=30))
    context = Context(Artist(), data(path), CPU)
    held_out = dataclasses.replace(context, dataset=fewer, training_set=data(path), eval_data='held-out', cache={})
    assert held_out.detector('own').key == context.detector('own').key
