"""What the augmentation pipeline draws: how often each transform happens, how its values are distributed, what they do."""

import math

import numpy as np
import pytest
import scipy.spatial
import scipy.special
import scipy.stats
import torch
from helpers.augmenting import make_pipe

from training.augmentation import color, filters, geometry
from training.augmentation.draws import Draws
from training.augmentation.pipe import AugmentPipe
from training.augmentation.presets import AUGPIPES

SAMPLES = 20000


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# Each transform is read off the matrix that it makes.

def geometric(pipe, n=SAMPLES, height=4000, width=8000):
    torch.manual_seed(0)
    return geometry.draw_inverse_transform(pipe, Draws(n, pipe.p), height, width)


def colored(pipe, channels=3):
    torch.manual_seed(0)
    return color.draw_color_transform(pipe, Draws(SAMPLES, pipe.p), channels)


def check_chance(happened, chance):
    """Within 4 standard deviations of a binomial distribution."""
    frequency = happened.double().mean().item()
    assert abs(frequency - chance) <= 4 * math.sqrt(chance * (1 - chance) / happened.numel()), (frequency, chance)


def check_distribution(values, cdf, *args):
    assert scipy.stats.kstest(values.double().numpy(), cdf, args=args).pvalue > 0.01


GATES = [(1.0, 0.3, 0.3), (0.5, 0.6, 0.3), (1.0, 1.0, 1.0), (0.5, 3.0, 1.0), (1.0, 0.0, 0.0)]  # strength, p, chance


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_scale_and_aniso(strength, p, chance):
    for name, y_sign in (('scale', 1), ('aniso', -1)):
        G = geometric(make_pipe(p=p, **{name: strength, f'{name}_std': 0.3}))
        n = -G.linear[:, 0, 0].log2()
        check_chance(n != 0, chance)
        torch.testing.assert_close(-G.linear[:, 1, 1].log2(), y_sign * n, atol=1e-5, rtol=1e-5)
        assert not G.linear[:, [0, 1], [1, 0]].any() and not G.offset.any()
        if chance:
            check_distribution(n[n != 0], 'norm', 0, 0.3)


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_shifts(strength, p, chance):
    for name, values in (('xfrac', ('norm', 0, 0.2)), ('xint', ('uniform', -0.2, 0.4))):
        pipe = make_pipe(p=p, **{name: strength, 'xfrac_std': 0.2, 'xint_max': 0.2})
        G = geometric(pipe)
        assert torch.equal(G.linear, torch.eye(2).expand(SAMPLES, 2, 2))
        moved = G.offset.any(dim=1)
        check_chance(moved, chance)  # both axes or none
        assert (G.offset.round() == G.offset).all() == (name == 'xint' or chance == 0)
        if chance:
            x, y = -G.offset[moved, 0] / 8000, -G.offset[moved, 1] / 4000
            check_distribution(x + (torch.rand(len(x)) - 0.5) / 8000, *values)  # as if not rounded
            check_distribution(y + (torch.rand(len(y)) - 0.5) / 4000, *values)
            assert abs(np.corrcoef(x, y)[0, 1]) < 4 / math.sqrt(len(x))


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_flips_and_quarter_turns(strength, p, chance):
    G = geometric(make_pipe(p=p, xflip=strength))
    check_chance(G.linear[:, 0, 0] == -1, chance / 2)
    check_chance(G.linear[:, 0, 0] == 1, 1 - chance / 2)
    assert (G.linear[:, 1, 1] == 1).all()
    G = geometric(make_pipe(p=p, rotate90=strength))
    turns = torch.atan2(G.linear[:, 1, 0], G.linear[:, 0, 0]) / (math.pi / 2) % 4
    for i in range(4):
        check_chance((turns - i).abs() < 1e-3, chance / 4 + (i == 0) * (1 - chance))


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_rotation_before_or_after_has_the_chance_stated(strength, p, chance):
    G = geometric(make_pipe(p=p, rotate=strength))
    angle = torch.atan2(G.linear[:, 1, 0], G.linear[:, 0, 0])
    check_chance(angle != 0, chance)
    if chance:
        check_distribution(angle[angle != 0], 'uniform', -math.pi, 2 * math.pi)
    # With the square of the gates' chance both take place: then angles go beyond the range of one.
    G = geometric(make_pipe(p=p, rotate=strength, rotate_max=0.1))
    angle = torch.atan2(G.linear[:, 1, 0], G.linear[:, 0, 0]) / (0.1 * math.pi)
    check_chance(angle.abs() > 1, (1 - math.sqrt(1 - chance)) ** 2 / 4)
    assert angle.abs().max() < 2


