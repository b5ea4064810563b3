"""Each loss term: its value by the equation, and its gradient against finite differences in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from training.losses import PhaseBatch
from training.methods import built_in, make_terms, term_class
from training.methods.stylegan2.path_length import PathLength
from training.methods.stylegan2.r1 import R1


class ToyMapping(torch.nn.Module):
    """Three coordinates, of which the first two are style, and the second of these is dead."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 4, dtype=torch.float64)
        self.importance = torch.nn.Parameter(torch.tensor([[0.8, -0.3]], dtype=torch.float64))
        self.calls = []

    def latent(self, z, c):
        return z + 0.1 * z ** 3

    def map_latent(self, latent, skip_w_avg_update=False):
        self.calls.append(skip_w_avg_update)
        return torch.tanh(self.fc(latent))[:, None].repeat(1, 5, 1)

    def forward(self, z, c, skip_w_avg_update=False):
        return self.map_latent(self.latent(z, c), skip_w_avg_update)

    def sparsity(self):
        return self.importance.abs().mean()

    def style_mask(self):
        return torch.tensor([True, False, False])


class ToySynthesis(torch.nn.Module):
    """Smooth in everything, with every one of the 5 ws in use."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(20, 2 * 4 * 4, dtype=torch.float64)

    def forward(self, ws, noise_repeat=1):
        return torch.sin(self.fc(ws.flatten(1))).reshape(-1, 2, 4, 4)


class ToyD(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc0, self.fc1 = torch.nn.Linear(32, 6, dtype=torch.float64), torch.nn.Linear(6, 1, dtype=torch.float64)

    def forward(self, img, c, return_latent=False, force_fp32=False):
        features = torch.tanh(self.fc0(img.flatten(1)))
        return (self.fc1(features), features[:, :3]) if return_latent else self.fc1(features)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    G = torch.nn.Module()
    G.mapping, G.synthesis = ToyMapping(), ToySynthesis()
    return G, ToyD()


def make_batch(G, D, term=None, n=4, **kwargs):
    kwargs.setdefault('keep_unmixed', term is not None and term.needs_unmixed)
    g = torch.Generator().manual_seed(1)
    z, x = (torch.randn(s, dtype=torch.float64, generator=g) for s in ((n, 3), (n, 2, 4, 4)))
    x.requires_grad_(term is not None and 'real' in term.needs_grad)
    kwargs.setdefault('generated_grad', term is not None and term.net == 'D' and 'generated' in term.needs_grad)
    return PhaseBatch(G, D, z, torch.zeros(n, 0), x, torch.zeros(n, 0), **kwargs)


@pytest.mark.parametrize('key', [key for method in built_in() for key in method.terms])
def test_gradient_agrees_with_finite_differences(key, networks):
    """Along a random direction in the space of all parameters, by central differences; double backward included."""
    G, D = networks
    term = term_class(key)().double()
    module = {'G': G, 'D': D}[term.net]
    params = list(module.parameters())
    initial = {k: v.clone() for k, v in term.state_dict().items()}

    def loss():
        torch.manual_seed(2)  # the same noise at every evaluation
        term.load_state_dict(initial)
        return term(make_batch(G, D, term)).mean()

    grads = torch.autograd.grad(loss(), params, allow_unused=True)
    direction = [torch.randn_like(p) for p in params]
    analytic = sum((g * d).sum() for g, d in zip(grads, direction, strict=True) if g is not None).item()
    eps, values = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(params, direction, strict=True):
                p.add_(d, alpha=sign * eps)
        values.append(loss().item())
        with torch.no_grad():
            for p, d in zip(params, direction, strict=True):
                p.sub_(d, alpha=sign * eps)
    numeric = (values[0] - values[1]) / (2 * eps)
    assert abs(analytic) > 1e-6, 'a gradient of zero shows nothing'
    assert analytic == pytest.approx(numeric, rel=1e-5)


def test_logistic_terms_by_the_equation(networks):
    batch = make_batch(*networks)
    fake, real = batch.fake_logits[:, 0], batch.real_logits[:, 0]
    expected = {'G/logistic': -fake, 'D/logistic_fake': fake, 'D/logistic_real': -real}
    for key, x in expected.items():
        torch.testing.assert_close(term_class(key)()(batch), torch.log1p(x.exp()))


def test_r1_by_the_equation(networks):
    G, D = networks
    batch = make_batch(G, D, R1(), augment=lambda x: 2 * x)
    value = R1()(batch)
    for i in range(4):
        x = batch.real_images[i:i + 1].detach().requires_grad_()
        gradient = torch.autograd.grad(D(2 * x, None).sum(), x)[0]
        torch.testing.assert_close(value[i], gradient.square().sum())


def test_path_length_by_the_equation(networks):
    """The length of Jᵀy from the full Jacobian; the moving average before and after."""
    G, D = networks
    term = PathLength(decay=0.25).double()
    term.pl_mean.fill_(0.3)
    batch = make_batch(G, D, round_size=8)  # 4 rows are what a round of 8 leaves
    torch.manual_seed(5)
    y = torch.randn(4, 2, 4, 4, dtype=torch.float64) / 4
    lengths = []
    for i in range(4):
        J = torch.autograd.functional.jacobian(lambda w: G.synthesis(w)[0], batch.ws[i:i + 1].detach())[:, :, :, 0]
        Jty = torch.einsum('chwli,chw->li', J, y[i])
        lengths.append(math.sqrt(Jty.square().sum(1).mean()))
    torch.manual_seed(5)
    value = term(batch)
    lengths = torch.tensor(lengths, dtype=torch.float64)
    mean = 0.75 * 0.3 + 0.25 * lengths.mean()
    torch.testing.assert_close(value, (lengths - mean).square())
    torch.testing.assert_close(term.pl_mean, mean)
    assert not term.pl_mean.requires_grad


def test_path_length_gradient_flows_through_its_mean(networks):
    """As published, the mean used within a step is attached: its gradient has relative size `decay`."""
    G, D = networks
    grads = []
    for decay in (0.0, 1.0):
        torch.manual_seed(5)
        batch = make_batch(G, D, n=1, round_size=2)
        value = PathLength(decay=decay).double()(batch).mean()
        grads.append(torch.autograd.grad(value, G.synthesis.fc.weight)[0].norm().item())
    assert grads[0] > 1e-4 and grads[1] < 1e-12  # with decay 1, one sample is its own mean


@pytest.mark.parametrize('size, rows', [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_path_length_looks_at_part_of_the_batch_but_never_at_none(size, rows):
    assert PathLength().num_rows(size) == rows


def test_style_mixing_keeps_the_first_ws_and_spares_w_avg(networks):
    G, D = networks
    crossovers = set()
    for seed in range(200):
        torch.manual_seed(seed)
        G.mapping.calls.clear()
        batch = make_batch(G, D, style_mixing_prob=0.9)
        plain = G.mapping(batch.z, batch.c)
        G.mapping.calls.clear()
        same = (batch.ws == plain).all(dim=2).all(dim=0).tolist()
        k = same.index(False) if False in same else 5
        assert same == [True] * k + [False] * (5 - k)
        assert G.mapping.calls == ([False] if k == 5 else [False, True])
        crossovers.add(k)
    assert crossovers == {1, 2, 3, 4, 5}
    torch.manual_seed(0)
    batch = make_batch(G, D)
    assert torch.equal(batch.ws, G.mapping(batch.z, batch.c))


def test_forward_passes_are_shared(networks):
    G, D = networks
    batch = make_batch(G, D)
    G.mapping.calls.clear()
    for key in ('G/logistic', 'D/logistic_fake'):
        term_class(key)()(batch)
    assert len(G.mapping.calls) == 1 and batch.images is batch.images


def test_terms_of_weight_zero_are_left_out():
    terms = make_terms({'G/logistic': {}, 'D/r1': {'weight': 0.0, 'interval': 16}, 'G/path_length': {'weight': 2.0}})
    assert [t.name for t in terms] == ['logistic', 'path_length']


def test_softplus_stays_finite_for_large_logits():
    batch = PhaseBatch(None, None, torch.zeros(2, 1), None, None, None)
    batch.fake_logits = torch.tensor([[1e4], [-1e4]])
    assert term_class('G/logistic')()(batch).tolist() == [0.0, 1e4] == F.softplus(-batch.fake_logits)[:, 0].tolist()
