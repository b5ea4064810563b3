"""The mapping network of i-StyleGAN against recorded numbers, and what it promises of style, content and domain."""

import math
import re

import pytest
import torch

from training.networks import MappingNetwork

MODES = ['flow', 'mlp', 'concat']


def make_net(i_dim=4, importance=(0.9, 0.05, -0.7, 0.5), mode='flow', z_dim=7, c_dim=3, seed=0, **kwargs):
    """A network whose layers all have an effect. The second and third style coordinates are dead."""
    torch.manual_seed(seed)
    net = MappingNetwork(z_dim, c_dim, 6, num_ws=3, num_layers=2, cond_mode=mode, i_dim=i_dim, flow_dim=3, **kwargs).eval()
    with torch.no_grad():
        if net.i_dim:
            net.importance.copy_(torch.tensor(importance[:i_dim] + importance[-1:] * (i_dim - len(importance))))
    return net


def inputs(net, n=6, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, net.z_dim, generator=g), torch.eye(net.c_dim).repeat(n, 1)[:n]


# Recorded numbers.


@pytest.mark.parametrize('norm', [0, 1])
@pytest.mark.parametrize('mode', MODES)
def test_agrees_with_golden_numbers(mode, norm, golden, agrees):
    g = golden(f'mapping_{mode}_norm{norm}')
    net = MappingNetwork(**g.meta['kwargs']).eval()
    assert list(net.state_dict()) == list(g.state_dict), 'names in the published order'
    net.load_state_dict(g.state_dict, strict=True)
    with torch.no_grad():
        agrees(net(g['z'], g['c']), g['ws'])
        agrees(net(g['z'], g['c'], truncation_psi=0.5), g['ws_trunc'])
        cut = net(g['z'], g['c'], truncation_psi=0.5, truncation_cutoff=2)
        agrees(cut, torch.cat([g['ws_trunc'][:, :2], g['ws'][:, 2:]], dim=1))


def wave(shape, a):
    return torch.sin(a * torch.arange(1, 1 + math.prod(shape), dtype=torch.float64)).reshape(shape)


def fill(net):
    """Every tensor a sine whose phase depends on its name; layers of learning rate 0.01 a hundred times larger."""
    for name, value in net.state_dict().items():
        filled = torch.sin(0.37 * torch.arange(1, 1 + value.numel(), dtype=torch.float64) + 0.11 * (sum(name.encode()) % 1000))
        if re.fullmatch(r'(flow_|\d+mlp_)?fc\d+\.weight', name):
            filled *= 100
        value.copy_((0.5 + 0.5 * filled if name == 'importance' else filled).reshape(value.shape))


@pytest.mark.parametrize('kwargs, total, absolute, first, last', [
    (dict(cond_mode='flow', flow_blocks=1), 18.349883, 28.518190, (-0.268771, 1.450998, -0.306407), 1.189216),
    (dict(cond_mode='flow', flow_blocks=2), 20.397182, 31.591112, (-0.310331, 1.681967, -0.355716), 1.591991),
    (dict(cond_mode='flow', flow_blocks=3), 20.765668, 32.133743, (-0.326736, 1.779620, -0.377730), 1.562502),
    (dict(cond_mode='flow', flow_norm=0), 16.833862, 26.021278, (-0.262144, 1.431766, -0.305467), 1.193439),
    (dict(cond_mode='flow', use_label=1), 16.882260, 27.368579, (-0.406892, 1.996654, -0.382959), 0.366863),
    (dict(cond_mode='mlp'), 18.295151, 28.449197, (-0.263333, 1.421210, -0.300125), 1.133325),
    (dict(cond_mode='mlp', flow_norm=0), 13.675848, 21.157348, (-0.222448, 1.206001, -0.256343), 1.024010),
    (dict(), 12.213894, 18.775991, (-0.121347, 0.716184, -0.164738), 0.738098),
])
def test_published_numbers_for_sine_weights(kwargs, total, absolute, first, last):
    net = MappingNetwork(12, 3, 8, num_ws=6, num_layers=2, embed_features=6, i_dim=8, flow_dim=5, **kwargs).eval()
    fill(net)
    if net.i_dim:
        assert net.style_mask().tolist() == [True] * 5 + [False] * 7
    label = torch.eye(10)[[0, 3, 5, 9]] if net.use_label else None
    ws = net(wave((4, 12), 0.17), torch.eye(3)[[0, 1, 2, 0]], label=label).detach()
    assert ws.shape == (4, 6, 8) and torch.equal(ws, ws[:, :1].expand(-1, 6, -1))
    w = ws[:, 0].flatten()
    got = [w.sum().item(), w.abs().sum().item(), *w[:3].tolist(), w[-1].item()]
    assert got == pytest.approx([total, absolute, *first, last], rel=1e-4)


