"""Encoders that are trained for generators of which the inverse is known; and that they depend on the seed alone."""

import pytest
import torch
from torch import nn

from metrics.domains.inversion import rebuilding
from torch_utils.misc import module_digest
from training.encoder import learning
from training.encoder.learning import Draws, RealImages, quality, real_quality, train


class Patches(nn.Module):
    """Four patches of 4x4 pixels, each as bright as its latent says; in domain 1 the first two are swapped. Noise inputs, half
    precision: none."""

    z_dim, c_dim, img_channels, img_resolution = 4, 2, 1, 8

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3), requires_grad=False)

    def forward(self, z, c, noise_mode, force_fp32=False):
        assert noise_mode == 'const'
        z = torch.where(c[:, 1:] > 0, z[:, [1, 0, 2, 3]], z)
        return (self.scale * z).reshape(-1, 1, 2, 2).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)


class Real:
    """Images that the generator does not draw: brighter, with a white edge."""

    def __init__(self, count=60):
        self.z = torch.randn(count, 4, generator=torch.Generator().manual_seed(9))

    def __getitem__(self, i):
        x = Patches()(0.5 * self.z[i:i + 1] + 1, torch.eye(2)[[i % 2]], 'const')[0]
        x[:, 0] = 1
        return ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8).numpy(), torch.eye(2)[i % 2].numpy()


def test_known_latents_are_recovered():
    G = Patches()
    encoder = train(G, 4000, seed=0)
    found = quality(G, encoder, 200, seed=0)
    assert found['latents_r2'] > 0.9 and found['samples_rebuilt'] < 0.05
    z, c, x = Draws(G, 1, purpose=2).samples(50)
    other = c.flip(1)  # the label counts: in the other domain the same latent looks different
    torch.testing.assert_close(G(encoder(x, c), other, 'const'), G(z, other, 'const'), atol=0.25, rtol=0)
    assert rebuilding(G, encoder, torch.device('cpu')) < 0.1
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize('real', [False, True])
def test_the_loss_is_that_of_latents_of_samples_and_of_real_images_if_there_are_any(real):
    G, reals = Patches(), RealImages(Real(), range(10)) if real else None

    def blank(x, c):
        return torch.zeros(len(x), 4)

    found = learning.loss(G, blank, Draws(G, 5, 0), reals)
    again = Draws(G, 5, 0)
    z, _, x = again.samples(learning.BATCH)
    x = again.reals(reals, learning.BATCH)[0] if real else x  # what is drawn of 0 is 0 everywhere
    images = (x.square().mean() + nn.functional.avg_pool2d(x, 2).square().mean()) / 2
    torch.testing.assert_close(found, learning.LATENTS * z.square().mean() + images)


def test_the_quality_is_measured_on_images_that_were_held_out():
    G, data = Patches(), Real()

    def blank(x, c):
        return torch.zeros(len(x), 4)

    x = torch.stack([torch.from_numpy(data[i][0]) for i in range(40, 60)]) / 127.5 - 1
    assert real_quality(G, blank, RealImages(data, range(40, 60))) == pytest.approx(x.abs().mean().item() / 2)


def test_one_seed_fixes_the_weights_and_nothing_else_is_disturbed(monkeypatch):
    monkeypatch.setattr(learning, 'BATCH', 8)
    G, state = Patches(), torch.get_rng_state()
    before = module_digest(G)
    digests = [module_digest(train(G, 40, seed, reals)) for seed, reals in (
        (3, None), (3, None), (4, None), (3, RealImages(Real(), range(10))), (3, RealImages(Real(), range(10))))]
    assert digests[0] == digests[1] and digests[3] == digests[4] and len(set(digests)) == 3
    assert torch.equal(torch.get_rng_state(), state) and module_digest(G) == before


@pytest.mark.parametrize('samples', [1, 100])
def test_progress_counts_the_batches(samples):
    counted = []
    train(Patches(), samples, 0, progress=lambda steps: counted.append(len(steps)) or steps)
    assert counted == [max(samples // learning.BATCH, 1)]
