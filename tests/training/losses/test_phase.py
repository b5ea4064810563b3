"""Phases: who is trained when, accumulation, intervals, gradients that are not finite."""

import copy

import pytest
import torch

from torch_utils import training_stats
from training.losses import Term, make_phases
from training.methods import make_terms, term_class
from training.networks import Discriminator, Generator

ADAM = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99], eps=1e-8)
TERMS = {'G/logistic': {}, 'G/path_length': dict(weight=2.0, interval=4), 'D/logistic_fake': {}, 'D/logistic_real': {},
         'D/r1': dict(weight=5.0, interval=16)}


@pytest.fixture
def networks():
    torch.manual_seed(0)
    G = Generator(4, 2, 4, 8, 1, mapping_kwargs=dict(num_layers=1), synthesis_kwargs=dict(channel_base=32, use_noise=False))
    D = Discriminator(2, 8, 1, channel_base=32, mapping_kwargs=dict(num_layers=1), epilogue_kwargs=dict(mbstd_num_channels=0))
    return {'G': G.train().requires_grad_(False), 'D': D.train().requires_grad_(False)}


def phases_of(networks, terms=None, intervals=None, **kwargs):
    return make_phases(make_terms(terms or TERMS), networks, {'G': ADAM, 'D': ADAM}, intervals or {'G': 4, 'D': 16}, **kwargs)


