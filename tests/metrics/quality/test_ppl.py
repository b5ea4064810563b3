"""Perceptual path lengths: their parts, and generators of which the length is known."""

import numpy as np
import pytest
import torch
from torch import nn

from metrics import Context
from metrics.quality.ppl import face, mean_length, ppl, slerp

CPU = torch.device('cpu')


class Pixels:
    """In place of LPIPS: the squared distance of two images is the mean of the squared differences of their values in [-1, 1]."""

    def __init__(self):
        self.shapes = set()

    def lpips(self, images):
        assert images.dtype == torch.float32
        self.shapes.add(tuple(images.shape[1:]))
        return (images / 127.5 - 1).flatten(start_dim=1) / images[0].numel() ** 0.5


class Synthesis(nn.Module):
    """All pixels are the first coordinate of w, plus noise."""

    def __init__(self, size, strength):
        super().__init__()
        self.size, self.strength, self.seen = size, strength, []
        self.register_buffer('noise_const', torch.zeros(size, size))

    def forward(self, ws, noise_mode, force_fp32):
        assert noise_mode == 'const' and force_fp32
        self.seen.append(ws.clone())
        image = ws[:, 0, 0, None, None, None].expand(-1, 3, self.size, self.size)
        return image + self.strength * self.noise_const


class Linear(nn.Module):
    """ws = gain * z, twice. Counts nothing else."""

    z_dim, c_dim, img_channels = 5, 0, 3

    def __init__(self, size=16, gain=2.0, strength=0.0):
        super().__init__()
        self.img_resolution, self.gain = size, gain
        self.synthesis = Synthesis(size, strength)

    def mapping(self, z, c):
        assert c.shape == (len(z), 0)
        return (self.gain * z)[:, None].repeat(1, 2, 1)


def length(G, num=40, **kwargs):
    pixels = Pixels()
    context = Context(G, None, CPU, detectors={('vgg16', 'published'): pixels}, seed=kwargs.pop('seed', 0), batch=16)
    return ppl(context, 'x', num, **kwargs).values['x'], pixels


def test_straight_paths_of_a_linear_generator():
    """|∂x/∂t|² = gain² (z1 - z0)²: known for each path, whatever t is."""
    G = Linear()
    value, _ = length(G, num=64)
    firsts, seconds = zip(*(ws[:, 0].chunk(2) for ws in G.synthesis.seen), strict=True)
    velocity = (torch.cat(seconds) - torch.cat(firsts))[:, 0].double() / 1e-4
    assert value == pytest.approx(mean_length(velocity.square().numpy()), rel=1e-3)
    assert value == pytest.approx(2 * 2 ** 2, rel=0.5), 'z0, z1 ~ N(0, 1)'
    assert length(Linear(gain=4.0), num=64)[0] == pytest.approx(4 * value, rel=0.01)
    assert length(Linear(), num=64, sampling='full')[0] == pytest.approx(value, rel=0.6)


def test_arcs_are_of_the_unit_sphere():
    for sampling in ('end', 'full'):
        G = Linear(gain=1.0)
        value, _ = length(G, space='z', sampling=sampling)
        ws = torch.cat(G.synthesis.seen)[:, 0]
        np.testing.assert_allclose(ws.norm(dim=1), 1, rtol=1e-5)
        assert 0 < value < np.pi ** 2


def test_both_ends_share_their_noise():
    """So that it adds nothing to the length; and it differs between paths."""
    quiet, loud = length(Linear(strength=0.0))[0], length(Linear(strength=5.0))[0]
    assert loud == pytest.approx(quiet, rel=0.05)


def test_only_faces_are_looked_at():
    images = torch.arange(16 * 16).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(face(images)[0, 0], images[0, 0, 6:14, 4:12])
    assert length(Linear(), num=4, crop=True)[1].shapes == {(3, 8, 8)}


def test_large_images_are_shrunk_by_means():
    assert length(Linear(size=512), num=3)[1].shapes == {(3, 256, 256)}
    assert length(Linear(size=512), num=3, crop=True)[1].shapes == {(3, 128, 128)}
    assert length(Linear(size=256), num=3)[1].shapes == {(3, 256, 256)}


def test_numbers_do_not_depend_on_batches_and_change_with_the_seed():
    assert length(Linear(), num=33)[0] == length(Linear(), num=33)[0] != length(Linear(), num=33, seed=1)[0]
    G = Linear(strength=1.0)
    length(G)
    assert not G.synthesis.noise_const.any(), 'the network keeps its own noise'


def test_slerp_goes_along_the_great_circle():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    unit_a, unit_b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    angle = (unit_a * unit_b).sum(dim=1).acos()
    torch.testing.assert_close(slerp(a, b, torch.zeros(6).double()), unit_a)
    torch.testing.assert_close(slerp(a, b, torch.ones(6).double()), unit_b)
    for t in (0.25, 0.7):
        x = slerp(a, b, torch.full([6], t).double())
        torch.testing.assert_close(x.norm(dim=1), torch.ones(6).double())
        torch.testing.assert_close((x * unit_a).sum(dim=1).acos(), t * angle)
        torch.testing.assert_close((x * unit_b).sum(dim=1).acos(), (1 - t) * angle)


def test_extremes_are_left_out():
    lengths = np.random.RandomState(0).permutation(1000).astype(np.float32)  # 0..999
    assert mean_length(lengths) == pytest.approx(np.mean(np.arange(9, 991)))
    lengths[lengths == 999] = 1e9
    assert mean_length(lengths) == pytest.approx(np.mean(np.arange(9, 991)))
    assert mean_length(np.float32([3])) == 3 and np.isnan(mean_length(np.float32([np.nan, 1])))
