"""The Jacobian term of CG-GAN against the Jacobian itself, and what its two images may and may not differ in."""

import itertools

import pytest
import torch

from torch_utils import training_stats
from training.losses import PhaseBatch, make_phases
from training.methods import make_terms
from training.methods.cg_gan.jacobian_sparsity import JACOBIANS, PENALTIES, JacobianSparsity, random_coordinates
from training.methods.i_stylegan.flow_sparsity import FlowSparsity
from training.networks import Discriminator, Generator, layers

ALL = list(itertools.product(JACOBIANS, PENALTIES))
LIVING = [0, 2, 3]  # of both generators below


class ToyMapping(torch.nn.Module):
    """Smooth, in float64. Four style coordinates, of which the second is dead, and one of content."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.rand(5, dtype=torch.float64) + 0.5)
        self.fc = torch.nn.Linear(5, 4, dtype=torch.float64)
        self.mask = torch.tensor([True, False, True, True, False])

    def style_mask(self):
        return self.mask

    def latent(self, z, c):
        return z * self.scale

    def map_latent(self, latent, skip_w_avg_update=False):
        return torch.tanh(self.fc(latent))[:, None].repeat(1, 2, 1)


class ToySynthesis(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(8, 2 * 4 * 4, dtype=torch.float64)
        self.contrast = 1.0

    def forward(self, ws, noise_repeat=1):
        return self.contrast * torch.sin(self.fc(ws.flatten(1))).reshape(-1, 2, 4, 4)


@pytest.fixture
def toy():
    torch.manual_seed(0)
    G = torch.nn.Module()
    G.mapping, G.synthesis = ToyMapping(), ToySynthesis()
    return G


@pytest.fixture
def real():
    """A generator of the kind that is trained. Its noise is switched on where a test needs it."""
    torch.manual_seed(0)
    G = Generator(6, 2, 8, 8, 3, mapping_kwargs=dict(num_layers=2, cond_mode='flow', i_dim=4, flow_dim=3),
                  synthesis_kwargs=dict(channel_base=64)).train()
    with torch.no_grad():
        G.mapping.importance.copy_(torch.tensor([[0.9, 0.05, 0.5, 0.3]]))
    return G


def switch_on_noise(G, strength):
    for name, p in G.named_parameters():
        if name.endswith('noise_strength'):
            torch.nn.init.constant_(p, strength)


def make_batch(G, n=4, same=False, **kwargs):
    """n latents of one round (all alike if `same`), labels in turn."""
    g = torch.Generator().manual_seed(1)
    F, dtype = (5, torch.float64) if isinstance(G.mapping, ToyMapping) else (6, torch.float32)
    z = torch.randn(n, F, dtype=dtype, generator=g)
    c = torch.eye(2).repeat(n, 1)[:n]
    if same:
        z, c = z[:1].repeat(n, 1), c[:1].repeat(n, 1)
    return PhaseBatch(G, None, z, c, None, None, **kwargs)


def value(batch, seed=3, batch_shrink=1, **kwargs):
    torch.manual_seed(seed)
    return JacobianSparsity(batch_shrink=batch_shrink, **kwargs)(batch)


def directions(G, batch, seed=3):
    """What the term draws first after torch.manual_seed(seed)."""
    torch.manual_seed(seed)
    return random_coordinates(G.mapping.style_mask(), batch.latent)


def jacobians(G, latent):
    """The whole Jacobian for each row: [N, C, H, W, F]. No image depends on another row."""

    def render(u):
        return G.synthesis(G.mapping.map_latent(u, skip_w_avg_update=True)).sum(dim=0)

    return torch.autograd.functional.jacobian(render, latent.detach()).movedim(3, 0)


def columns(G, batch, seed=3):
    """The columns that the term looks at, with their signs: [N, C, H, W]."""
    return torch.einsum('nchwf,nf->nchw', jacobians(G, batch.latent), directions(G, batch, seed))


def penalised(J, penalty):
    l1, mean_square = J.abs().mean(dim=(1, 2, 3)), J.square().mean(dim=(1, 2, 3))
    return l1 if penalty == 'l1' else l1 / (mean_square + 1e-8).sqrt()


# Against the exact Jacobian.


@pytest.mark.parametrize('penalty', PENALTIES)
@pytest.mark.parametrize('kind', ['toy', 'real'])
def test_jvp_is_exact(kind, penalty, request):
    G = request.getfixturevalue(kind)
    batch = make_batch(G)
    expected = penalised(columns(G, batch), penalty)
    assert expected.min() > 1e-3, 'a value of zero shows nothing'
    torch.testing.assert_close(value(batch, jacobian='jvp', penalty=penalty), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('penalty', PENALTIES)
def test_finite_differences_converge_to_the_jacobian(penalty, toy):
    batch = make_batch(toy)
    exact = penalised(columns(toy, batch), penalty)
    steps = (1e-2, 1e-3, 1e-4)
    errors = [(value(batch, jacobian='fd-normalized', penalty=penalty, perturb_norm=h) - exact).abs() for h in steps]
    for coarse, fine in itertools.pairwise(errors):
        assert ((coarse / fine > 8) & (coarse / fine < 12)).all()  # one-sided: the error is proportional to the step
    assert (errors[-1] < 1e-4 * exact).all()


def test_a_step_of_published_size_is_small_for_a_real_generator(real):
    """Kinks and all, within a few per cent of the Jacobian."""
    batch = make_batch(real, 32)
    exact = columns(real, batch).abs().mean().item()
    for jacobian, factor in (('fd', 0.1), ('fd-normalized', 1.0)):
        assert value(batch, jacobian=jacobian, perturb_norm=0.1).mean().item() == pytest.approx(factor * exact, rel=0.1)


def test_the_step_divides_only_where_it_should(toy):
    batch = make_batch(toy)
    fd, normalized = ({p: value(batch, jacobian=j, penalty=p, perturb_norm=0.25) for p in PENALTIES}
                      for j in ('fd', 'fd-normalized'))
    torch.testing.assert_close(fd['l1'], normalized['l1'] * 0.25)
    torch.testing.assert_close(fd['hoyer'], normalized['hoyer'])


def test_by_default_it_computes_what_the_published_options_mean(toy):
    term = JacobianSparsity()
    assert (term.jacobian, term.penalty, term.perturb_norm, term.batch_shrink) == ('fd', 'l1', 0.1, 2)


def test_on_average_it_is_the_mean_over_all_living_coordinates(toy):
    """Each sample shows one of the living columns, all equally often, in its own draw."""
    batch = make_batch(toy, 3000, same=True)
    exact = jacobians(toy, batch.latent[:1])[0].abs().mean(dim=(0, 1, 2))
    values = value(batch, jacobian='jvp').detach()
    shown = (values[:, None] - exact).abs() < 1e-9
    assert shown.any(dim=1).all() and shown[:, LIVING].sum() == 3000
    assert all(900 < count < 1100 for count in shown.sum(dim=0)[LIVING])
    assert values.mean().item() == pytest.approx(exact[LIVING].mean().item(), rel=0.03)


@pytest.mark.parametrize('jacobian', ['fd', 'fd-normalized'])
def test_both_directions_are_taken(jacobian, toy):
    batch = make_batch(toy, 200, same=True)
    values = value(batch, jacobian=jacobian, perturb_norm=0.5).detach()
    assert len(values.round(decimals=10).unique()) == 2 * len(LIVING)


# The draw.


@pytest.mark.parametrize('living', [[0], [1, 2], [0, 3, 4], [0, 1, 2, 3, 4]])
def test_draws_are_uniform_over_living_coordinates_and_signs(living):
    mask = torch.zeros(5, dtype=torch.bool)
    mask[living] = True
    torch.manual_seed(0)
    drawn = random_coordinates(mask, torch.zeros(6000, 8, dtype=torch.float64))  # what is joined to the latent is no style
    assert drawn.shape == (6000, 8) and drawn.dtype == torch.float64
    assert ((drawn != 0).sum(dim=1) == 1).all() and drawn.abs().max() == 1
    counts = torch.stack([(drawn == 1).sum(dim=0), (drawn == -1).sum(dim=0)])
    assert counts[:, living].sum() == 6000
    expected = 6000 / (2 * len(living))
    assert (counts[:, living] - expected).square().sum() / expected < 30  # chi-square, of 9 degrees at most: p > 0.0004


def test_draws_of_rows_are_independent():
    torch.manual_seed(0)
    drawn = random_coordinates(torch.ones(4, dtype=torch.bool), torch.zeros(4000, 4))
    both = (drawn[0::2] != 0).double().T @ (drawn[1::2] != 0).double()  # pairs of neighbours: 16 cells
    assert (both - 125).abs().max() < 50
    assert abs((drawn.sum(dim=1)[0::2] * drawn.sum(dim=1)[1::2]).sum()) < 180


def test_where_nothing_lives_nothing_is_drawn():
    drawn = random_coordinates(torch.zeros(4, dtype=torch.bool), torch.ones(3, 6))
    assert torch.equal(drawn, torch.zeros(3, 6))


def test_a_random_number_of_zero_draws_a_living_coordinate_too(monkeypatch):
    monkeypatch.setattr(torch, 'rand', lambda *shape, **kwargs: torch.zeros(*shape, **kwargs))
    drawn = random_coordinates(torch.tensor([False, False, True]), torch.zeros(2, 3))
    assert drawn.abs().tolist() == [[0, 0, 1]] * 2


# Gradients.


@pytest.mark.parametrize('jacobian, penalty', ALL)
def test_gradient_agrees_with_finite_differences(jacobian, penalty, toy):
    """With respect to every parameter at once, along random directions; through the latent too."""
    params = dict(toy.named_parameters())

    def loss():
        return value(make_batch(toy), jacobian=jacobian, penalty=penalty, perturb_norm=0.1).mean()

    grads = dict(zip(params, torch.autograd.grad(loss(), params.values()), strict=True))
    assert all(g.norm() > 1e-6 for g in grads.values()), 'a gradient of zero shows nothing'
    for name, p in params.items():
        direction, eps, values = torch.randn_like(p), 1e-6, []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(direction, alpha=sign * eps)
                values.append(loss().item())
                p.sub_(direction, alpha=sign * eps)
        numeric = (values[0] - values[1]) / (2 * eps)
        assert (grads[name] * direction).sum().item() == pytest.approx(numeric, rel=1e-5, abs=1e-9), name


@pytest.mark.parametrize('jacobian, penalty', ALL)
def test_every_part_of_a_real_generator_gets_a_gradient(jacobian, penalty, real):
    value(make_batch(real), jacobian=jacobian, penalty=penalty).mean().backward()
    grads = {name: p.grad for name, p in real.named_parameters()}
    assert all(g is None or g.isfinite().all() for g in grads.values())
    for name in ('mapping.importance', 'mapping.flow_fc0.weight', 'mapping.fc0.weight', 'mapping.fc1.weight',
                 'synthesis.b4.const', 'synthesis.b8.conv0.weight', 'synthesis.b8.conv1.affine.weight',
                 'synthesis.b8.torgb.weight'):
        assert grads[name].abs().max() > 0, name


@pytest.mark.parametrize('clamp', [None, 256])
@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_half_precision_is_nearly_as_good(jacobian, clamp, monkeypatch):
    """As on CUDA: here the CPU is told to compute in half precision."""
    values = []
    for half in (False, True):
        monkeypatch.setattr(layers, 'computes', lambda dtype, device, half=half: half)
        torch.manual_seed(0)
        G = Generator(6, 2, 8, 16, 3, mapping_kwargs=dict(num_layers=2, cond_mode='flow', i_dim=4, flow_dim=3),
                      synthesis_kwargs=dict(channel_base=64, num_fp16_res=4, conv_clamp=clamp))
        values.append(value(make_batch(G), jacobian=jacobian))
        for g in torch.autograd.grad(values[-1].mean(), list(G.parameters()), allow_unused=True):
            assert g is None or g.isfinite().all()
    assert not torch.equal(*values)
    torch.testing.assert_close(*values, rtol=0.1, atol=0)


@pytest.mark.parametrize('jacobian, penalty', ALL)
@pytest.mark.parametrize('kind', ['toy', 'real'])
def test_without_effect_value_and_gradient_are_zero(kind, jacobian, penalty, request):
    """The style has lost its way into w: the term must not make NaN of that."""
    G = request.getfixturevalue(kind)
    with torch.no_grad():
        (G.mapping.fc if kind == 'toy' else G.mapping.fc0).weight[:, :4] = 0
    assert_zero_with_zero_gradient(G, value(make_batch(G), jacobian=jacobian, penalty=penalty))


@pytest.mark.parametrize('jacobian, penalty', ALL)
@pytest.mark.parametrize('kind', ['toy', 'real'])
def test_without_living_coordinates_value_and_gradient_are_zero(kind, jacobian, penalty, request):
    G = request.getfixturevalue(kind)
    if kind == 'toy':
        G.mapping.mask = torch.zeros(5, dtype=torch.bool)
    else:
        torch.nn.init.constant_(G.mapping.importance, 0.05)
    assert_zero_with_zero_gradient(G, value(make_batch(G), jacobian=jacobian, penalty=penalty))


def assert_zero_with_zero_gradient(G, values):
    assert torch.equal(values, torch.zeros_like(values))
    for g in torch.autograd.grad(values.mean(), list(G.parameters()), allow_unused=True):
        assert g is None or torch.equal(g, torch.zeros_like(g))


# The penalties.


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_l1_grows_with_the_contrast_of_the_image_and_hoyer_does_not(jacobian, toy):
    batch = make_batch(toy)
    plain = {p: value(batch, jacobian=jacobian, penalty=p) for p in PENALTIES}
    toy.synthesis.contrast = 5.0
    torch.testing.assert_close(value(batch, jacobian=jacobian, penalty='l1'), 5 * plain['l1'])
    torch.testing.assert_close(value(batch, jacobian=jacobian, penalty='hoyer'), plain['hoyer'], rtol=1e-4, atol=0)


@pytest.mark.parametrize('pixels', [1, 8, 32])
def test_hoyer_measures_how_many_pixels_a_coordinate_moves(pixels, toy):
    """Equally strong in so many of 32: √(pixels / 32)."""

    def spots(ws, noise_repeat=1):
        return torch.cat([ws[:, :1, :1].expand(-1, 1, pixels), torch.zeros(len(ws), 1, 32 - pixels)], dim=2).reshape(-1, 2, 4, 4)

    toy.synthesis.forward = spots
    values = value(make_batch(toy), jacobian='jvp', penalty='hoyer').detach()
    torch.testing.assert_close(values, torch.full([4], (pixels / 32) ** 0.5, dtype=torch.float64), rtol=1e-4, atol=0)


# What the two images may differ in.


def by_hand(G, batch, step, seed=3):
    """Two renderings, one after the other, with the same noise; how far they are apart."""
    moved = batch.latent + step * directions(G, batch, seed)
    state = torch.get_rng_state()
    images = []
    for latent in (moved, batch.latent):
        torch.set_rng_state(state)
        images.append(G.synthesis(G.mapping.map_latent(latent, skip_w_avg_update=True)))
    return (images[0] - images[1]).abs().mean(dim=(1, 2, 3))


@pytest.mark.parametrize('noise', [0.0, 1.0, 30.0])
def test_the_images_differ_by_the_step_and_by_nothing_else(noise, real):
    """Not by their noise, however strong; and they do differ: two images of one latent would be the published defect."""
    switch_on_noise(real, noise)
    batch = make_batch(real)
    for jacobian, step in (('fd', 0.1), ('fd', 0.7)):
        expected = by_hand(real, batch, step)
        assert expected.min() > 1e-3
        torch.testing.assert_close(value(batch, jacobian=jacobian, perturb_norm=step), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_an_image_of_noise_alone_has_no_jacobian(jacobian, real):
    switch_on_noise(real, 10.0)
    with torch.no_grad():
        real.mapping.fc0.weight.zero_()
    batch = make_batch(real)
    assert not torch.equal(batch.images, real.synthesis(batch.ws))
    assert value(batch, jacobian=jacobian).max() < 1e-5


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_noise_differs_from_sample_to_sample(jacobian, real):
    switch_on_noise(real, 3.0)
    torch.nn.init.constant_(real.mapping.importance[:, 1:], 0.05)
    values = value(make_batch(real, same=True), jacobian=jacobian).detach()
    assert len(values.unique()) == 4


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_styles_are_not_mixed(jacobian, real):
    plain = value(make_batch(real), jacobian=jacobian)
    assert torch.equal(value(make_batch(real, style_mixing_prob=1.0), jacobian=jacobian), plain)
    mixed = make_batch(real, style_mixing_prob=1.0)
    assert mixed.ws.shape == (4, real.num_ws, 8)  # the adversarial term has rendered its own, mixed image before
    assert torch.equal(value(mixed, jacobian=jacobian), plain)


@pytest.mark.parametrize('shrink, size, rows', [(1, 4, 4), (2, 4, 2), (2, 1, 1), (2, 5, 2), (4, 8, 2), (8, 4, 1)])
def test_it_looks_at_the_first_rows_of_a_round_but_never_at_none(shrink, size, rows, toy):
    batch = make_batch(toy, size)
    first = PhaseBatch(toy, None, batch.z[:rows], batch.c[:rows], None, None)
    assert JacobianSparsity(batch_shrink=shrink).num_rows(size) == rows
    torch.testing.assert_close(value(batch, batch_shrink=shrink, jacobian='jvp'), penalised(columns(toy, first), 'l1'))


def test_rows_that_a_phase_has_left_out_are_counted(toy):
    assert value(make_batch(toy, 4, round_size=8), batch_shrink=2).shape == (4,)


@pytest.mark.parametrize('kwargs', [dict(jacobian='central'), dict(penalty='l2')])
def test_unknown_kinds_are_refused(kwargs):
    with pytest.raises(ValueError, match='unknown'):
        JacobianSparsity(**kwargs)


# Together with the adversarial term.


def run_phase(G, terms, seed=5):
    """One Gmain phase at learning rate 0. Returns what was reported, as (count, mean), and the images that D was shown."""
    torch.manual_seed(1)
    D = Discriminator(2, 8, 3, channel_base=64, mapping_kwargs=dict(num_layers=1)).train().requires_grad_(False)
    shown = []
    D.register_forward_pre_hook(lambda module, args: shown.append(args[0].detach().clone()))
    still = dict(class_name='torch.optim.Adam', lr=0.0, betas=[0.0, 0.99])
    phase, = make_phases(make_terms(terms), {'G': G.requires_grad_(False), 'D': D}, {'G': still, 'D': still}, {'G': 4, 'D': 16},
                         style_mixing_prob=0.9)
    collector = training_stats.Collector('Loss/.*', keep_previous=False)
    torch.manual_seed(seed)
    c = torch.eye(2).repeat(2, 1)
    phase.run([dict(z=torch.randn(4, 6), c=c, real_images=torch.zeros(4, 3, 8, 8), real_c=c)])
    collector.update()
    return {name: (collector.num(name), collector.mean(name)) for name in collector.names()}, shown


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_the_adversarial_side_does_not_notice(jacobian, real):
    """D sees the same images once, the logistic loss has the same bits, and w_avg moves once."""
    switch_on_noise(real, 0.1)
    state = {name: v.clone() for name, v in real.state_dict().items()}
    plain, plain_shown = run_phase(real, {'G/logistic': {}})
    w_avg = real.mapping.w_avg.clone()
    real.load_state_dict(state)
    reported, shown = run_phase(real, {'G/logistic': {}, 'G/sparse': dict(weight=0.1),
                                       'G/img_sparse': dict(weight=0.1, jacobian=jacobian)})
    assert len(shown) == 1 and torch.equal(shown[0], plain_shown[0])
    assert reported['Loss/G/logistic'] == plain['Loss/G/logistic'] and reported['Loss/scores/fake'] == plain['Loss/scores/fake']
    assert torch.equal(real.mapping.w_avg, w_avg) and w_avg.abs().max() > 0
    real.load_state_dict(state)
    torch.manual_seed(5)
    w = real.mapping(torch.randn(4, 6), torch.eye(2).repeat(2, 1), skip_w_avg_update=True)[:, 0]
    torch.testing.assert_close(w_avg, 0.005 * w.mean(dim=0).detach())


@pytest.mark.parametrize('jacobian', JACOBIANS)
def test_by_itself_it_leaves_w_avg_alone(jacobian, real):
    value(make_batch(real), jacobian=jacobian)
    assert real.mapping.w_avg.abs().max() == 0


def test_values_are_reported_without_their_weights_and_summed_with_them(real):
    reported, _ = run_phase(real, {'G/logistic': {}, 'G/sparse': dict(weight=0.5), 'G/img_sparse': dict(weight=3.0)})
    assert (reported['Loss/G/img_sparse'][0], reported['Loss/G/logistic'][0]) == (2, 4)
    assert reported['Loss/G/sparse'][1] == pytest.approx((0.9 + 0.05 + 0.5 + 0.3) / 4)
    parts = [reported[f'Loss/G/{name}'][1] for name in ('logistic', 'sparse', 'img_sparse')]
    assert reported['Loss/G/loss'][1] == pytest.approx(parts[0] + 0.5 * parts[1] + 3 * parts[2], rel=1e-5)


# Flow sparsity.


def test_flow_sparsity_is_the_mean_importance_and_looks_at_no_rows(real):
    batch = make_batch(real)
    term = FlowSparsity()
    torch.testing.assert_close(term(batch), real.mapping.importance.abs().mean())
    assert term.num_rows(8) == 0 and 'latent' not in vars(batch)
    with torch.no_grad():
        real.mapping.importance[0, 0] = -0.4
    term(batch).backward()  # dead ones, and negative ones, are drawn to zero too
    assert real.mapping.importance.grad.tolist() == [[-0.25, 0.25, 0.25, 0.25]]
