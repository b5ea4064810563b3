"""The optimisation of a projection, against computations by the book in float64; it goes on bit by bit where it was."""

import copy

import numpy as np
import pytest
import torch

from training.networks import Generator
from training.sampling.projection import search as projection
from training.sampling.projection.search import (
    Projection,
    learning_rate,
    noise_regularization,
    normalize_,
    w_noise_scale,
    w_statistics,
)

CPU = torch.device('cpu')


def generator(c_dim=0, noise_strength=0.1):
    """16x16, RGB, w of 8 numbers."""
    torch.manual_seed(1)
    G = Generator(z_dim=8, w_dim=8, c_dim=c_dim, img_resolution=16, img_channels=3, mapping_kwargs=dict(num_layers=2),
                  synthesis_kwargs=dict(channel_base=64))
    with torch.no_grad():
        for name, p in G.named_parameters():
            if name.endswith('noise_strength'):
                p.fill_(noise_strength)
    return G.eval().requires_grad_(False)


def flat(images):
    """The simplest embedding."""
    return images.flatten(1)


def label(G, index=None):
    return torch.eye(G.c_dim)[index:index + 1] if G.c_dim else torch.zeros(1, 0)


def image_of(G, seed):
    """ws and image of a seed."""
    ws = G.mapping(torch.from_numpy(np.random.RandomState(seed).randn(1, 8)).float(), label(G, 0))
    return ws, G.synthesis(ws, noise_mode='const')


# Schedules.

def test_the_learning_rate_rises_stays_and_falls():
    assert [learning_rate(t) for t in (0, 0.025, 0.05, 0.5, 0.75)] == pytest.approx([0, 0.05, 0.1, 0.1, 0.1], abs=1e-15)
    assert learning_rate(0.875) == pytest.approx(0.05) and learning_rate(1 - 1e-9) == pytest.approx(0, abs=1e-9)
    t = np.arange(1000) / 1000
    cosine = (1 - np.cos(np.pi * np.clip(4 * (1 - t), 0, 1))) / 2
    np.testing.assert_allclose([learning_rate(x) for x in t], 0.1 * cosine * np.clip(20 * t, 0, 1), rtol=1e-12, atol=1e-15)


def test_the_noise_on_w_fades_out():
    assert [w_noise_scale(t) for t in (0, 0.375, 0.75, 0.99)] == pytest.approx([0.05, 0.0125, 0, 0])


# Statistics of w.

@pytest.mark.parametrize('domain', [None, 0, 2])
def test_statistics_of_w_are_those_of_ten_thousand_latents(domain):
    G = generator(c_dim=0 if domain is None else 3)
    z = np.random.RandomState(123).randn(10_000, 8)
    w = G.mapping(torch.from_numpy(z).float(), label(G, domain).expand(10_000, -1))[:, 0].double().numpy()
    mean, deviation = w_statistics(G, label(G, domain))
    assert mean.dtype == torch.float32
    np.testing.assert_allclose(mean.numpy(), w.mean(axis=0), rtol=1e-5, atol=1e-7)
    assert deviation == pytest.approx(np.sqrt(((w - w.mean(axis=0)) ** 2).sum() / 10_000), rel=1e-5)


def test_statistics_are_those_of_the_class():
    G = generator(c_dim=3)
    means = [w_statistics(G, label(G, i))[0] for i in range(3)]
    assert min((means[i] - means[j]).norm() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.01


# Noise inputs.

def regularization_by_the_book(noise):
    """Loops, in float64."""
    total = 0.0
    for level in noise:
        while True:
            h, w = level.shape
            for dy, dx in ((0, 1), (1, 0)):
                products = [level[y, x] * level[(y - dy) % h, (x - dx) % w] for y in range(h) for x in range(w)]
                total += (sum(products) / (h * w)) ** 2
            if min(h, w) <= 8:
                break
            level = level.reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3))
    return total


@pytest.mark.parametrize('sides', [[4], [8], [16], [32], [4, 8, 8, 16], [(12, 16), (32, 24)], [(14, 10)]])
def test_noise_regularization_is_that_of_the_book(sides):
    rng = np.random.RandomState(0)
    noise = [rng.randn(*((r, r) if isinstance(r, int) else r)) + 0.3 for r in sides]
    tensors = [torch.from_numpy(x) for x in noise]
    assert noise_regularization(tensors).item() == pytest.approx(regularization_by_the_book(noise), rel=1e-10)


def test_noise_regularization_has_its_gradient():
    x = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    noise_regularization([x]).backward()
    for y, z in ((0, 0), (3, 15), (15, 8)):
        up, down = x.detach().clone(), x.detach().clone()
        up[y, z] += 1e-5
        down[y, z] -= 1e-5
        slope = (regularization_by_the_book([up.numpy()]) - regularization_by_the_book([down.numpy()])) / 2e-5
        assert x.grad[y, z].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)
    assert noise_regularization([]).item() == 0, 'of a network without noise inputs'


def test_noise_is_normalized():
    noise = [3 * torch.randn(r, r, generator=torch.Generator().manual_seed(r)) + 2 for r in (4, 16)]
    directions = [(x - x.mean()) / x.std(correction=0) for x in noise]
    normalize_(noise)
    for x, expected in zip(noise, directions, strict=True):
        assert x.mean().item() == pytest.approx(0, abs=1e-6) and x.square().mean().item() == pytest.approx(1, rel=1e-5)
        torch.testing.assert_close(x, expected)


# The optimisation.

