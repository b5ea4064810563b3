"""The generator against recorded numbers: state dict by name, ws, images, path-length gradients."""

import pytest
import torch

from training.networks import Generator, MappingNetwork, SynthesisNetwork

NETWORKS = ['g_skip_uncond', 'g_skip_cond', 'g_resnet', 'g_orig']


def build(g):
    G = Generator(**g.meta['kwargs']).eval()
    G.load_state_dict(g.state_dict, strict=True)
    return G, g['z'], g['c'] if g.meta['kwargs']['c_dim'] else None


@pytest.mark.parametrize('name', NETWORKS)
def test_agrees_with_golden_numbers(name, golden, agrees):
    g = golden(name)
    G, z, c = build(g)
    with torch.no_grad():
        ws = G.mapping(z, c)
        agrees(ws, g['ws'])
        agrees(G.mapping(z, c, truncation_psi=0.6, truncation_cutoff=3), g['ws_trunc'])
        for fused in (None, False, True):
            for mode in ('const', 'none'):
                agrees(G.synthesis(ws, noise_mode=mode, fused_modconv=fused), g[f'img_{mode}'])
        agrees(G(z, c, noise_mode='const'), g['img_const'])


@pytest.mark.parametrize('name', NETWORKS)
def test_path_length_gradients_agree_with_golden_numbers(name, golden, agrees):
    g = golden(name)
    G, z, c = build(g)
    ws = G.mapping(z, c)
    img = G.synthesis(ws, noise_mode='const')
    dws = torch.autograd.grad((img * g['pl_noise']).sum(), ws, create_graph=True)[0]
    lengths = dws.square().sum(2).mean(1).sqrt()
    agrees(lengths, g['pl_lengths'])
    (2 * (lengths - 0.1).square().mean()).backward()
    params = dict(G.named_parameters())
    recorded = [k for k in g.arrays if k.startswith('plgrad/')]
    largest = max(g[k].item() for k in recorded)
    for key in recorded:
        grad = params[key.removeprefix('plgrad/')].grad
        norm = torch.zeros([]) if grad is None else grad.norm()
        # Some gradients are sums that nearly cancel: what was recorded is up to 3e-5 of the largest away from float64.
        assert norm.item() == pytest.approx(g[key].item(), rel=1e-4, abs=5e-5 * largest), key


def test_state_dict_names_in_published_order():
    G = Generator(8, 3, 8, 8, 3, mapping_kwargs=dict(num_layers=1), synthesis_kwargs=dict(channel_base=64, architecture='resnet'))
    layer = ['weight', 'noise_strength', 'bias', 'resample_filter', 'noise_const', 'affine.weight', 'affine.bias']
    expected = ['b4.const', 'b4.resample_filter', *(f'b4.conv1.{n}' for n in layer), 'b8.resample_filter',
                *(f'b8.conv0.{n}' for n in layer), *(f'b8.conv1.{n}' for n in layer),
                'b8.torgb.weight', 'b8.torgb.bias', 'b8.torgb.affine.weight', 'b8.torgb.affine.bias',
                'b8.skip.weight', 'b8.skip.resample_filter']
    names = list(G.state_dict())
    mapping = [n for n in names if n.startswith('mapping.')]
    assert {n for n in names if n.startswith('synthesis.')} == {f'synthesis.{n}' for n in expected}
    assert mapping == [f'mapping.{n}' for n in ('w_avg', 'embed.weight', 'embed.bias', 'fc0.weight', 'fc0.bias')]


@pytest.mark.parametrize('resolution, base, layers, sizes', [(32, 16384, 2, (525_312, 19_422_227)),
                                                            (256, 16384, 8, (2_101_248, 22_666_210))])
def test_published_sizes(resolution, base, layers, sizes):
    with torch.device('meta'):
        mapping = MappingNetwork(512, 0, 512, num_ws=8, num_layers=layers)
        synthesis = SynthesisNetwork(512, resolution, 3, channel_base=base)
    assert tuple(sum(p.numel() for p in m.parameters()) for m in (mapping, synthesis)) == sizes
    assert synthesis.num_ws == 2 * resolution.bit_length() - 4


def test_w_avg_follows_the_batch_mean_in_training_only():
    net = MappingNetwork(4, 0, 6, num_ws=2, num_layers=1).train()
    z = torch.randn(5, 4)
    w = net(z, None)[:, 0]
    torch.testing.assert_close(net.w_avg, 0.005 * w.mean(0).detach())
    before = net.w_avg.clone()
    net(z, None, skip_w_avg_update=True)
    net.eval()(z, None)
    torch.testing.assert_close(net.w_avg, before)
    torch.testing.assert_close(net(z, None, truncation_psi=0), before.expand(5, 2, 6))


def test_random_noise_differs_and_none_ignores_strength():
    G = Generator(4, 0, 4, 8, 3, synthesis_kwargs=dict(channel_base=32)).eval()
    for p in (G.synthesis.b8.conv0.noise_strength, G.synthesis.b4.conv1.noise_strength):
        torch.nn.init.ones_(p)
    z = torch.randn(2, 4)
    assert not torch.equal(G(z, None), G(z, None))
    assert torch.equal(G(z, None, noise_mode='none'), G(z, None, noise_mode='none'))


def test_half_precision_stays_off_on_the_cpu():
    G = Generator(4, 0, 4, 16, 3, synthesis_kwargs=dict(channel_base=64, num_fp16_res=4, conv_clamp=256)).eval()
    assert G.synthesis.b16.use_fp16 and G.synthesis.b8.use_fp16 and not G.synthesis.b4.use_fp16
    z = torch.randn(2, 4)
    a, b = (G(z, None, noise_mode='const', force_fp32=f) for f in (False, True))
    assert a.dtype == torch.float32 and torch.equal(a, b)


@pytest.mark.parametrize('call, text', [
    (lambda: SynthesisNetwork(4, 18, 3), 'images of 18x18 .* nearest .* 20x20 or 16x16'),
    (lambda: SynthesisNetwork(4, 8, 3, architecture='plain'), 'architecture'),
    (lambda: MappingNetwork(0, 0, 4, 2), 'both 0'),
    (lambda: MappingNetwork(4, 2, 4, 2)(torch.zeros(1, 4), None), r'c must be \[N, 2\]'),
    (lambda: MappingNetwork(4, 0, 4, None)(torch.zeros(1, 4), None, truncation_psi=0.5), 'w_avg'),
    (lambda: SynthesisNetwork(4, 8, 3)(torch.zeros(1, 3, 4)), 'ws must be'),
    (lambda: SynthesisNetwork(4, 8, 3)(torch.zeros(1, 4, 4), noise_mode='some'), 'noise_mode'),
])
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
