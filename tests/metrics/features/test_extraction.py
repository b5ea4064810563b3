"""Features of datasets and generators: which images, in which order, with which random numbers, by how many processes."""

import io
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers.doubles import Projection
from helpers.shapes import write_dataset

from dnnlib import UserError
from metrics import Context
from metrics.features import extraction
from metrics.features.cache import FeatureCache
from metrics.features.generation import Draws, random_images, to_uint8, with_noise
from metrics.registry import calc_metric
from torch_utils import distributed
from training.data.dataset import ImageFolderDataset
from training.networks import Generator

CPU = torch.device('cpu')


def network(c_dim=2, channels=3, seed=0):
    torch.manual_seed(seed)
    G = Generator(z_dim=8, c_dim=c_dim, w_dim=8, img_resolution=16, img_channels=channels, mapping_kwargs=dict(num_layers=1),
                  synthesis_kwargs=dict(channel_base=64)).eval()
    with torch.no_grad():
        for name, p in G.named_parameters():
            if name.endswith('noise_strength'):
                p.fill_(0.5)
    return G


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'shapes.zip', count=90)


@pytest.fixture
def dataset(path):
    return ImageFolderDataset(path, use_labels=True)


def context(G=None, dataset=None, **kwargs):
    net = kwargs.pop('net', None) or Projection()
    return Context(G, dataset, CPU, detectors={(name, 'published'): net for name in ('inception', 'vgg16')}, **kwargs)


def pixels_of(dataset, items):
    return np.stack([dataset[i][0] for i in items])


def captured(ctx, dataset, net, **kwargs):
    return extraction.of_dataset(ctx, net, dataset, every=True, **kwargs).features()


# Real images.

def test_images_are_read_in_order(dataset):
    parts = [[0, 1, 2], [80, 3], [89], list(range(40)), [7]]
    found = list(extraction.read_images(context(dataset=dataset), dataset, parts))
    assert [len(x) for x in found] == [3, 2, 1, 40, 1] and found[0].dtype == torch.uint8
    np.testing.assert_array_equal(torch.cat(found), pixels_of(dataset, [i for part in parts for i in part]))


def test_features_of_a_dataset_are_those_of_its_images(dataset):
    net, ctx = Projection(), context(dataset=dataset, batch=32)
    expected = net.features(torch.from_numpy(pixels_of(dataset, range(90))))
    np.testing.assert_allclose(captured(ctx, dataset, net), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(captured(ctx, dataset, net, items=[5, 80, 7]), expected[[5, 80, 7]], rtol=1e-5, atol=1e-5)


def test_which_images_a_metric_compares_with(path):
    part = ImageFolderDataset(path, use_labels=True, max_size=20, xflip=True, random_seed=4)
    full = extraction.real_images(context(dataset=part), full=True, least=2)
    assert len(full.items) == 90 and not any(full.dataset.get_details(i).xflip for i in full.items)
    some = extraction.real_images(context(dataset=part), full=False, least=2, most=100)
    details = [some.dataset.get_details(i) for i in some.items]
    assert [d.raw_idx for d in details] == [*range(90), *range(10)] and [d.xflip for d in details] == [False] * 90 + [True] * 10
    few = extraction.real_images(context(dataset=part), full=True, least=2, most=5)
    assert list(few.items) == [0, 1, 2, 3, 4]


def test_too_few_images_are_told_before_anything_is_computed(tmp_path):
    data = ImageFolderDataset(write_dataset(tmp_path / 'few.zip', count=3), use_labels=True)
    net = Projection()
    ctx = context(network(), data, net=net)
    with pytest.raises(UserError, match=r'few.zip: has 3 images, and the metric needs at least 4; pass more'):
        calc_metric('pr100_3_full', ctx)
    one = ImageFolderDataset(write_dataset(tmp_path / 'one.zip', count=1), use_labels=True)
    for name in ('fid100_full', 'kid100_full', 'fid100', 'kid100'):
        with pytest.raises(UserError, match=r'one.zip: has 1 image, and the metric needs at least 2'):
            calc_metric(name, context(network(c_dim=1), one, net=net))
    assert net.seen == 0


@pytest.mark.parametrize('G,data,message', [
    (dict(c_dim=3), {}, 'has labels of 2 numbers, but the network takes 3'),
    (dict(), dict(labels=False), 'has no labels, but the network takes 2'),
    (dict(channels=1), {}, r'its images are \[3, 16, 16\], but the network makes \[1, 16, 16\]')])
def test_what_does_not_fit_is_refused(tmp_path, G, data, message):
    net = Projection()
    ctx = context(network(**G), ImageFolderDataset(write_dataset(tmp_path / 'x.zip', **data), use_labels=True), net=net)
    for name in ('fid10_full', 'is10', 'ppl2_wend_10'):
        if name == 'fid10_full' or 'channels' not in G:
            with pytest.raises(UserError, match=message):
                calc_metric(name, ctx)
    assert net.seen == 0


def test_without_a_dataset_only_what_needs_none_is_computed():
    with pytest.raises(UserError, match='needed to compare with'):
        calc_metric('fid10_full', context(network(c_dim=0)))
    for name in ('is10', 'ppl2_wend_10'):
        with pytest.raises(UserError, match='needed for its labels'):
            calc_metric(name, context(network()))
        assert all(value > 0 for value in calc_metric(name, context(network(c_dim=0)))[0].values.values() if value)


def test_a_damaged_image_is_named(tmp_path, path):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / 'damaged.zip', 'w') as new:
        for i, name in enumerate(old.namelist()):
            new.writestr(name, b'no image' if i == 70 else old.read(name))
    data = ImageFolderDataset(str(tmp_path / 'damaged.zip'), use_labels=True)
    with pytest.raises(UserError, match=r'img00000070.png in .*damaged.zip'):
        captured(context(dataset=data, batch=8), data, Projection())


