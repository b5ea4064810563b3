"""R3GAN's objective: the equations, what it needs of phases, and its options."""

import math

import pytest
import torch
import torch.nn.functional as F

import train
from dnnlib.util import EasyDict, OptionError
from torch_utils import training_stats
from training.config import DatasetInfo, build_config, run_description
from training.losses import PhaseBatch, make_phases
from training.methods import complete_options, make_terms, term_class
from training.networks import Discriminator, Generator

ADAM = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99])
DATA = DatasetInfo(name='digits', resolution=32, label_dim=2, size=1000)


def options(line=''):
    args = ['--outdir=runs', '--data=digits.zip', '--gpus=1', *line.split()]
    return complete_options(EasyDict(train.main.make_context('train', args).params))


def build(line=''):
    return build_config(options(line), DATA)


class Scaled(torch.nn.Module):
    """D(x) = w · x² summed, by label: logits that a test can work out."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, x, c, return_latent=False, force_fp32=False):
        logits = self.w * x.square().sum(dim=(1, 2, 3))[:, None] + c[:, :1]
        return (logits, logits) if return_latent else logits


def batch_of(x, fake, c=None, **kwargs):
    c = torch.zeros(len(x), 1, dtype=torch.float64) if c is None else c
    batch = PhaseBatch(None, Scaled(), torch.zeros(len(x), 1), c, x, c, **kwargs)
    batch.images = fake  # the cached property is set before it is asked for
    return batch


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(6, 1, 2, 2, dtype=torch.float64, generator=g) for _ in range(2))


def test_the_pairs_are_compared_as_in_the_paper(images):
    real, fake = (0.5 * x.square().sum(dim=(1, 2, 3)) for x in images)
    batch = batch_of(*images)
    torch.testing.assert_close(term_class('D/relativistic')()(batch), F.softplus(-(real - fake)))
    torch.testing.assert_close(term_class('G/relativistic')()(batch), F.softplus(-(fake - real)))


def test_the_loss_does_not_change_with_a_constant_added_to_d(images):
    for key in ('D/relativistic', 'G/relativistic'):
        term, c = term_class(key)(), torch.zeros(6, 1, dtype=torch.float64)
        torch.testing.assert_close(term(batch_of(*images, c)), term(batch_of(*images, c + 100)))


def test_adas_signal_is_relative_to_the_mean_of_generated_images(images):
    collector = training_stats.Collector('Loss/signs/real')
    collector.update()
    term_class('D/relativistic')()(batch_of(*images, torch.full([6, 1], 50.0, dtype=torch.float64), signs=False))
    collector.update()
    real, fake = (0.5 * x.square().sum(dim=(1, 2, 3)) for x in images)
    assert collector['Loss/signs/real'] == pytest.approx((real - fake.mean()).sign().mean().item()) != 1


def test_hinge_losses_by_their_equations(images):
    real, fake = (0.5 * x.square().sum(dim=(1, 2, 3)) for x in images)
    batch = batch_of(*images)
    torch.testing.assert_close(term_class('D/hinge_real')()(batch), (1 - real).clamp(min=0))
    torch.testing.assert_close(term_class('D/hinge_fake')()(batch), (1 + fake).clamp(min=0))
    torch.testing.assert_close(term_class('G/hinge')()(batch), -fake)


def test_r2_is_the_squared_gradient_at_generated_images(images):
    fake = images[1].requires_grad_()
    torch.testing.assert_close(term_class('D/r2')()(batch_of(images[0], fake)), fake.detach().square().sum(dim=(1, 2, 3)))


@pytest.mark.parametrize('key,which', [('D/r1_noise', 0), ('D/r2_noise', 1)])
def test_noise_finds_the_gradient_penalty(images, key, which):
    """E (D(x) - D(x + σε))² / σ² -> |∇D|², in value and in the gradient that it gives D."""
    torch.manual_seed(0)
    sigma, count = 1e-3, 20_000
    many = [x[:1].expand(count, -1, -1, -1) for x in images]
    batch = batch_of(*many)
    mean = term_class(key)(sigma=sigma)(batch).mean() / sigma ** 2
    exact = images[which][0].square().sum().item()  # (2 w x)² with w = 1/2
    assert mean.item() == pytest.approx(exact, rel=0.05)
    assert torch.autograd.grad(mean, batch.D.w)[0].item() == pytest.approx(4 * exact, rel=0.05)  # d (4 w² x²) / dw


@pytest.mark.parametrize('line', ['--method=r3gan', '--method=r3gan --penalty-interval=4', '--loss=hinge --r2=1',
                                  '--method=r3gan --penalty=noise', '--loss=relativistic'])
def test_phases_train_both_networks(line):
    torch.manual_seed(0)
    c = build(f'--cond=1 --pl-weight=0 {line}')
    width = dict(c_dim=2, img_resolution=8, img_channels=1)
    nets = {'G': Generator(4, w_dim=4, synthesis_kwargs=dict(channel_base=32, channel_max=4), **width),
            'D': Discriminator(channel_base=32, channel_max=4, **width)}
    for net in nets.values():
        net.requires_grad_(False)
    phases = make_phases(make_terms(c.loss_kwargs['terms']), nets, {'G': ADAM, 'D': ADAM},
                         {'G': c.G_reg_interval, 'D': c.D_reg_interval}, style_mixing_prob=0.9)
    labels = torch.eye(2)[[0, 1, 1, 0]]
    before = {name: [p.clone() for p in net.parameters()] for name, net in nets.items()}
    for phase in phases:
        phase.run([dict(z=torch.randn(4, 4), c=labels.flip(1), real_images=torch.rand(4, 1, 8, 8), real_c=labels)])
    for name, net in nets.items():
        assert any((p != q).any() for p, q in zip(net.parameters(), before[name], strict=True))
        assert all(p.isfinite().all() and not p.requires_grad for p in net.parameters())


def test_pairs_are_of_one_label(monkeypatch):
    seen = []

    class Looking(term_class('D/relativistic')):
        def forward(self, batch):
            seen.append((batch.c.clone(), batch.real_c.clone()))
            return super().forward(batch)

    width = dict(c_dim=2, img_resolution=8, img_channels=1)
    nets = {'G': Generator(4, w_dim=4, synthesis_kwargs=dict(channel_base=32, channel_max=4), **width).requires_grad_(False),
            'D': Discriminator(channel_base=32, channel_max=4, **width).requires_grad_(False)}
    phase, = make_phases([Looking()], nets, {'G': ADAM, 'D': ADAM}, {'G': None, 'D': None})
    labels = torch.eye(2)[[0, 1, 1, 0]]
    phase.run([dict(z=torch.randn(4, 4), c=labels.flip(1), real_images=torch.rand(4, 1, 8, 8), real_c=labels)])
    assert torch.equal(*seen[0])


def test_options_reach_the_configuration():
    terms = build('--method=r3gan --gamma=2').loss_kwargs['terms']
    assert terms.keys() == {'G/relativistic', 'G/path_length', 'D/relativistic', 'D/r1', 'D/r2'}
    assert terms['D/r1'] == terms['D/r2'] == dict(weight=1.0, interval=None)
    c = build('--loss=relativistic --r2=1 --penalty=noise --penalty-sigma=0.1 --gamma=2')
    assert c.loss_kwargs['terms']['D/r2_noise'] == dict(weight=pytest.approx(100), interval=16, sigma=0.1)
    assert 'D/r1' not in c.loss_kwargs['terms'] and c.D_reg_interval == 16 and c.methods == ['r3gan']
    assert build().D_reg_interval == 16 and build().loss_kwargs['terms']['D/r1']['interval'] == 16


def test_it_combines_with_other_methods():
    c = build('--method=r3gan,cg-gan --z-dim=512')
    assert {'G/relativistic', 'D/r2', 'G/img_sparse'} < c.loss_kwargs['terms'].keys() and c.methods == ['cg-gan', 'r3gan']


def test_names_of_runs():
    def name(line):
        return run_description(options(line), DATA)

    assert name('') == 'digits-auto1'
    assert name('--method=r3gan') == 'digits-auto1-relativistic-r2-every1'
    assert name('--loss=hinge --penalty=noise') == 'digits-auto1-hinge-noise0.01'


@pytest.mark.parametrize('line,message', [
    ('--penalty-sigma=0.1', '--penalty-sigma has no effect without --penalty=noise'),
    ('--penalty-interval=0', '--penalty-interval must be at least 1'),
    ('--penalty=noise --penalty-sigma=2', '--penalty-sigma must be'),
    ('--r2=1 --gamma=0', '--r2 has no effect with --gamma=0'),
])
def test_options_without_effect_are_refused(line, message):
    with pytest.raises(OptionError, match=message):
        options(line)


def test_the_relative_loss_at_equal_opinions_is_log_2(images):
    assert term_class('D/relativistic')()(batch_of(images[0], images[0])).tolist() == pytest.approx([math.log(2)] * 6)