def test_names_of_every_part_in_the_published_order():
    names = list(MappingNetwork(8, 2, 6, 3, num_layers=1, cond_mode='flow', use_label=1).state_dict())
    layers = ['label_embed', 'embed', 'flow', 'flow_fc0', 'flow_fc1', 'fc0']
    assert names[:2] == ['importance', 'w_avg'] and list(dict.fromkeys(n.split('.')[0] for n in names[2:])) == layers
    names = list(MappingNetwork(8, 2, 6, 3, num_layers=1, cond_mode='mlp').state_dict())
    layers = ['0mlp_fc0', '0mlp_fc1', '1mlp_fc0', '1mlp_fc1', 'fc0']
    assert names[:2] == ['importance', 'w_avg'] and list(dict.fromkeys(n.split('.')[0] for n in names[2:])) == layers


def test_a_new_network_lets_every_style_coordinate_live():
    net = MappingNetwork(512, 3, 512, 4, num_layers=2, cond_mode='flow', i_dim=256)
    assert net.importance.tolist() == [[1.0] * 256] and net.style_mask().tolist() == [True] * 256 + [False] * 256
    assert net.flow_fc2.weight.shape == (256 * 71, 512) and net.sparsity() == 1
    assert [getattr(net, f'flow_fc{i}').activation for i in range(3)] == ['lrelu', 'lrelu', 'linear']
    assert {getattr(net, f'{name}{i}').lr_multiplier for name in ('flow_fc', 'fc') for i in range(2)} == {0.01}


# Style, content and domain.


def test_only_coordinates_above_the_threshold_live():
    above = torch.nextafter(torch.tensor(0.1), torch.tensor(1.0)).item()
    net = make_net(i_dim=5, importance=(0.1, above, 0.0999, -0.9, 3.0))
    assert net.style_mask().tolist() == [False, True, False, False, True, False, False]
    assert not net.style_mask().requires_grad