def make_inputs(n=4):
    g = torch.Generator().manual_seed(3)
    return dict(z=torch.randn(n, 4, generator=g), c=torch.eye(2).repeat(n // 2, 1),
                real_images=torch.randn(n, 1, 8, 8, generator=g), real_c=torch.eye(2).repeat(n // 2, 1))


def weights(networks, net):
    return torch.cat([p.flatten() for p in networks[net].parameters()]).clone()


def test_order_names_and_intervals(networks):
    assert [(p.name, p.interval) for p in phases_of(networks)] == [('Gmain', 1), ('Greg', 4), ('Dmain', 1), ('Dreg', 16)]


def test_without_lazy_regularisation_there_is_one_phase_per_network(networks):
    terms = {k: {n: v for n, v in kw.items() if n != 'interval'} | ({'interval': None} if kw else {}) for k, kw in TERMS.items()}
    phases = phases_of(networks, terms, {'G': None, 'D': None})
    assert [(p.name, p.interval, len(p.terms)) for p in phases] == [('Gboth', 1, 2), ('Dboth', 1, 3)]
    assert phases[0].optimizer.param_groups[0]['lr'] == 0.002
    for phase in phases:
        phase.run([make_inputs()])
        assert all(p.grad is not None and p.grad.isfinite().all() for p in networks[phase.net].parameters())


def test_adam_is_corrected_for_lazy_steps_and_shared(networks):
    Gmain, Greg, Dmain, Dreg = phases_of(networks)
    assert Gmain.optimizer is Greg.optimizer and Dmain.optimizer is Dreg.optimizer
    for phase, lr, beta2 in ((Gmain, 0.0016, 0.99199197), (Dmain, 0.00188235, 0.99058546)):
        group = phase.optimizer.param_groups[0]
        assert group['lr'] == pytest.approx(lr, rel=1e-5) and group['betas'] == (0.0, pytest.approx(beta2, rel=1e-7))


class Anchored(term_class('G/path_length')):
    """As published: a term of zero lets autograd reach every parameter that the images depend on."""

    def forward(self, batch):
        return super().forward(batch) + batch.images[:self.num_rows(batch.round_size), 0, 0, 0] * 0


def test_parameters_without_gradient_step_with_zeros_as_published(networks):
    results = []
    for term in (term_class('G/path_length'), Anchored):
        nets = copy.deepcopy(networks)
        main, lazy = make_phases([*make_terms({'G/logistic': {}}), term(interval=4)], nets, {'G': ADAM, 'D': ADAM},
                                 {'G': 4, 'D': 16})
        for seed, phase in enumerate((main, lazy, main, main, lazy, main)):
            torch.manual_seed(seed)
            phase.run([make_inputs()])
        bias = nets['G'].synthesis.b8.torgb.bias  # which path length does not depend on
        results.append((weights(nets, 'G'), main.optimizer.state[bias]['exp_avg_sq'].clone(), main.optimizer.state[bias]['step']))
    for plain, anchored in zip(*results, strict=True):
        assert torch.equal(plain, anchored)
    assert results[0][2] == 6


class EveryThird(Term):
    net, name, needs = 'D', 'third', frozenset({'real'})

    def forward(self, batch):
        return batch.real_logits.square().squeeze(1)


def test_adam_is_corrected_for_each_lazy_interval(networks):
    phases = make_phases([*make_terms(TERMS), EveryThird(interval=3)], networks, {'G': ADAM, 'D': ADAM}, {'G': 4, 'D': 16})
    assert [p.name for p in phases] == ['Gmain', 'Greg', 'Dmain', 'Dreg3', 'Dreg16']
    group, ratio = phases[2].optimizer.param_groups[0], 1 / (1 + 1 / 3 + 1 / 16)
    assert group['lr'] == pytest.approx(0.002 * ratio) and group['betas'][1] == pytest.approx(0.99 ** ratio)


class Paired(Term):
    """Compares logits of one pass."""

    net, name, needs, same_labels = 'D', 'paired', frozenset({'generated', 'real'}), True

    def forward(self, batch):
        return (batch.real_logits - batch.fake_logits).square().squeeze(1)


def test_terms_share_one_graph_where_one_needs_both_kinds_of_images(networks):
    calls = []
    networks['D'].register_forward_hook(lambda *_: calls.append(1))
    terms = [*make_terms({'D/logistic_fake': {}, 'D/logistic_real': {}, 'D/r1': dict(interval=None)}), Paired(weight=0.5)]
    phase = make_phases(terms, networks, {'G': ADAM, 'D': ADAM}, {'G': None, 'D': None})[0]
    assert len(phase.groups) == 1
    phase.run([make_inputs()])
    assert len(calls) == 2  # generated images once, real images once


def test_a_phase_trains_its_own_network_only(networks):
    for phase in phases_of(networks):
        for net in networks.values():
            net.zero_grad(set_to_none=True)
        before = {net: weights(networks, net) for net in networks}
        phase.run([make_inputs()])
        other = 'D' if phase.net == 'G' else 'G'
        assert not torch.equal(weights(networks, phase.net), before[phase.net])
        assert torch.equal(weights(networks, other), before[other])
        assert all(p.grad is None for p in networks[other].parameters())
        assert not any(p.requires_grad for net in networks.values() for p in net.parameters())


@pytest.mark.parametrize('index', [0, 2, 3])
def test_two_rounds_compute_what_one_large_one_computes(networks, index):
    """Gradients are averaged over rounds (path length aside, whose mean moves with every round)."""
    phase = phases_of(networks)[index]
    inputs = make_inputs(4)
    grads = []
    for rounds in ([inputs], [{k: v[i:i + 2] for k, v in inputs.items()} for i in (0, 2)]):
        state = {k: v.clone() for k, v in networks[phase.net].state_dict().items()}
        phase.run(rounds)
        grads.append(torch.cat([p.grad.flatten() for p in networks[phase.net].parameters() if p.grad is not None]))
        networks[phase.net].load_state_dict(state)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


class Watched(Term):
    """Keeps the gradient that comes back to the logits."""

    net, name = 'D', 'watched'

    def __init__(self):
        super().__init__(weight=3.0, interval=4)
        self.seen = []

    def forward(self, batch):
        logits = batch.fake_logits.clone()
        logits.register_hook(self.seen.append)
        return logits.square().squeeze(1)


@pytest.mark.parametrize('rounds', [1, 3, 4])
def test_the_mean_over_rounds_is_taken_of_gradients_not_of_the_loss(networks, rounds):
    """So that the numbers that half precision carries back don't shrink with the number of rounds."""
    term = Watched()
    phase, = make_phases([term], networks, {'G': ADAM, 'D': ADAM}, {'G': 4, 'D': 16})
    logits = []
    networks['D'].register_forward_hook(lambda _, x, y: logits.append((y[0] if isinstance(y, tuple) else y).detach()))
    phase.run([make_inputs(2)] * rounds)
    for dy, y in zip(term.seen, logits, strict=True):
        torch.testing.assert_close(dy, 4 * 3.0 * 2 * y / 2)  # interval, weight; the mean over two samples


def test_lazy_gradients_count_as_often_as_they_were_left_out(networks):
    grads = []
    for interval in (1, 16):
        phase = phases_of(networks, {'D/logistic_fake': {}, 'D/r1': dict(weight=5.0, interval=interval)})[-1]
        state = {k: v.clone() for k, v in networks['D'].state_dict().items()}
        phase.run([make_inputs()])
        grads.append(torch.cat([p.grad.flatten() for p in networks['D'].parameters() if p.grad is not None]))
        networks['D'].load_state_dict(state)
    torch.testing.assert_close(grads[1], 16 * grads[0])


def test_what_is_reported(networks):
    collector = training_stats.Collector('Loss/.*')
    for phase in phases_of(networks):
        phase.run([make_inputs()])
    collector.update()
    n = {name: collector.num(name) for name in collector.names()}
    assert n['Loss/scores/fake'] == 8 and n['Loss/signs/real'] == 8  # Gmain and Dmain; Dmain and Dreg
    assert n['Loss/G/loss'] == n['Loss/D/loss'] == n['Loss/r1_penalty'] == 4 and n['Loss/pl_penalty'] == 2
    parts = collector['Loss/D/logistic_fake'] + collector['Loss/D/logistic_real']
    assert collector['Loss/D/loss'] == pytest.approx(parts, rel=1e-5)
    assert collector['Loss/D/reg'] == pytest.approx(5 * collector['Loss/r1_penalty'], rel=1e-5)
    assert collector['Loss/G/reg'] == pytest.approx(2 * collector['Loss/G/path_length'], rel=1e-5)


class Broken(Term):
    net, name, needs = 'D', 'broken', frozenset({'real'})

    def forward(self, batch):
        return batch.real_logits[:, 0] * float('nan')


def test_gradients_that_are_not_finite_are_zeroed_and_counted(networks):
    phase = make_phases([Broken()], networks, {'G': ADAM, 'D': ADAM}, {'G': None, 'D': None})[0]
    collector = training_stats.Collector('Loss/D/nonfinite_grads')
    before = weights(networks, 'D')
    phase.run([make_inputs()])
    collector.update()
    assert torch.equal(weights(networks, 'D'), before)
    assert collector['Loss/D/nonfinite_grads'] == sum(p.grad is not None for p in networks['D'].parameters()) > 0


def test_augmentation_sees_every_image_that_enters_the_discriminator(networks):
    seen = []

    def augment(images):
        seen.append(images.shape[0])
        return images * 0.5

    for phase in phases_of(networks, augment=augment):
        phase.run([make_inputs()])
    assert seen == [4, 4, 4, 4]  # Gmain; Dmain's fakes and reals; Dreg. Path length needs no discriminator.
