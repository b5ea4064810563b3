"""Latents of images: by gradient descent, where they are known; which way is chosen; what is kept of a search."""

import numpy as np
import pytest
import torch
from helpers.domain_cases import Finder, Painter, context, networks, pictures, write_dataset
from torch import nn

from dnnlib import UserError
from metrics.domains import inversion, latents
from metrics.domains.inversion import Projector
from metrics.features.cache import FeatureCache

CPU = torch.device('cpu')


class Linear(nn.Module):
    """Images that are linear in z, by another matrix in each domain."""

    z_dim, c_dim, img_channels, img_resolution = 6, 2, 3, 8

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(2, 6, 192, generator=torch.Generator().manual_seed(1)) / 6
        self.rows = 0

    def forward(self, z, c, noise_mode, force_fp32=False):
        assert noise_mode == 'const'
        self.rows += len(z)
        return torch.einsum('nz,nu,uzp->np', z, c, self.weight).reshape(-1, 3, 8, 8)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(inversion, 'CANDIDATES', 16)
    monkeypatch.setattr(inversion, 'PRIOR', 1e-6)


def known(count=5):
    z = torch.randn(count, 6, generator=torch.Generator().manual_seed(5))
    return z, torch.eye(2)[[0, 1, 1, 0, 1][:count]]


def test_latents_that_made_the_images_are_found(few):
    G, (z, c) = Linear(), known()
    found = Projector(G, steps=150)(G(z, c, 'const'), c)
    torch.testing.assert_close(found, z, atol=0.02, rtol=0)
    other = c.flip(1)
    torch.testing.assert_close(G(found, other, 'const'), G(z, other, 'const'), atol=0.02, rtol=0)  # as in the other domain


def test_each_image_is_found_by_itself_and_by_the_seed(few):
    G, (z, c) = Linear(), known()
    x = G(z, c, 'const')
    state = torch.get_rng_state()
    found = Projector(G, steps=4, seed=1)(x, c)
    alone = torch.cat([Projector(G, steps=4, seed=1)(x[i:i + 1], c[i:i + 1]) for i in range(5)])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
    assert (Projector(G, steps=4, seed=2)(x, c) - found).abs().max() > 0.01
    assert torch.equal(torch.get_rng_state(), state)


def test_a_search_begins_at_the_nearest_candidate_and_makes_no_image_worse(few, monkeypatch):
    G, (z, c) = Linear(), known()
    x = G(z, c, 'const')

    def errors(steps):
        return (G(Projector(G, steps)(x, c), c, 'const') - x).square().mean(dim=(1, 2, 3))

    drawn = torch.stack([G(Projector(G)._candidates, c[i].expand(16, 2), 'const') for i in range(5)])
    torch.testing.assert_close(errors(0), (drawn - x[:, None]).square().mean(dim=(2, 3, 4)).min(dim=1).values)
    monkeypatch.setattr(inversion, 'LEARNING_RATE', 3)  # far too large
    assert (torch.stack([errors(steps) for steps in (0, 5, 20)]).diff(dim=0) < 1e-6).all()


def test_auto_takes_an_encoder_that_finds_the_images_of_the_network():
    painter = Painter(i_dim=0)
    assert inversion.choose('auto', painter, Finder(), CPU) == 'encoder'
    assert inversion.choose('projection', painter, Finder(), CPU) == 'projection'
    for D in (None, Finder(z_dim=5), Finder(sign=-1.0)):
        assert inversion.choose('auto', painter, D, CPU) == 'projection'
    for D, text in ((None, 'the encoder, which is the discriminator, is missing'), (Finder(z_dim=5), 'finds 5 numbers')):
        with pytest.raises(UserError, match=f'{text}.*or find latents by optimisation, with --by=projection$'):
            inversion.choose('encoder', painter, D, CPU)


def test_a_search_that_was_done_is_not_repeated(few, tmp_path):
    data = write_dataset(tmp_path / 'a.zip', pictures(5), [0, 1, 0, 1, 1])
    cache = FeatureCache(tmp_path / 'cache')

    def find(items, G, **kwargs):
        ctx = context(G, data, by='projection', batch=2, feature_cache=cache, **{'steps': 3, **kwargs})
        found = latents.find(ctx, data, items, 'x')
        assert latents.find(ctx, data, items, 'x') is found, 'shared by the metrics of a network'
        return found, latents.facts(ctx, [found])

    first = Linear()
    found, facts = find([0, 1, 2, 4], first)
    assert facts == dict(by='projection', steps=3, reconstruction_error=pytest.approx(found.errors.mean()))
    x = torch.stack([torch.from_numpy(data[i][0]) for i in (0, 1, 2, 4)]) / 127.5 - 1
    rebuilt = first(found.z, torch.eye(2)[[0, 1, 0, 1]], 'const').clamp(-1, 1)
    np.testing.assert_allclose(found.errors, (rebuilt - x).abs().mean(dim=(1, 2, 3)).numpy() / 2, rtol=1e-5)
    again = Linear()
    assert torch.equal(find([0, 1, 2, 4], again)[0].z, found.z) and again.rows == 0
    find([0, 1, 4], again)
    assert again.rows > 0, 'the second batch is another one'
    other = Linear()
    assert not torch.equal(find([0, 1, 2, 4], other, steps=2)[0].z, found.z) and other.rows > 0
    trained = networks()[0]
    assert find([0], trained)[0].z.shape == (1, 4)