def test_greyscale_is_shown_to_the_detector_as_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / 'grey.zip', 'w') as z:
        for i in range(8):
            buffer = io.BytesIO()
            PIL.Image.fromarray(np.full([16, 16], 30 * i, np.uint8)).save(buffer, 'png')
            z.writestr(f'{i}.png', buffer.getvalue())
    data = ImageFolderDataset(str(tmp_path / 'grey.zip'))
    assert calc_metric('fid20_full', context(network(c_dim=0, channels=1), data))[0].values['fid20_full'] > 0


# Kept features.

def test_features_are_computed_once_for_all_programs(tmp_path, path):
    cache, net = FeatureCache(tmp_path / 'cache'), Projection()

    def evaluate(name, net=net, **options):
        before = net.seen
        data = ImageFolderDataset(path, use_labels=True, **options)
        value = calc_metric(name, context(network(), data, net=net, feature_cache=cache))[0].values[name]
        return value, net.seen - before

    first = evaluate('fid20_full')
    assert first[1] == 90 + 20
    assert evaluate('fid20_full') == evaluate('fid20_full', max_size=10, xflip=True, random_seed=3) == (first[0], 20)
    assert evaluate('fid20')[1] == 20 + 20 and evaluate('fid20')[1] == 20, 'of other images'
    assert evaluate('fid100', xflip=True)[1] == 100 + 100 and evaluate('fid100', xflip=False)[1] == 100, 'all, as fid20_full'
    assert evaluate('kid20_full')[1] == 90 + 20 and evaluate('kid20_full')[1] == 20, 'captured otherwise'
    other = Projection(key='of other weights')
    assert evaluate('fid20_full', net=other)[1] == 90 + 20


def test_changed_images_are_not_taken_for_the_old_ones(tmp_path, path):
    moved = tmp_path / 'moved.zip'
    moved.write_bytes(Path(path).read_bytes())
    identity = ImageFolderDataset(path).identity()
    assert ImageFolderDataset(str(moved)).identity() == identity
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(moved, 'w') as new:
        names = old.namelist()
        for name in names:
            new.writestr(name, old.read(names[7] if name == names[4] else name))  # same names, one other image
    assert ImageFolderDataset(str(moved)).identity() != identity


def test_several_networks_share_what_does_not_depend_on_them(dataset):
    net, shared = Projection(), {}
    for seed in (0, 1):
        calc_metric('fid20_full', context(network(seed=seed), dataset, net=net, cache=shared))
    assert net.seen == 90 + 20 + 20


# Generated images.

def test_an_image_depends_on_seed_and_number_alone(dataset):
    G = network()
    ctx = context(G, dataset)
    images = random_images(ctx, range(12), dataset)
    assert images.dtype == torch.uint8 and images.shape == (12, 3, 16, 16)
    assert len({image.numpy().tobytes() for image in images}) == 12
    for items in ([3], [11, 3, 5], range(2, 9)):
        off = (random_images(ctx, items, dataset).int() - images[list(items)].int()).abs()
        assert off.max() <= 1 and off.float().mean() < 0.01  # rounding may differ with the size of the batch
    assert not torch.equal(random_images(context(G, dataset, seed=1), range(12), dataset), images)


