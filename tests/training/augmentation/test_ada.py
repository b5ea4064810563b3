"""The controller of augmentation: which way p moves, how far, and that stopping does not change it."""

import json
import math

import pytest
import torch

from torch_utils.training_stats import report
from training.augmentation.ada import AdaController
from training.augmentation.pipe import AugmentPipe

STEP = 32 * 4 / (100 * 1000)


def make_controller(p, **kwargs):
    pipe = AugmentPipe(xflip=1)
    pipe.p.fill_(p)
    return pipe, AdaController(pipe, **(dict(target=0.6, interval=4, batch_size=32, kimg=100) | kwargs))


@pytest.mark.parametrize('signs, direction', [([1, 1, 1, 1], 1), ([1, 1, 1, -1], -1), ([1, 1, 1, 0], 1), ([0, 0], -1),
                                              ([-1, -1], -1)])
def test_p_follows_the_sign_of_r_minus_target(signs, direction):
    pipe, controller = make_controller(0.5)
    for sign in signs:
        report('Loss/signs/real', torch.tensor([[float(sign)]]))
    report('Loss/signs/fake', torch.full([100], -1.0 * direction))
    controller.update()
    assert pipe.p.item() == pytest.approx(0.5 + direction * STEP, abs=1e-7)


def test_p_rests_on_the_target():
    pipe, controller = make_controller(0.5, target=0.5)
    report('Loss/signs/real', [1, 1, 1, -1])
    controller.update()
    assert pipe.p.item() == 0.5


@pytest.mark.parametrize('values', [None, [], [1, math.nan], [math.inf]])
def test_p_rests_without_usable_reports(values):
    pipe, controller = make_controller(0.5)
    report('Loss/signs/real', [1])
    controller.update()
    p = pipe.p.item()
    if values is not None:
        report('Loss/signs/real', values)
    controller.update()  # neither the earlier report nor these move it
    assert pipe.p.item() == p > 0.5
    report('Loss/signs/real', [1])
    controller.update()  # and they are gone
    assert pipe.p.item() > p


def test_p_stays_within_0_and_1():
    for start, sign in ((0.0, -1), (1.0, 1)):
        pipe, controller = make_controller(start)
        report('Loss/signs/real', [sign])
        controller.update()
        assert pipe.p.item() == start
        assert pipe.p is dict(pipe.named_buffers())['p']


def test_p_crosses_the_range_in_kimg():
    pipe, controller = make_controller(0.0, kimg=1)
    for _ in range(math.ceil(1000 / (32 * 4))):
        assert pipe.p.item() < 1
        report('Loss/signs/real', [1])
        controller.update()
    assert pipe.p.item() == 1


@pytest.mark.parametrize('target, direction', [(-0.7, 1), (0, -1)])
def test_stopping_between_two_updates_does_not_change_p(target, direction):
    """r_t is -1 before the stop, 1 after it, -0.5 together: with either target one of the two alone would err."""
    results = {}
    for stops in (False, True):
        pipe, controller = make_controller(0.5, target=target)
        report('Loss/signs/real', [-1, -1, -1])
        if stops:
            state = json.loads(json.dumps(controller.state_dict()))
            report('Loss/signs/real', [-1] * 50)  # after the snapshot: lost
            pipe, controller = make_controller(0.5, target=target)
            controller.load_state_dict(state)
        report('Loss/signs/real', [1])
        controller.update()
        results[stops] = pipe.p.item()
    assert results[True] == results[False] == pytest.approx(0.5 + direction * STEP)
    assert controller.state_dict() == {'pending': {}}


@pytest.mark.parametrize('name', ['interval', 'batch_size', 'kimg'])
def test_a_step_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=name):
        make_controller(0.5, **{name: 0})
