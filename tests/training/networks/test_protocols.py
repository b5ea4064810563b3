"""What a network needs to have: ours do, the plain ones do, and a network that lacks something is named."""

import pytest
import torch
from torch import nn

from dnnlib.plugins import lacks
from training.losses import make_phases
from training.methods import make_terms
from training.networks import Discriminator, Generator, protocols
from training.networks.plain import PlainGenerator, PlainMapping

SIZE = dict(img_resolution=8, img_channels=1)


class Synthesis(nn.Module):
    def __init__(self, w_dim):
        super().__init__()
        self.layer = nn.Linear(w_dim, 64)

    def forward(self, ws, noise_mode='random', force_fp32=False, noise_repeat=1):
        return self.layer(ws.mean(dim=1)).sin().reshape(-1, 1, 8, 8)


class Small(PlainGenerator):
    def __init__(self, num_ws=1, c_dim=0):
        super().__init__(4, c_dim, 8, 1, num_ws=num_ws)
        self.synthesis = Synthesis(self.w_dim)


@pytest.mark.parametrize('c_dim, mapping', [(0, {}), (3, {}), (3, dict(cond_mode='flow', i_dim=2))])
def test_our_networks_have_what_is_needed(c_dim, mapping):
    G = Generator(z_dim=4, w_dim=4, c_dim=c_dim, mapping_kwargs=dict(num_layers=1, **mapping),
                  synthesis_kwargs=dict(channel_base=32), **SIZE)
    D = Discriminator(c_dim=c_dim, channel_base=32, mapping_kwargs=dict(num_layers=1), **SIZE)
    assert lacks(G, protocols.Generator) == lacks(D, protocols.Discriminator) == []


def test_what_a_network_lacks_is_named():
    G = Small()
    assert lacks(G, protocols.Generator) == []
    del G.w_dim
    G.mapping.style_mask = None
    G.synthesis = nn.Identity()
    assert lacks(G, protocols.Generator) == [
        'w_dim', 'mapping.style_mask()', 'synthesis.forward(ws)', 'synthesis.forward(noise_mode)',
        'synthesis.forward(force_fp32)', 'synthesis.forward(noise_repeat)']
    assert 'latent_dim' in lacks(nn.Linear(1, 1), protocols.Discriminator)


@pytest.mark.parametrize('c_dim', [0, 3])
def test_plain_mapping(c_dim):
    f = PlainMapping(4, c_dim, embed_features=2, num_ws=3)
    z, c = torch.randn(5, 4), torch.eye(3)[[0, 1, 2, 0, 1], :c_dim]
    ws = f(z, c)
    assert ws.shape == (5, 3, f.w_dim) and f.w_dim == (6 if c_dim else 4)
    assert torch.equal(ws[:, 0, :4], z) and torch.equal(ws[:, 0], ws[:, 2])
    assert torch.equal(ws, f.map_latent(f.latent(z, c)))
    if c_dim:
        assert torch.equal(ws[0, 0, 4:], ws[3, 0, 4:]) and not torch.equal(ws[0, 0, 4:], ws[1, 0, 4:])
    truncated = f(z, c, truncation_psi=0.5, truncation_cutoff=2)
    assert torch.equal(truncated[:, :2, :4], z[:, None].repeat(1, 2, 1) / 2) and torch.equal(truncated[:, 2], ws[:, 2])
    assert torch.equal(truncated[:, :, 4:], ws[:, :, 4:]), 'the label is not truncated'
    assert f.style_mask().tolist() == [False] * 4


@pytest.mark.parametrize('num_ws', [1, 2])
def test_an_unconditional_plain_generator_trains_with_style_mixing_and_path_length(num_ws):
    torch.manual_seed(0)
    G, D = Small(num_ws), Discriminator(c_dim=0, channel_base=32, **SIZE)
    before = {name: p.clone() for name, p in G.named_parameters()}
    adam = dict(class_name='torch.optim.Adam', lr=0.01, betas=[0.0, 0.99])
    phases = make_phases(make_terms({'G/logistic': {}, 'G/path_length': dict(interval=4)}), {'G': G, 'D': D},
                         {'G': adam, 'D': adam}, {'G': 4, 'D': 16}, style_mixing_prob=1.0)
    for phase in phases:
        phase.run([dict(z=torch.randn(4, 4), c=torch.zeros(4, 0), real_images=torch.zeros(4, 1, 8, 8),
                        real_c=torch.zeros(4, 0))])
    assert [phase.name for phase in phases] == ['Gmain', 'Greg']
    assert all(not torch.equal(p, before[name]) and p.isfinite().all() for name, p in G.named_parameters())
