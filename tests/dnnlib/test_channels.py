"""What channels are, and what is seen of images with alpha."""

import numpy as np
import pytest
import torch

from dnnlib import channels


def test_counts_and_names():
    assert [channels.has_alpha(n) for n in (1, 2, 3, 4)] == [False, True, False, True]
    assert [channels.num_colors(n) for n in (1, 2, 3, 4)] == [1, 1, 3, 3]
    assert channels.name(4) == 'RGBA' and channels.name(5) == '5 channels'


@pytest.mark.parametrize('count', [2, 4])
@pytest.mark.parametrize('kind', [np.asarray, torch.tensor])
def test_over_is_linear_in_opacity(count, kind):
    images = np.random.default_rng(0).uniform(0, 255, (2, count, 3, 5))
    images[0, -1, 0, 0], images[1, -1, 0, 0] = 0, 255
    seen = np.asarray(channels.over(kind(images), 255))
    a = images[:, -1:] / 255
    np.testing.assert_allclose(seen, a * images[:, :-1] + (1 - a) * 255)
    assert (seen[0, :, 0, 0] == 255).all() and np.allclose(seen[1, :, 0, 0], images[1, :-1, 0, 0])
    scaled = np.asarray(channels.over(kind(images / 127.5 - 1), -1, low=-1, high=1))
    np.testing.assert_allclose(scaled, a * (images[:, :-1] / 127.5) - 1, atol=1e-12)


@pytest.mark.parametrize('count', [1, 3])
def test_images_without_alpha_are_unchanged(count):
    images, pixels = torch.rand(2, count, 4, 4), np.zeros([2, 4, 4, count], np.uint8)
    assert channels.over(images, 255) is images and channels.on_checkerboard(pixels) is pixels
    assert channels.with_alpha(pixels, count) is pixels


def test_over_has_a_gradient_to_colour_and_opacity():
    images = torch.rand(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: channels.over(x, 255), images)


@pytest.mark.parametrize('count', [2, 4])
@pytest.mark.parametrize('size,side', [(8, 2), (32, 4), (256, 16)])
def test_what_is_transparent_shows_squares(count, size, side):
    pixels = np.full([3, size, size, count], 100, np.uint8)
    pixels[0, ..., -1], pixels[1, ..., -1], pixels[2, ..., -1] = 0, 255, 51
    seen = channels.on_checkerboard(pixels)
    assert seen.dtype == np.uint8 and seen.shape == (3, size, size, count - 1)
    board = np.where((np.arange(size)[:, None] // side + np.arange(size) // side) % 2, 204, 255)
    assert (seen[0] == board[..., None]).all() and (seen[1] == 100).all()
    assert (seen[2] == np.rint(board + (100.0 - board) * 0.2)[..., None]).all()
    assert np.abs(channels.on_checkerboard(pixels / np.float32(255)) * 255 - seen).max() <= 0.5


def test_opaque_pixels_among_images_with_alpha():
    pixels = np.full([2, 2, 3], 7, np.uint8)
    assert (channels.with_alpha(pixels, 4) == [7, 7, 7, 255]).all()
    assert (channels.with_alpha(pixels[..., :1], 2) == [7, 255]).all()