@pytest.mark.parametrize('norm', [0, 1])
@pytest.mark.parametrize('mode', ['flow', 'mlp'])
def test_the_domain_moves_living_style_coordinates_and_nothing_else(mode, norm):
    net = make_net(mode=mode, flow_norm=norm)
    z, _ = inputs(net, 3)
    latents = [net.latent(z, torch.eye(3)[[d] * 3]) for d in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert ((latents[a] != latents[b]) == net.style_mask()).all()


@pytest.mark.parametrize('mode', ['flow', 'mlp'])
def test_without_normalisation_all_other_coordinates_pass_through(mode):
    net = make_net(mode=mode, flow_norm=0)
    z, c = inputs(net)
    assert ((net.latent(z, c) == z) == ~net.style_mask()).all()


def test_the_shift_is_importance_times_an_increasing_function_of_the_coordinate_itself():
    net = make_net(flow_norm=0, i_dim=2, importance=(0.9, 0.5))
    grid = torch.linspace(-3, 3, 61)
    z, c = torch.zeros(61, 7), torch.eye(3)[[1] * 61]
    z[:, 0] = grid
    shift = net.latent(z, c).detach() - z
    assert (shift[:, 0].diff() > 0).all()
    torch.testing.assert_close(shift[:, 1], shift[:1, 1].expand(61))
    with torch.no_grad():
        net.importance[0, 0] = 0.45
    torch.testing.assert_close((net.latent(z, c) - z)[:, 0] * 2, shift[:, 0])


@pytest.mark.parametrize('i_dim, importance', [
    (4, (0.9, 0.05, -0.7, 0.5)), (7, (0.9, 0.05, -0.7, 0.5)), (7, (0.9,)), (4, (0.01,)), (4, (0.9,)), (7, (0.01,)), (1, (0.9,))])
@pytest.mark.parametrize('mode', ['flow', 'mlp'])
def test_style_and_content_each_have_unit_mean_square(mode, i_dim, importance):
    """One of the two may be empty: then there is nothing to normalise, and no NaN either."""
    net = make_net(i_dim, importance, mode)
    z, c = inputs(net)
    x = net.latent(100 * z, c)
    ratio = x / make_net(i_dim, importance, mode, flow_norm=0).latent(100 * z, c)
    for group in (net.style_mask(), ~net.style_mask()):
        if group.any():
            torch.testing.assert_close(x[:, group].square().mean(dim=1), torch.ones(6))
            torch.testing.assert_close(ratio[:, group], ratio[:, group][:, :1].expand(-1, int(group.sum())))
    ws = net(z, c)
    assert ws.isfinite().all()
    ws.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize('mode', ['flow', 'mlp'])
def test_dead_coordinates_get_no_gradient_from_the_image(mode):
    net = make_net(mode=mode)
    z, c = inputs(net)
    net(z, c).square().sum().backward()
    assert ((net.importance.grad[0] != 0) == net.style_mask()[:4]).all()


def test_each_domain_has_its_own_mlp():
    net = make_net(mode='mlp', flow_norm=0)
    z, _ = inputs(net, 5)
    domains = [2, 0, 1, 2, 1]
    x = net.latent(z, torch.eye(3)[domains])
    living = net.style_mask()[:4]
    for row, d in enumerate(domains):
        h = z[row:row + 1, :4]
        for i in range(3):
            h = getattr(net, f'{d}mlp_fc{i}')(h)
        expected = torch.where(living, z[row, :4] + net.importance[0] * h[0], z[row, :4])
        torch.testing.assert_close(x[row, :4], expected)


def test_z_is_not_normalised_before_the_flow():
    net = make_net(flow_norm=0)
    z, c = inputs(net)
    assert torch.equal(net.latent(2 * z, c)[:, 4:], 2 * z[:, 4:])


# Arguments.


@pytest.mark.parametrize('psi, cutoff', [(1, None), (0.7, None), (0.7, 2)])
@pytest.mark.parametrize('mode', MODES)
def test_latents_of_any_precision(mode, psi, cutoff):
    net = make_net(mode=mode)
    net.w_avg.normal_()
    z, c = inputs(net)
    ws = net(z, c, truncation_psi=psi, truncation_cutoff=cutoff)
    double = net(z.double(), c.double(), truncation_psi=psi, truncation_cutoff=cutoff)
    assert double.dtype == torch.float32 and torch.equal(double, ws)


@pytest.mark.parametrize('n', [1, 2, 5])
@pytest.mark.parametrize('mode, c_dim', [('flow', 3), ('mlp', 3), ('concat', 3), ('flow', 0), ('mlp', 0), ('concat', 0)])
def test_sparsity_comes_as_the_second_of_a_pair_in_every_mode(mode, c_dim, n):
    net = make_net(mode=mode, c_dim=c_dim)
    z, c = inputs(net, n)
    pair = net(z, c, sparse_loss=True)
    assert type(pair) is tuple and len(pair) == 2
    assert torch.equal(pair[0], net(z, c)) and pair[0].shape == (n, 3, 6)
    styled = mode != 'concat' and c_dim > 0
    assert pair[1].item() == pytest.approx((0.9 + 0.05 + 0.7 + 0.5) / 4 if styled else 0)
    assert pair[1].requires_grad == styled
    assert net.style_mask().tolist() == ([True, False, False, True] if styled else [False] * 4) + [False] * 3


def test_without_labels_all_modes_are_the_same_network():
    plain, *others = (make_net(mode=mode, c_dim=0) for mode in ('concat', 'flow', 'mlp'))
    z, c = inputs(plain)
    assert list(plain.state_dict()) == ['w_avg', 'fc0.weight', 'fc0.bias', 'fc1.weight', 'fc1.bias']
    for net in others:
        assert list(net.state_dict()) == list(plain.state_dict())
        assert torch.equal(net(z, c), plain(z, c)) and torch.equal(net(z, None), plain(z, c))


def test_w_avg_follows_only_while_training_and_unless_told_not_to():
    net = make_net().train()
    z, c = inputs(net)
    net(z, c, skip_w_avg_update=True)
    net.map_latent(net.latent(z, c), skip_w_avg_update=True)
    assert net.w_avg.abs().max() == 0
    w = net(z, c)[:, 0].detach()
    torch.testing.assert_close(net.w_avg, 0.005 * w.mean(dim=0))


def test_the_embedding_of_a_second_label_is_joined_to_the_latent():
    net = make_net(use_label=1, label_dim=5)
    z, c = inputs(net)
    one, other = (net.latent(z, c, torch.eye(5)[[k] * 6]) for k in (0, 1))
    assert one.shape == (6, 7 + 6) and torch.equal(one[:, :7], other[:, :7]) and not torch.equal(one[:, 7:], other[:, 7:])
    torch.testing.assert_close(one[:, 7:].square().mean(dim=1), torch.ones(6))


@pytest.mark.parametrize('call, text', [
    (lambda: make_net(mode='film'), 'concat, flow, mlp'),
    (lambda: make_net(i_dim=8), 'i_dim=8: .*z_dim=7'),
    (lambda: make_net(mode='mlp', i_dim=8), 'i_dim=8'),
    (lambda: make_net(i_dim=0, importance=()), 'i_dim=0: from 1'),
    (lambda: make_net()(torch.zeros(2, 7), None), r'c must be \[N, 3\]'),
    (lambda: make_net()(torch.zeros(2, 6), torch.zeros(2, 3)), r'z must be \[N, 7\]'),
    (lambda: make_net(use_label=1)(torch.zeros(2, 7), torch.zeros(2, 3)), r'label must be \[N, 10\], not nothing'),
])
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