def test_images_are_those_of_the_network(dataset):
    """As G(z, c) with random noise draws them: by replacing the constant noise, one at a time."""
    G = network()
    ctx = context(G, dataset)
    draws = Draws(ctx, [5])
    z, c = draws.normal(8), draws.labels(dataset)
    reference = network()
    for name, noise in draws.noise(G).items():
        assert noise.shape[:2] == (1, 1)
        reference.get_buffer(name).copy_(noise[0, 0])
    with torch.no_grad():
        expected = reference(z, c, noise_mode='const')
    np.testing.assert_allclose(with_noise(G, Draws(ctx, [5]).noise(G), z, c).detach(), expected, atol=1e-5)
    assert (random_images(ctx, [5], dataset).int() - to_uint8(expected).int()).abs().max() <= 1


def test_noise_is_like_that_of_the_network_itself(dataset):
    G = network(c_dim=0)
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).expand(500, -1)
    c = torch.zeros(500, 0)
    ctx = context(G)
    with torch.no_grad():
        ours = with_noise(G, Draws(ctx, range(500)).noise(G), z, c)
        torch.manual_seed(3)
        theirs = G(z, c, noise_mode='random')
    assert ours.std(dim=0).min() > 0.01
    np.testing.assert_allclose(ours.mean(dim=0), theirs.mean(dim=0), atol=0.25 * float(theirs.std(dim=0).max()))
    np.testing.assert_allclose(ours.std(dim=0), theirs.std(dim=0), rtol=0.25)


def test_labels_follow_the_dataset(dataset):
    data = ImageFolderDataset(dataset.path, use_labels=True)
    data._labels()[:] = (np.arange(90) % 10 == 0)  # a tenth are of class 1
    labels = Draws(context(network(), data), range(1000)).labels(data)
    assert labels.shape == (1000, 2) and labels.sum(dim=1).eq(1).all()
    assert 0.06 < labels[:, 1].mean() < 0.14


def test_bytes_are_truncated_and_clipped():
    values = torch.tensor([-2, -128 / 127.5, -127 / 127.5, 0, 1 / 127.5 - 1e-4, 1 / 127.5 + 1e-4, 1, 2])
    assert to_uint8(values).tolist() == [0, 0, 1, 128, 128, 129, 255, 255]


@pytest.mark.parametrize('name', ['fid20_full', 'kid20', 'pr20_3', 'is20', 'ppl_zfull_20'])
def test_metrics_disturb_nothing_and_are_seeded(dataset, name):
    G = network()
    before = {key: value.clone() for key, value in G.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, again, other = (calc_metric(name, context(G, dataset, seed=seed))[0].values for seed in (0, 0, 1))
    assert first == again and (first != other or name == 'pr20_3')
    assert torch.equal(torch.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])
    assert all(torch.equal(value, before[key]) for key, value in G.state_dict().items())


def test_few_images_are_noted(dataset):
    notes = calc_metric('fid20_full', context(network(), dataset, net=Projection(num_features=30)))[0].notes
    assert len(notes) == 1 and notes[0].startswith('fid20_full: 20 images are no more than the 30 features')
    assert not calc_metric('fid20_full', context(network(), dataset, net=Projection(num_features=10)))[0].notes


# Several processes.

NAMES = ['fid50_full', 'kid50_full', 'pr50_3_full', 'is50', 'ppl_wfull_50']


def evaluate_all(path, cache, net, **kwargs):
    """Records of NAMES, without their times. Batches of 7: the last round leaves one of two processes nothing to do."""
    ctx = context(network(), ImageFolderDataset(path, use_labels=True), net=net, batch=7, feature_cache=FeatureCache(cache),
                  **kwargs)
    return [calc_metric(name, ctx)[1] for name in NAMES]


def worker(rank, folder, path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    found = []
    for _ in range(2):
        net = Projection()
        found += [evaluate_all(path, f'{folder}/cache', net), net.seen]
    with pytest.raises(UserError, match=r'^told$'):
        distributed.broadcast_from_rank0(lambda: (_ for _ in ()).throw(UserError('told')))
    torch.save(found, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path, path):
    torch.multiprocessing.spawn(worker, args=(tmp_path, path), nprocs=2)
    found = [torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in (0, 1)]
    alone = evaluate_all(path, tmp_path / 'alone', Projection())
    for records in (found[0][0], found[1][0], found[0][2], found[1][2]):
        for record, expected in zip(records, alone, strict=True):
            assert (record['num_gpus'], expected['num_gpus']) == (2, 1)
            assert record['results'] == pytest.approx(expected['results'], rel=1e-6)
    firsts, seconds = [f[1] for f in found], [f[3] for f in found]
    generated = 4 * 50 + 2 * 50  # two images for each path
    assert sum(firsts) == 2 * 90 + generated and sum(seconds) == generated, 'each image by one of them; features kept'
    assert max(firsts) - min(firsts) <= 2 * 7 + 6 * 7
