"""The metric from end to end: codes of networks of which it is known what they find, and what is refused."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import CPU
from torch import nn

from dnnlib import UserError
from metrics import Context
from metrics.domains import regression
from metrics.domains.classifier import apply
from metrics.identifiability import identifiability as metric
from metrics.identifiability import inverse
from metrics.identifiability.factors import Factor
from metrics.identifiability.measures import measures, principal_components
from metrics.registry import calc_metric, check_metric
from training.data.making.conversion import convert
from training.data.making.rendering import render
from training.data.making.synthetic import FACTORS, draw_factors, open_synthetic
from training.data.making.transforms import make_transform
from training.dataset import ImageFolderDataset

SIZE, Z = 8, 6
COUNT = 240


class Mapping(nn.Module):
    """The first two coordinates are style; the domain moves them by u."""

    i_dim = 2

    def latent(self, z, c):
        return torch.cat([z[:, :2] + c.argmax(dim=1)[:, None], z[:, 2:], c], dim=1)

    def style_mask(self):
        return torch.arange(Z) < 2


class Flags(nn.Module):
    """A generator whose image is its latent u: each coordinate is the grey value of a column of pixels."""

    z_dim, c_dim, img_channels, img_resolution = Z, 3, 3, SIZE

    def __init__(self):
        super().__init__()
        self.mapping = Mapping()

    def forward(self, z, c, noise_mode='const'):
        u = self.mapping.latent(z, c)[:, :Z]
        return nn.functional.pad(u / 5, (0, SIZE - Z))[:, None, None, :].expand(-1, 3, SIZE, -1).clone()


class Reader(nn.Module):
    """An encoder that finds z in what Flags drew; or numbers that have nothing to do with it."""

    latent_dim = Z

    def __init__(self, works=True):
        super().__init__()
        self.works = works

    def forward(self, x, c, return_latent):
        assert len(x) == 1 and return_latent
        u = 5 * x[:, 0, 0, :Z]
        return None, torch.cat([u[:, :2] - c.argmax(dim=1)[:, None], u[:, 2:]], dim=1) if self.works else 9 - u


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('data') / 'synthetic.zip')
    convert(open_synthetic(COUNT, 3, SIZE), path, make_transform(None, None, None))
    return path


@pytest.fixture(autouse=True)
def less(monkeypatch):
    monkeypatch.setattr(metric, 'NUM_TRAINED', 300)
    monkeypatch.setattr(metric, 'NUM_HELD_OUT', 60)


def context(path, D=None, **kwargs):
    return Context(Flags(), ImageFolderDataset(path, use_labels=True), CPU, D=D, **kwargs)


def test_the_encoder_of_the_network_is_taken_if_it_works(path):
    result, record = calc_metric('identifiability200', context(path, Reader()))
    values = record['results']
    assert values['code_r2'] == pytest.approx(1, abs=1e-5) and 'codes by the network' in result.notes[0]
    # Codes are grey values of columns: those of the background and of the light are among them.
    assert values['mcc_weak'] > values['mcc_weak_shuffled'] + 0.1
    assert len(values) == 4 * 18 + 1 and all(value is None or np.isfinite(value) for value in values.values())
    assert result.arrays['correlations'].shape == (Z, 9 + 2) and len(result.draw().axes) == 3


def test_else_a_regression_is_trained_on_samples(path):
    result, record = calc_metric('identifiability200', context(path))
    assert record['results']['code_r2'] > 0.5 and 'a regression on its samples' in result.notes[0]
    again = calc_metric('identifiability200', context(path, Reader(works=False)))[1]['results']
    other = calc_metric('identifiability200', context(path, seed=1))[1]['results']
    assert again == record['results'] != other


def test_a_trained_encoder_is_taken_before_the_regression(path):
    data, works, fails = ImageFolderDataset(path, use_labels=True), Reader(), Reader(works=False)
    for by, D, encoder, expected in (
            ('auto', None, works, 'trained encoder'), ('auto', fails, works, 'trained encoder'),
            ('auto', works, works, 'encoder'), ('auto', None, fails, 'regression'), ('encoder', fails, works, 'trained encoder'),
            ('encoder', fails, fails, 'trained encoder'), ('trained encoder', works, works, 'trained encoder'),
            ('projection', works, works, 'regression')):
        codes = metric.find_codes(Context(Flags(), data, CPU, D=D, by=by, encoder=encoder), data, range(20))
        assert codes.by == expected and codes.values.shape == (20, Z)


def worker(rank, folder, path):
    torch.set_num_threads(1)  # as here: another number sums in another order, which training amplifies
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    metric.NUM_TRAINED, metric.NUM_HELD_OUT = 300, 60
    torch.save([calc_metric('identifiability200', context(path, D))[1]['results'] for D in (None, Reader())],
               f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_find_what_one_finds(path, tmp_path):
    torch.multiprocessing.spawn(worker, args=(tmp_path, path), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt', weights_only=True) for rank in range(2))
    assert first == second
    for D, found in zip((None, Reader()), first, strict=True):
        assert found == pytest.approx(calc_metric('identifiability200', context(path, D))[1]['results'], rel=1e-5, abs=1e-6)


def test_what_is_refused_is_one_line_with_the_remedy(path, tmp_path):
    with pytest.raises(UserError, match=r'has 240 images, but identifiability takes 2000; ask for --metrics=identifiability240, '
                                        r'or make one with dataset_tool\.py --source=synthetic --max-images=2000'):
        calc_metric('identifiability', context(path))
    plain = open_synthetic(6, 3, SIZE)
    plain.factor_names = None
    convert(plain, str(tmp_path / 'plain.zip'), make_transform(None, None, None))
    with pytest.raises(UserError, match=r'plain\.zip: has no known factors, such as hue and position; make one with '
                                        r'dataset_tool\.py --source=synthetic or glyphs'):
        check_metric('identifiability', context(tmp_path / 'plain.zip'))
    alone = context(path)
    alone.G.c_dim = 0
    with pytest.raises(UserError, match='conditional network with at least 2 domains'):
        check_metric('identifiability', alone)


def test_latents_that_do_not_show_are_told(path):
    blank = context(path)
    blank.G.forward = lambda z, c, noise_mode='const': torch.zeros(len(z), 3, SIZE, SIZE)
    result = calc_metric('identifiability200', blank)[0]
    assert result.values['code_r2'] < 0.1 and 'next to nothing' in result.notes[1]


def test_principal_components():
    rows = np.random.default_rng(0).normal(size=(50, 4)) * [9, 3, 1, 0]
    found = principal_components(rows, 8)
    assert found.shape == (50, 3) and np.all(np.diff(found.std(axis=0)) < 0)
    assert np.allclose(np.abs(principal_components(rows.repeat(20, axis=1), 3)), np.abs(found) * 20 ** 0.5)
    assert np.abs(found.T @ found - np.diag(np.square(found).sum(axis=0))).max() < 1e-9


def supervised(count, held_out):
    """Codes [held_out, F] that a network trained with the true factors finds in new images, and what they are."""
    factors, _, _ = draw_factors(count, 9, False, 0)
    images = torch.from_numpy(render(factors, 32)).permute(0, 3, 1, 2).float() / 127.5 - 1
    known = [Factor(name, values, kind, role == 'style') for (name, kind, role), values in zip(FACTORS, factors.T, strict=True)]
    columns = [factor.columns() for factor in known]
    style = np.concatenate([[factor.style] * part.shape[1] for factor, part in zip(known, columns, strict=True)])
    targets = torch.from_numpy(np.concatenate(columns, axis=1)).float()
    trained = inverse.train_inverse(images, targets, held_out, torch.Generator().manual_seed(0), epochs=15)
    untrained = regression.make_network(images.shape[1:], targets.shape[1], torch.Generator().manual_seed(1)).eval()
    blocks = np.flatnonzero(~style), np.flatnonzero(style)
    test = [factor.rows(slice(count - held_out, None)) for factor in known]
    return [measures(apply(net, images[-held_out:]).numpy(), *blocks, test) for net in (trained.net, untrained)]


@pytest.mark.slow
def test_full_supervision_finds_nearly_everything_and_an_untrained_network_little():
    trained, untrained = supervised(13_000, 1000)
    assert trained['mcc_strong'] > 0.93 and trained['mcc_strong_style'] > 0.97
    assert trained['r2_style_from_style'] > 0.95 and trained['r2_content_from_content'] > 0.8
    assert max(trained['r2_style_from_content'], trained['r2_content_from_style']) < 0.05
    assert untrained['mcc_strong'] < 0.4 and untrained['r2_content_from_content'] < 0.25
    assert all(trained[name] > untrained[name] + 0.1 for name in ('sap', 'mig', 'modularity', 'dci_informativeness'))
