"""The discriminator against recorded numbers: logits, image gradients, R1 gradients; Freeze-D; minibatch stddev."""

import pytest
import torch

from training.networks import Discriminator, MinibatchStdLayer

NETWORKS = ['d_resnet_uncond', 'd_resnet_cond', 'd_skip', 'd_orig']


@pytest.mark.parametrize('name', NETWORKS)
def test_agrees_with_golden_numbers(name, golden, agrees):
    g = golden(name)
    D = Discriminator(**g.meta['kwargs']).eval()
    D.load_state_dict(g.state_dict, strict=True)
    img = g['img'].requires_grad_()
    logits = D(img, g['c'] if g.meta['kwargs']['c_dim'] else None)
    agrees(logits, g['logits'])
    grad = torch.autograd.grad(logits.sum(), img, create_graph=True)[0]
    agrees(grad, g['img_grad'])
    penalty = grad.square().sum(dim=(1, 2, 3))
    agrees(penalty, g['r1'])
    (5 * penalty.mean()).backward()
    params = dict(D.named_parameters())
    recorded = [k for k in g.arrays if k.startswith('r1grad/')]
    largest = max(g[k].item() for k in recorded)
    for key in recorded:
        param = params[key.removeprefix('r1grad/')]
        norm = torch.zeros([]) if param.grad is None else param.grad.norm()
        # Some gradients are sums that nearly cancel: what was recorded is up to 3e-5 of the largest away from float64.
        assert norm.item() == pytest.approx(g[key].item(), rel=1e-4, abs=5e-5 * largest), key


def test_latent_of_clr_gan_agrees_with_golden_numbers(golden, agrees):
    g = golden('clr_discriminator')
    D = Discriminator(**g.meta['kwargs']).eval()
    D.load_state_dict(g.state_dict, strict=True)
    logits, latent = D(g['img'], None, return_latent=True)
    agrees(logits, g['logits'])
    agrees(latent, g['latent'])
    assert D.latent_dim == latent.shape[1] and torch.equal(D(g['img'], None), logits)


def test_published_size():
    with torch.device('meta'):
        D = Discriminator(0, 32, 3, channel_base=16384)
    assert sum(p.numel() for p in D.parameters()) == 21_507_073
    assert sum(b.numel() for b in D.buffers()) == 224


def test_frozen_layers_are_buffers_of_the_same_name_and_load():
    kwargs = dict(c_dim=2, img_resolution=16, img_channels=3, channel_base=64)
    free, frozen = Discriminator(**kwargs), Discriminator(**kwargs, block_kwargs=dict(freeze_layers=5))
    buffers = {n for n, _ in frozen.named_buffers() if not n.endswith('resample_filter')}
    assert buffers == {'b16.fromrgb.weight', 'b16.fromrgb.bias', 'b16.conv0.weight', 'b16.conv0.bias', 'b16.conv1.weight',
                       'b16.conv1.bias', 'b16.skip.weight', 'b8.conv0.weight', 'b8.conv0.bias'}
    frozen.load_state_dict(free.state_dict(), strict=True)
    img, c = torch.randn(2, 3, 16, 16), torch.eye(2)
    assert torch.equal(frozen(img, c), free(img, c))


def test_minibatch_std_groups_are_strided():
    x = torch.randn(6, 4, 3, 3)
    y = MinibatchStdLayer(group_size=3, num_channels=2)(x)
    assert y.shape == (6, 6, 3, 3) and torch.equal(y[:, :4], x)
    for i in range(6):
        group = x[[i % 2, i % 2 + 2, i % 2 + 4]]
        for f in range(2):
            spread = (group[:, 2 * f:2 * f + 2].var(dim=0, correction=0) + 1e-8).sqrt().mean()
            torch.testing.assert_close(y[i, 4 + f], spread.expand(3, 3))


@pytest.mark.parametrize('batch, group, effective', [(4, None, 4), (2, 4, 2), (5, 4, 1), (6, 4, 3), (8, 4, 4)])
def test_minibatch_std_takes_any_batch_size(batch, group, effective):
    x = torch.randn(batch, 2, 1, 1)
    y = MinibatchStdLayer(group)(x)[:, 2, 0, 0]
    expected = MinibatchStdLayer(effective)(x)[:, 2, 0, 0]
    assert torch.equal(y, expected) and (effective > 1) == bool((y > 1e-3).any())


@pytest.mark.parametrize('call, text', [
    (lambda: Discriminator(0, 4, 3), 'at least 8x8'),
    (lambda: Discriminator(0, (24, 18), 3), 'images of 18x24 .* nearest .* 24x32 or 20x28'),
    (lambda: Discriminator(0, 8, 3, channel_base=16)(torch.zeros(1, 1, 8, 8), None), 'images must be'),
    (lambda: Discriminator(2, 8, 3, channel_base=16)(torch.zeros(1, 3, 8, 8), None), 'c must be'),
])
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
