"""All metrics of domains: by two processes as by one, seeded, and without disturbing anything."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import Cells, context, networks, pictures, write_dataset

from metrics.domains.encoder import Encoder
from metrics.features.cache import FeatureCache
from metrics.registry import calc_metric
from training.data.dataset import ImageFolderDataset

NAMES = ['fid20_full_domains', 'kid20_domains', 'jfid20', 'dipd15', 'lpips_div9', 'tfid5', 'tlpips9', 'mcc20',
         'truth9_efficientnet', 'truth8_efficientnet']
WAYS = {'truth9_efficientnet': dict(by='projection', steps=2), 'truth8_efficientnet': dict(by='trained encoder', steps=1)}


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'paired.zip'
    write_dataset(path, pictures(44), [0, 1] * 22, content=np.arange(44) // 2)
    return str(path)


def evaluate(path, name, **kwargs):
    """The record of a metric. Batches of 4: the last round of some leaves one of two processes nothing to do."""
    G, D = networks()
    kwargs |= WAYS.get(name, {})
    encoder = Encoder(G, torch.Generator().manual_seed(0)).eval()
    return calc_metric(name, context(G, ImageFolderDataset(path, use_labels=True), D, batch=4, encoder=encoder, **kwargs))[1]


def worker(rank, folder, path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    net = Cells()
    cache = FeatureCache(f'{folder}/cache')
    found = [evaluate(path, name, net=net, feature_cache=cache) for name in NAMES]
    torch.save([*found, net.seen], f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path, path):
    torch.multiprocessing.spawn(worker, args=(tmp_path, path), nprocs=2)
    *first, seen_by_first = torch.load(tmp_path / '0.pt', weights_only=True)
    *second, seen_by_second = torch.load(tmp_path / '1.pt', weights_only=True)
    net, cache = Cells(), FeatureCache(tmp_path / 'alone')
    for name, a, b in zip(NAMES, first, second, strict=True):
        alone = evaluate(path, name, net=net, feature_cache=cache)
        assert a['num_gpus'] == 2 and a['results'] == b['results']
        assert a['results'] == pytest.approx(alone['results'], rel=1e-6)
        assert all(a.get(key) == pytest.approx(alone.get(key)) for key in ('by', 'reconstruction_error'))
    assert seen_by_first + seen_by_second == net.seen, 'each image by one of them'
    assert abs(seen_by_first - seen_by_second) < 0.4 * net.seen


@pytest.mark.parametrize('name', NAMES)
def test_metrics_disturb_nothing_and_are_seeded(path, name):
    G, D = networks()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    data = ImageFolderDataset(path, use_labels=True)
    weights = [value.clone() for net in (G, D) for value in net.state_dict().values()]
    first, again, other = (calc_metric(name, context(G, data, D, seed=seed))[0].values for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])
    after = [value for net in (G, D) for value in net.state_dict().values()]
    assert all(map(torch.equal, weights, after))