def adam(p, grad, moments, lr, step):
    """Kingma and Ba 2015, algorithm 1; step from 1."""
    m, v = moments
    m.mul_(0.9).add_(0.1 * grad)
    v.mul_(0.999).add_(0.001 * grad ** 2)
    p -= lr * (m / (1 - 0.9 ** step)) / ((v / (1 - 0.999 ** step)).sqrt() + 1e-8)


def test_steps_are_those_of_the_book():
    G = generator()
    target = image_of(G, 5)[1]
    p = Projection(G, flat, target, label(G), num_steps=10, seed=3)
    copied = copy.deepcopy(G.synthesis)
    layers = [module for module in copied.modules() if hasattr(module, 'noise_const')]
    assert len(layers) == 5

    def draw(*key, shape):  # the numbers themselves are the projection's own affair
        return p._normal(*key, shape=torch.Size(shape))

    noise = [draw(projection.INITIAL_NOISE, i, shape=layer.noise_const.shape).double() for i, layer in enumerate(layers)]
    w = p.mean.double().clone()
    moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in (w, *noise)]
    for k in range(6):
        t = k / 10
        leaves = [x.float().requires_grad_() for x in (w, *noise)]
        for layer, x in zip(layers, leaves[1:], strict=True):
            del layer.noise_const
            layer.noise_const = x
        disturbed = leaves[0] + draw(projection.W_STEP, k, shape=[1, 1, 8])[0, 0] * p.deviation * 0.05 * max(0, 1 - t / 0.75) ** 2
        image = copied(disturbed.expand(1, G.num_ws, 8), noise_mode='const')
        distance = (image - target).square().sum()
        penalty = torch.stack([noise_regularization([x]) for x in leaves[1:]]).sum()
        grads = torch.autograd.grad(distance + 1e5 * penalty, leaves)
        for x, grad, moment in zip((w, *noise), grads, moments, strict=True):
            adam(x, grad.double(), moment, 0.1 * min(1, t / 0.05), k + 1)
        for x in noise:
            x -= x.mean()
            x /= x.square().mean().sqrt()

        found, loss = p.advance()
        assert p.step == k + 1 and found.item() == pytest.approx(distance.item(), rel=2e-3)
        assert loss.item() == pytest.approx((distance + 1e5 * penalty).item(), rel=2e-3)
        torch.testing.assert_close(p.path[k].double(), w, rtol=2e-3, atol=2e-3)
        for mine, x in zip(p.state_dict()['noise'].values(), noise, strict=True):
            torch.testing.assert_close(mine.double(), x, rtol=2e-2, atol=2e-2)
    assert (p.path[6:] == 0).all() and torch.equal(p.ws(slice(5, 6)), p.path[5].expand(1, G.num_ws, -1))


def test_an_image_of_the_network_is_found_again():
    G = generator(noise_strength=0)
    ws, target = image_of(G, 5)
    p = Projection(G, flat, target, label(G), num_steps=150, seed=0)
    begun = (flat(G.synthesis(p.mean.expand(1, G.num_ws, -1), noise_mode='const')) - flat(target)).square().sum()
    for _ in range(150):
        p.advance()
    found = G.synthesis(p.ws(slice(-1, None)), noise_mode='const')
    assert (found - target).square().sum() < begun / 100
    assert (p.path[-1] - ws[0, 0]).norm() < 0.3 * (p.mean - ws[0, 0]).norm()


def test_the_network_and_the_global_generators_stay_as_they_are():
    G = generator()
    before = {name: x.clone() for name, x in G.state_dict().items()}
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(7)
    np.random.seed(7)
    p = Projection(G, flat, image_of(G, 1)[1], label(G), num_steps=3, seed=0)
    for _ in range(3):
        p.advance()
    assert torch.equal(torch.rand(3), expected[0]) and np.array_equal(np.random.rand(3), expected[1])
    assert G.state_dict().keys() == before.keys() and all(torch.equal(x, before[name]) for name, x in G.state_dict().items())
    assert not any(x.requires_grad for x in (*G.parameters(), *G.buffers()))


def test_the_seed_decides():
    G = generator()
    target = image_of(G, 1)[1]

    def path(seed):
        p = Projection(G, flat, target, label(G), num_steps=4, seed=seed)
        for _ in range(4):
            p.advance()
        return p.path

    assert torch.equal(path(0), path(0)) and not torch.equal(path(0), path(1))


@pytest.mark.parametrize('at', [0, 1, 4, 7])
def test_it_goes_on_bit_by_bit(at, tmp_path):
    G = generator()
    whole, first, second = (Projection(G, flat, image_of(G, 1)[1], label(G), num_steps=8, seed=0) for _ in range(3))
    losses = [whole.advance() for _ in range(8)]
    for _ in range(at):
        first.advance()
    torch.save(first.state_dict(), tmp_path / 'state.pt')
    second.load_state_dict(torch.load(tmp_path / 'state.pt', weights_only=True))
    assert second.step == at and losses[at:] == [second.advance() for _ in range(8 - at)]
    assert torch.equal(second.path, whole.path) and torch.equal(second.w, whole.w)


def test_a_network_without_noise_inputs_will_do():
    torch.manual_seed(0)
    G = Generator(z_dim=8, w_dim=8, c_dim=0, img_resolution=8, img_channels=1, mapping_kwargs=dict(num_layers=1),
                  synthesis_kwargs=dict(channel_base=32, use_noise=False)).eval().requires_grad_(False)
    p = Projection(G, flat, torch.zeros(1, 1, 8, 8), label(G), num_steps=30, seed=0)
    distances = [p.advance() for _ in range(30)]
    assert all(distance == loss for distance, loss in distances) and distances[-1][0] < distances[0][0]
