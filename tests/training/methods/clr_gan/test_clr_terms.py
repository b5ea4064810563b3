"""CLR-GAN's terms: their values by the equation, what they leave alone, and the published behaviour on request."""

import pytest
import torch

from training.losses import PhaseBatch, make_phases
from training.methods import make_terms
from training.methods.clr_gan.terms import ImageReconstruction, LatentConsistency
from training.networks import Discriminator, Generator

ADAM = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99], eps=1e-8)
TERMS = {'G/logistic': {}, 'G/recon': dict(weight=0.5), 'D/logistic_fake': {}, 'D/latent': dict(weight=5.0),
         'D/logistic_real': {}}


class Inverse(torch.nn.Module):
    """A generator and a discriminator in one: images are A z + B c, and the code of an image is A⁻¹ (x - B c)."""

    def __init__(self, exact=True):
        super().__init__()
        torch.manual_seed(0)
        self.A = torch.nn.Parameter(torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0])
        self.error = 0.0 if exact else 0.1
        self.mapping = self.synthesis = self
        self.w_avg_updates = 0

    def latent(self, z, c):
        return z

    def map_latent(self, latent, skip_w_avg_update=False):
        self.w_avg_updates += not skip_w_avg_update
        return latent[:, None].repeat(1, 3, 1)

    def forward(self, x, c=None, skip_w_avg_update=False, return_latent=False):
        if return_latent:
            return x.mean(dim=(1, 2, 3))[:, None], x.flatten(1) @ self.A + self.error
        if x.ndim == 3:  # ws: the last layers decide
            return (x[:, -1] @ self.A.t()).reshape(-1, 1, 4, 4)
        return self.map_latent(self.latent(x, c), skip_w_avg_update)


def batch_of(net, n=6, **kwargs):
    g = torch.Generator().manual_seed(1)
    z, x = (torch.randn(s, dtype=torch.float64, generator=g) for s in ((n, 16), (n, 1, 4, 4)))
    return PhaseBatch(net, net, z, torch.zeros(n, 2), x, torch.zeros(n, 2), **kwargs)


def test_both_terms_are_zero_for_a_perfect_inverse_and_only_then():
    for exact, (latent, recon) in ((True, (0.0, 0.0)), (False, (0.01, 0.01))):
        batch = batch_of(Inverse(exact), keep_unmixed=True)
        for term, expected in ((LatentConsistency(), latent), (ImageReconstruction(), recon)):
            torch.testing.assert_close(term(batch), torch.full([6], expected, dtype=torch.float64), atol=1e-12, rtol=1e-9)


def test_style_mixing_spares_the_samples_that_are_compared():
    """With mixing the last w belongs to another latent, so that no inverse can find z."""
    batch = batch_of(Inverse(), style_mixing_prob=1.0, keep_unmixed=True)
    assert batch.num_unmixed == 3
    value = LatentConsistency()(batch)
    assert value.shape == (3,) and value.max() < 1e-20
    everywhere = LatentConsistency(compat=True)(batch)
    assert everywhere.shape == (6,) and everywhere[:3].max() < 1e-20 and everywhere[3:].min() > 0.1
    published = batch_of(Inverse(), style_mixing_prob=1.0)
    assert LatentConsistency(compat=True)(published).min() > 0.1
    assert LatentConsistency.needs_unmixed or LatentConsistency().needs_unmixed
    assert not LatentConsistency(compat=True).needs_unmixed


def test_reconstruction_has_no_mixing_no_augmentation_and_no_part_in_w_avg():
    augment = torch.neg
    for mixing in (0.0, 1.0):
        net = Inverse()
        batch = batch_of(net, augment=augment, style_mixing_prob=mixing)
        assert ImageReconstruction()(batch).max() < 1e-20 and net.w_avg_updates == 0
    net = Inverse()
    batch = batch_of(net, augment=augment)
    published = ImageReconstruction(compat=True)(batch)  # of -x: the difference is 2 x
    torch.testing.assert_close(published, 4 * batch.real_images.square().mean(dim=(1, 2, 3)))
    assert net.w_avg_updates == 1
    mixed = ImageReconstruction(compat=True)(batch_of(Inverse(), style_mixing_prob=1.0))
    assert mixed.min() > 0.1


def test_the_code_is_a_constant_for_the_generator():
    """G learns from the reconstruction; what D would have to change for it is not asked for."""
    decoder, encoder = Inverse(), Inverse()
    g = torch.Generator().manual_seed(1)
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=g)
    batch = PhaseBatch(decoder, encoder, torch.randn(2, 16, dtype=torch.float64), torch.zeros(2, 2), x, torch.zeros(2, 2))
    with torch.no_grad():
        decoder.A.add_(0.1)
    ImageReconstruction()(batch).mean().backward()
    assert decoder.A.grad.abs().max() > 1e-3 and encoder.A.grad is None


@pytest.fixture
def networks():
    torch.manual_seed(0)
    G = Generator(16, 2, 8, 8, 1, mapping_kwargs=dict(num_layers=1, cond_mode='flow', i_dim=4),
                  synthesis_kwargs=dict(channel_base=64))
    D = Discriminator(2, 8, 1, channel_base=64, mapping_kwargs=dict(num_layers=1))
    return {'G': G.train().requires_grad_(False), 'D': D.train().requires_grad_(False)}


def inputs(n=4):
    g = torch.Generator().manual_seed(3)
    return dict(z=torch.randn(n, 16, generator=g), c=torch.eye(2).repeat(n // 2, 1),
                real_images=torch.randn(n, 1, 8, 8, generator=g), real_c=torch.eye(2).repeat(n // 2, 1))


def test_each_term_trains_its_own_network(networks):
    phases = make_phases(make_terms(TERMS), networks, {'G': ADAM, 'D': ADAM}, {'G': 4, 'D': 16}, style_mixing_prob=0.9)
    for phase in phases:
        phase.run([inputs()])
        assert all(p.grad is None for p in networks['D' if phase.net == 'G' else 'G'].parameters())
        assert all(p.grad is not None for name, p in networks[phase.net].named_parameters() if 'u_' not in name)
        networks[phase.net].zero_grad()


def test_the_code_that_is_asked_for_is_what_the_generator_received(networks):
    """Encode, then decode: with the code equal to z, before the flow, G(code, c) is the image again."""
    G, D = networks['G'].eval(), networks['D']
    i = inputs()
    images = G(i['z'], i['c'], noise_mode='const')

    class Oracle(torch.nn.Module):
        def forward(self, img, c, return_latent=False):
            return D(img, c)[0], i['z']

    batch = PhaseBatch(G, Oracle(), i['z'], i['c'], images, i['c'], keep_unmixed=True)
    assert LatentConsistency()(batch).max() == 0
    assert torch.equal(G.mapping(batch.fake_latent, i['c']), G.mapping(i['z'], i['c']))
    networks['G'].synthesis.requires_grad_(False)
    for name, p in G.named_parameters():
        if name.endswith('noise_strength'):
            assert p == 0  # as initialised: no noise in the way
    assert ImageReconstruction()(batch).max() < 1e-10
