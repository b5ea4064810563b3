"""Augmentation of images with alpha: colour leaves it alone, everything else treats it as the other channels."""

import pytest
import torch
from helpers.augmenting import make_pipe

COLORS = {2: 1, 4: 3}


@pytest.fixture(params=[2, 4])
def images(request):
    return torch.rand(3, request.param, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def augmented(pipe, images, percentile=0.7):
    torch.manual_seed(1)
    return pipe(images, debug_percentile=percentile)


@pytest.mark.parametrize('percentile', [0.7, None])
def test_colour_acts_on_colour_alone(images, percentile):
    pipe, colors = make_pipe('color'), images[:, :-1]
    y = augmented(pipe, images, percentile)
    assert torch.equal(y[:, -1], images[:, -1]) and not torch.equal(y[:, :-1], colors)
    assert torch.equal(y[:, :-1], augmented(pipe, colors, percentile))  # the same draws


@pytest.mark.parametrize('preset', ['blit', 'geom', 'filter', 'cutout'])
def test_all_else_treats_channels_alike(images, preset):
    pipe = make_pipe(preset)
    y = augmented(pipe, images)
    assert not torch.equal(y[:, -1], images[:, -1])
    torch.testing.assert_close(y[:, -1:], augmented(pipe, images[:, -1:]))
    torch.testing.assert_close(y[:, :-1], augmented(pipe, images[:, :-1]))


def test_noise_is_on_alpha_too(images):
    assert (augmented(make_pipe('noise'), images)[:, -1] - images[:, -1]).std() > 0.01


def test_of_nothing_colour_makes_nothing():
    assert make_pipe('color')(torch.zeros(0, 4, 8, 8)).shape == (0, 4, 8, 8)


def test_more_channels_are_refused():
    with pytest.raises(ValueError, match='colour augmentation needs 1 or 3 channels of colour'):
        make_pipe('color')(torch.zeros(1, 5, 8, 8))


def test_gradients_reach_all_channels(images):
    x = images.clone().requires_grad_()
    augmented(make_pipe('bgc'), x).square().sum().backward()
    assert (x.grad.abs().amax(dim=(0, 2, 3)) > 0).all()