def test_geometry_composes_in_the_order_stated():
    """Against products of homogeneous matrices, drawn in the same order."""
    torch.manual_seed(0)
    pipe = make_pipe('bg')
    G = geometry.draw_inverse_transform(pipe, Draws(5, pipe.p), 32, 48)
    torch.manual_seed(0)
    draws = Draws(5, pipe.p)
    flip, turn, t = draws.integer(2, 1), draws.integer(4, 1), draws.uniform(0.125, 1, pair=True)
    s, pre, a, post = (draws.normal(0.2, 1), draws.uniform(math.pi, 1), draws.normal(0.2, 1), draws.uniform(math.pi, 1))
    u = draws.normal(0.125, 1, pair=True)
    for i in range(5):
        c = [[math.cos(v[i]), -math.sin(v[i]), 0, math.sin(v[i]), math.cos(v[i]), 0, 0, 0, 1]
             for v in (turn * math.pi / 2, pre, post)]
        turned, before, after = (np.array(v).reshape(3, 3) for v in c)
        jump, shift = np.eye(3), np.eye(3)
        jump[:2, 2] = [-round(48 * t[i, 0].item()), -round(32 * t[i, 1].item())]
        shift[:2, 2] = [-48 * u[i, 0].item(), -32 * u[i, 1].item()]
        expected = np.diag([1 - 2 * flip[i].item(), 1, 1]) @ turned @ jump @ np.diag([2 ** -s[i].item()] * 2 + [1])
        expected = expected @ before @ np.diag([2 ** -a[i].item(), 2 ** a[i].item(), 1]) @ after @ shift
        actual = torch.cat([G.linear[i], G.offset[i, :, None]], dim=1).numpy()
        np.testing.assert_allclose(actual, expected[:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_colors(strength, p, chance):
    def drawn(name, **kwargs):
        return colored(make_pipe(p=p, **{name: strength}, **kwargs))

    eye, v = torch.eye(3), torch.ones(3, 1) / math.sqrt(3)
    matrix, offset = drawn('brightness', brightness_std=0.3)
    assert torch.allclose(matrix, eye, atol=1e-6) and torch.equal(offset, offset[:, :1].expand(-1, 3, 1))
    readings = {'brightness': (offset[:, 0, 0], 'norm', 0, 0.3)}
    matrix, offset = drawn('contrast', contrast_std=0.4)
    readings['contrast'] = matrix[:, 0, 0].log2(), 'norm', 0, 0.4
    assert torch.allclose(matrix, matrix[:, :1, :1] * eye, atol=1e-5) and not offset.any()
    matrix, _ = drawn('saturation', saturation_std=0.5)
    readings['saturation'] = ((matrix.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).log2(), 'norm', 0, 0.5
    assert torch.allclose(matrix @ v, v, atol=1e-5)
    matrix, _ = drawn('hue', hue_max=0.9)
    angle = torch.atan2((matrix[:, 1, 0] - matrix[:, 0, 1]) * math.sqrt(3), matrix.diagonal(dim1=1, dim2=2).sum(1) - 1)
    readings['hue'] = angle, 'uniform', -0.9 * math.pi, 1.8 * math.pi
    assert torch.allclose(matrix @ matrix.mT, eye, atol=1e-5) and torch.allclose(matrix @ v, v, atol=1e-5)
    for value, *distribution in readings.values():
        happened = value.abs() > 1e-6
        check_chance(happened, chance)
        if chance:
            check_distribution(value[happened], *distribution)
    matrix, _ = drawn('lumaflip')
    flipped = (matrix @ v - v).abs().amax(dim=(1, 2)) > 1e-3
    check_chance(flipped, chance / 2)
    torch.testing.assert_close(matrix[flipped], (eye - 2 * v @ v.T).expand(int(flipped.sum()), 3, 3))


def test_colors_compose_in_the_order_stated():
    """Against products of homogeneous matrices; grey images get what is left of these for grey colours."""
    for q in (0.2, 0.7):
        kwargs = AUGPIPES['color'] | dict(hue_max=0.6)
        b, c, s = (math.sqrt(0.5) * scipy.stats.norm.ppf(q) * std for std in (0.2, 0.5, 1))
        theta, v = (2 * q - 1) * math.pi * 0.6, np.ones(3) / math.sqrt(3)
        hue = scipy.spatial.transform.Rotation.from_rotvec(theta * v).as_matrix()
        steps = [np.eye(4) for _ in range(5)]
        steps[0][:3, 3] = b
        steps[1][:3, :3] *= 2 ** c
        steps[2][:3, :3] -= 2 * math.floor(2 * q) * np.outer(v, v)
        steps[3][:3, :3] = hue
        steps[4][:3, :3] = np.outer(v, v) + (np.eye(3) - np.outer(v, v)) * 2 ** s
        product = np.linalg.multi_dot(steps[::-1])
        pipe = AugmentPipe(**kwargs)
        matrix, offset = color.draw_color_transform(pipe, Draws(1, pipe.p, q), 3)
        np.testing.assert_allclose(torch.cat([matrix, offset], dim=2)[0], product[:3], atol=1e-5)
        matrix, offset = color.draw_color_transform(pipe, Draws(1, pipe.p, q), 1)
        a = product[:3].mean(axis=0)
        assert [matrix.item(), offset.item()] == pytest.approx([a[:3].sum(), a[3]], abs=1e-5)


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_band_gains(strength, p, chance):
    pipe = make_pipe(p=p, imgfilter=strength, imgfilter_bands=[1, 0, 0.5, 1], imgfilter_std=0.5)
    torch.manual_seed(0)
    gains = filters.draw_gains(pipe, Draws(SAMPLES, pipe.p))
    # The band that is never amplified tells what the normalisation was; the rest are then 2^n.
    n = (gains / gains[:, 1:2]).log2()
    for band, expected in ((0, chance), (2, min(strength * p * 0.5, 1)), (3, chance)):
        check_chance(n[:, band] != 0, expected)
        if expected:
            check_distribution(n[n[:, band] != 0, band], 'norm', 0, 0.5)
    # Literally: amplify one band after the other, and restore the power each time.
    power, product = torch.tensor([10.0, 1, 1, 1]) / 13, torch.ones(SAMPLES, 4)
    for band in range(4):
        t = torch.ones(SAMPLES, 4)
        t[:, band] = n[:, band].exp2()
        product *= t / (power * t.square()).sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(gains, product)


def test_filters_of_the_bank():
    bank = filters.filter_bank()
    impulse = torch.zeros(43)
    impulse[21] = 1
    torch.testing.assert_close(bank.sum(dim=0), impulse)
    torch.testing.assert_close(bank.sum(dim=1), torch.tensor([1.0, 0, 0, 0]))
    assert torch.equal(bank, bank.flip(1))
    assert [row.nonzero()[0].item() for row in bank] == [0, 0, 12, 18]
    expected = {0: '0.0322265625 0.05108642578125 0.0703125 0.08905029296875 0.10546875 0.11865234375 0.125',
                1: '-0.0478515625 -0.06866455078125 -0.0703125 -0.02459716796875 0.03515625 0.09228515625 0.125',
                2: '0.015625 0.017578125 0 -0.095703125 -0.140625 0.0703125 0.25', 3: '0 0 0 1 0 -9 16'}
    for row, numbers in expected.items():
        taps = np.array([float(x) for x in numbers.split()]) / (32 if row == 3 else 1)
        np.testing.assert_allclose(bank[row, 15:22], taps, atol=1e-8)


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_noise(strength, p, chance):
    pipe = make_pipe(p=p, noise=strength, noise_std=0.2)
    torch.manual_seed(0)
    noise = pipe(torch.zeros(4000, 1, 4, 8))
    present = noise.flatten(1).any(dim=1)
    check_chance(present, chance)
    if chance:
        sigma = noise[present].flatten(1).square().mean(dim=1).sqrt()
        assert sigma.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.1)
        assert sigma.median().item() == pytest.approx(0.2 * scipy.stats.halfnorm.median(), rel=0.1)
    torch.manual_seed(0)
    check_distribution(Draws(SAMPLES, pipe.p).half_normal(0.2, 1.0), 'halfnorm', 0, 0.2)
    expected = 0.2 * scipy.special.erfinv(0.7)
    assert AugmentPipe(noise=1, noise_std=0.2)(torch.zeros(4, 3, 64, 64), 0.7).std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize('strength, p, chance', GATES)
def test_cutout(strength, p, chance):
    pipe = make_pipe(p=p, cutout=strength, cutout_size=0.25)
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 8, 12)
    y = pipe(x)
    assert torch.equal(y[:, 0], y[:, 1]) and set(y.unique().tolist()) <= {0.0, 1.0}
    hole = y[:, 0] == 0
    rows, columns = hole.any(dim=2), hole.any(dim=1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None, :])
    check_chance(hole.flatten(1).any(dim=1), chance)
    if chance:
        assert set(rows.sum(dim=1).unique().tolist()) == ({0, 1, 2} if chance < 1 else {1, 2})
        for middle in (rows[:, 4], columns[:, 6]):
            check_chance(middle, 0.25 * chance)


def test_values_are_drawn_whatever_the_gate_says():
    """One transform that is rarer leaves the numbers of the others as they were."""
    results = []
    for strength in (1e-9, 1.0):
        torch.manual_seed(0)
        pipe = make_pipe('bgcfnc')
        pipe.xfrac = pipe.hue = strength
        pipe.imgfilter_bands[1] = math.floor(strength)
        pipe(torch.zeros(2, 3, 24, 24))
        results.append(torch.rand(1).item())
    assert results[0] == results[1]
