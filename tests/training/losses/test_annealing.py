"""Cosine schedules: their values, and what they reach."""

import math

import click
import pytest
import torch

import train
from dnnlib.util import EasyDict, OptionError
from training.config import DatasetInfo, build_config
from training.losses import Annealing, make_phases
from training.losses.annealing import Cosine
from training.methods import complete_options, make_terms
from training.networks import Discriminator, Generator

ADAM = dict(class_name='torch.optim.Adam', lr=0.002, betas=[0.0, 0.99])


def test_a_cosine_begins_turns_and_ends_as_it_says():
    cosine = Cosine(4.0, 1.0, kimg=10)
    assert cosine.at(0) == 4 and cosine.at(5000) == pytest.approx(2.5) and cosine.at(10_000) == cosine.at(99_999) == 1
    assert cosine.at(2500) == pytest.approx(1 + 3 * (1 + math.cos(math.pi / 4)) / 2)


def make():
    width = dict(c_dim=0, img_resolution=8, img_channels=1)
    nets = {'G': Generator(4, w_dim=4, synthesis_kwargs=dict(channel_base=32, channel_max=4), **width),
            'D': Discriminator(channel_base=32, channel_max=4, **width)}
    terms = make_terms({'G/logistic': {}, 'D/logistic_real': {}, 'D/r1': dict(weight=5.0, interval=16),
                        'D/r2': dict(weight=5.0, interval=16)})
    return make_phases(terms, nets, {'G': ADAM, 'D': ADAM}, {'G': 4, 'D': 16})


def test_values_reach_optimisers_terms_and_augmentation():
    pipe = torch.nn.Module()
    pipe.p = torch.tensor(0.1)
    phases = make()
    schedules = dict(glr=(0.002, 0.001), beta2=(0.99, 0.9), gamma=(10.0, 1.0), p=(0.1, 0.5), ema=(10.0, 40.0))
    annealing = Annealing({k: dict(start=a, end=b, kimg=1) for k, (a, b) in schedules.items()}, phases, pipe)
    for _ in range(2):  # values are those of the images seen, not of the calls before
        annealing.apply(1000)
        main, lazy = phases[0].optimizer.param_groups[0], phases[-1].optimizer.param_groups[0]
        assert main['lr'] == pytest.approx(0.001 * 4 / 5) and main['betas'] == (0.0, pytest.approx(0.9 ** (4 / 5)))
        assert lazy['lr'] == pytest.approx(0.002 * 16 / 17) and lazy['betas'][1] == pytest.approx(0.9 ** (16 / 17))
        assert [term.weight for term in phases[-1].terms] == [0.5, 0.5] and pipe.p.item() == 0.5
        assert annealing.ema_kimg(1000, 7.0) == 40
    annealing.apply(0)
    assert phases[0].optimizer.param_groups[0]['lr'] == pytest.approx(0.002 * 4 / 5) and pipe.p.item() == pytest.approx(0.1)


def test_without_schedules_nothing_changes():
    phases = make()
    before = [(dict(p.optimizer.param_groups[0], params=None), [t.weight for t in p.terms]) for p in phases]
    annealing = Annealing({}, phases, None)
    annealing.apply(1000)
    assert before == [(dict(p.optimizer.param_groups[0], params=None), [t.weight for t in p.terms]) for p in phases]
    assert annealing.ema_kimg(1000, 7.0) == 7


def build(line):
    args = ['--outdir=runs', '--data=x.zip', '--gpus=1', *line.split()]
    return build_config(complete_options(EasyDict(train.main.make_context('train', args).params)), DatasetInfo('x', 32, 0, 1000))


def test_options_begin_at_the_usual_values():
    c = build('--anneal=lr=0.0005,gamma=0.1,ema=500 --dlr=0.001 --gamma=1 --anneal-kimg=200')
    assert c.anneal == dict(glr=dict(start=0.0025, end=0.0005, kimg=200), dlr=dict(start=0.001, end=0.0005, kimg=200),
                            gamma=dict(start=1.0, end=0.1, kimg=200), ema=dict(start=10.0, end=500, kimg=200))
    assert build('--anneal=glr=0.001').anneal['glr']['kimg'] == 25000 and build('').anneal == {}


@pytest.mark.parametrize('line,message', [
    ('--anneal-kimg=5', 'no effect without --anneal'), ('--anneal=p=0.5', 'p needs --aug=fixed'),
    ('--anneal=p=2 --aug=fixed --p=0', 'p must be at most 1'), ('--anneal=gamma=1 --gamma=0', 'gamma cannot begin at 0'),
    ('--anneal=beta2=1', 'beta2 must be at most'), ('--anneal=beta2=0', 'beta2 must be greater'),
])
def test_options_that_do_not_fit_are_refused(line, message):
    with pytest.raises(OptionError, match=message):
        build(line)


@pytest.mark.parametrize('value', ['lr', 'lr=x', 'lr=-1', 'z=1', 'lr=nan'])
def test_malformed_values_are_refused(value):
    with pytest.raises(click.BadParameter) as caught:
        build(f'--anneal={value}')
    assert caught.value.param.name == 'anneal'
