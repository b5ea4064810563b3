"""The augmentation pipeline: recorded numbers, what it leaves alone, gradients, and what random numbers it draws."""

import inspect
import io
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils.persistence import dump, from_record, load, to_record
from training.augment import AugmentPipe
from training.augmentation import color, filters, geometry
from training.augmentation.draws import Draws
from training.augpipes import AUGPIPES

SAMPLES = 20000


def make_pipe(preset='', p=1.0, **kwargs):
    pipe = AugmentPipe(**AUGPIPES.get(preset, {}), **kwargs)
    pipe.p.fill_(p)
    return pipe


def waves(*shape):
    return torch.from_numpy(np.sin(0.05 * np.arange(1, math.prod(shape) + 1)).astype(np.float32)).reshape(shape)


# Recorded numbers.

def test_agrees_with_golden_numbers(golden, agrees):
    g = golden('augment')
    pipe = AugmentPipe()
    agrees(pipe.Hz_geom, g['Hz_geom'], 1e-6)
    agrees(pipe.Hz_fbank, g['Hz_fbank'], 1e-6)
    for case in g.meta['cases']:
        y = AugmentPipe(**case['kwargs'])(g[case.get('input', 'img')], debug_percentile=case['debug_percentile'])
        samples_the_grid = {'xflip', 'scale'} & set(case['kwargs'])
        agrees(y, g[case['key']], 1e-3 if samples_the_grid else 1e-4)


TABLE = {  # what is on: sum, sum of absolute values, first three, last; at percentile 0.7, unless a number follows
    'xflip': (4.142855, 3915.938290, 0.999593, 0.999523, 0.997200, -0.793525),
    'rotate90': (1.408643, 3906.463993, 0.772466, 0.740516, 0.701405, -0.996342),
    'xint': (-45.897232, 3916.307995, -0.206902, -0.157745, -0.108195, 0.740952),
    'scale': (-6.343341, 3667.530847, 0.801939, 0.812019, 0.818880, -0.771372),
    'rotate': (-3.297576, 3686.024626, 0.954019, -0.064482, -0.946027, -0.804607),
    'aniso': (0.718556, 3647.810838, 0.802457, 0.809572, 0.813805, -0.738001),
    'xfrac': (-44.060187, 3840.852406, 0.669228, 0.716307, 0.715024, -0.073046),
    'blit': (25.289954, 3906.828052, 0.632062, 0.670298, 0.706859, -0.054618),
    'geom': (-9.456736, 3694.385152, 0.863053, 0.543689, -0.642394, 0.214545),
    'geom 0.3': (-49.760017, 2747.857137, -0.797877, -0.584357, 0.637184, 0.496241),
    'brightness': (459.733366, 3927.524544, 0.124141, 0.173995, 0.223600, -0.551579),
    'contrast': (4.645858, 4452.918270, 0.056833, 0.113524, 0.169931, -0.711551),
    'lumaflip': (-4.085580, 3685.063905, -1.165327, -1.154296, -1.140380, 0.832046),
    'hue': (4.085583, 3718.378222, 0.494059, 0.498256, 0.501208, -0.937232),
    'saturation': (4.085584, 4478.020005, -0.113462, -0.054686, 0.004227, -0.595508),
    'color': (-522.778866, 5080.706579, -0.942344, -0.986789, -1.028978, 0.438176),
    'color grey': (-179.247705, 1475.748583, -0.141165, -0.197856, -0.254263, 0.554433),
    'filter': (3.871309, 3710.534986, 0.047358, 0.094598, 0.141601, -0.592922),
    'cutout': (3.487884, 2945.979650, 0.049979, 0.099833, 0.149438, -0.625740),
}


@pytest.mark.parametrize('case', TABLE)
def test_agrees_with_the_table_of_the_specification(case):
    name, _, variant = case.partition(' ')
    x = waves(2, 3, 24 if variant == '0.3' else 32, 32)[:, :1 if variant == 'grey' else 3]
    y = AugmentPipe(**AUGPIPES.get(name, {name: 1}))(x, debug_percentile=0.3 if variant == '0.3' else 0.7)
    total, total_abs, *samples = TABLE[case]
    assert y.double().sum().item() == pytest.approx(total, abs=1e-5 * total_abs)
    assert y.double().abs().sum().item() == pytest.approx(total_abs, rel=1e-5)
    assert [*y.flatten()[:3].tolist(), y.flatten()[-1].item()] == pytest.approx(samples, abs=1e-4)


# Images.

@pytest.mark.parametrize('channels, height, width', [(3, 32, 32), (1, 32, 32), (3, 24, 41)])
def test_p_0_leaves_images_alone(channels, height, width):
    torch.manual_seed(0)
    x = torch.rand(4, channels, height, width) * 2 - 1
    assert (make_pipe('bgcfnc', p=0)(x) - x).abs().max() < 1.1e-5


def test_a_pipe_without_transforms_returns_the_images():
    x = torch.randn(2, 5, 3, 3)
    assert torch.equal(AugmentPipe()(x), x)


@pytest.mark.parametrize('height, width', [(24, 24), (24, 15)])
def test_flips_and_quarter_turns_keep_the_pixels_of_smooth_images(height, width, agrees):
    """But not exactly: the filters that enlarge and shrink are mirror images of each other, unless the image turns.
    Then what each shifts, a part of a pixel, adds up in place of cancelling."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing='ij')
    x = torch.stack([y, x, (3 * x + 2 * y).sin()])[None]
    agrees(AugmentPipe(xflip=1)(x, 0.6), x.flip(3), 0.08)
    if height == width:
        for i, expected in enumerate([x, x.transpose(2, 3).flip(2), x.flip([2, 3]), x.transpose(2, 3).flip(3)]):
            agrees(AugmentPipe(rotate90=1)(x, (i + 0.5) / 4), expected, 0.08)


def test_whole_shifts_keep_the_pixels(agrees):
    """What enters is the reflection, which has the edge once."""
    x = torch.randn(2, 3, 32, 40)
    mirrored = torch.nn.functional.pad(x, [5, 0, 4, 0], mode='reflect')[:, :, :32, :40]
    agrees(AugmentPipe(xint=1)(x, 0.99), mirrored, 1e-4)
    mirrored = torch.nn.functional.pad(x, [0, 5, 0, 4], mode='reflect')[:, :, -32:, -40:]
    agrees(AugmentPipe(xint=1)(x, 0.01), mirrored, 1e-4)


def test_beyond_the_reflection_is_nothing():
    y = AugmentPipe(xint=1, xint_max=4)(torch.ones(1, 1, 8, 8), 0.9)  # 26 pixels away; the reflection has 7
    assert y.abs().max() < 1e-6


def test_matrices_and_filters_resample_alike(monkeypatch, agrees):
    """The two ways of resampling, for small and for large images; values and gradients."""
    pipe, x = make_pipe('bg'), torch.randn(3, 2, 10, 14, requires_grad=True)
    results = []
    for size in (128, 0):
        monkeypatch.setattr(geometry, 'MATRIX_SIZE', size if size else -100)
        torch.manual_seed(1)
        y = pipe(x)
        results += [(y, torch.autograd.grad(y.pow(3).sum(), x)[0])]
    for a, b in zip(*results, strict=True):
        agrees(a, b, 1e-5)


def test_margins_hold_the_corners_of_every_image():
    """Against the definition: the four corners of every image, mapped one by one."""
    torch.manual_seed(0)
    pipe = make_pipe('bg', scale_std=0.8)
    seen = set()
    for _ in range(50):
        G = geometry.draw_inverse_transform(pipe, Draws(2, pipe.p), 12, 20)
        corners = torch.tensor([[x, y] for x in (-9.5, 9.5) for y in (-5.5, 5.5)])
        mapped = torch.cat([corners @ G.linear[i].T + G.offset[i] for i in range(2)])
        ends = [-mapped[:, 0].min() - 9.5, -mapped[:, 1].min() - 5.5, mapped[:, 0].max() - 9.5, mapped[:, 1].max() - 5.5]
        exact = [min(max(end.item() + 2, 0), size - 1) for end, size in zip(ends, (20, 12, 20, 12), strict=True)]
        margins = geometry.margins(G, 12, 20, 2)
        assert all(-1e-4 < m - e < 1 + 1e-4 for m, e in zip(margins, exact, strict=True))
        seen.update(margins)
    assert {0, 11, 19} < seen


@pytest.mark.parametrize('size', [(4, 4), (5, 4), (4, 30)])
def test_geometry_and_colour_of_tiny_images(size):
    torch.manual_seed(0)
    y = make_pipe('bgc')(torch.randn(16, 3, *size))
    assert y.shape == (16, 3, *size) and y.isfinite().all() and y.std() > 0.1


@pytest.mark.parametrize('percentile', [1e-300, 1e-9, 1 - 1e-9, 1 - 2 ** -53])
def test_extreme_percentiles_are_finite(percentile):
    x = torch.randn(2, 3, 24, 24)
    assert make_pipe('bgcfnc', imgfilter_std=0.5)(x, debug_percentile=percentile).isfinite().all()


@pytest.mark.parametrize('percentile', [0, 1, -0.1, 1.5, math.nan])
def test_percentiles_outside_are_refused(percentile):
    with pytest.raises(ValueError, match='debug_percentile'):
        make_pipe('color')(torch.zeros(1, 3, 4, 4), debug_percentile=percentile)


def test_images_that_do_not_fit_are_refused():
    assert make_pipe('bg')(torch.zeros(1, 2, 8, 8)).shape == (1, 2, 8, 8)
    for channels in (2, 4):
        with pytest.raises(ValueError, match=f'1 or 3 channels, not {channels}'):
            make_pipe('color')(torch.zeros(1, channels, 8, 8))
    assert make_pipe('filter')(torch.zeros(1, 2, 22, 23)).shape == (1, 2, 22, 23)
    for size in ((21, 30), (30, 21)):
        with pytest.raises(ValueError, match=r'larger than 21 pixels, not \d+x\d+'):
            make_pipe('filter')(torch.zeros(1, 3, *size))
    with pytest.raises(ValueError, match='N, C, H, W'):
        make_pipe()(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match='imgfilter_bands'):
        AugmentPipe(imgfilter_bands=[1, 1])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_come_back_as_they_were(dtype):
    x = (torch.rand(2, 3, 24, 24) - 0.5).to(dtype)
    y = make_pipe('bgcf')(x, 0.6)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), make_pipe('bgcf')(x.float(), 0.6), atol=0.02, rtol=0.02)


# Gradients.

@pytest.mark.parametrize('preset, size', [('bgc', (4, 5)), ('bgcfnc', (22, 22))])
@pytest.mark.parametrize('channels', [1, 3])
def test_first_and_second_gradients(preset, size, channels):
    pipe = make_pipe(preset, p=0.7).double()
    torch.manual_seed(0)
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)

    def cubed(x):
        torch.manual_seed(3)
        return pipe(x).pow(3)

    assert torch.autograd.gradcheck(cubed, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(cubed, x, fast_mode=True)


# Random parameters. Each transform is read off the matrix that it makes.

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


# The module.

def test_images_of_a_batch_get_their_own_parameters():
    pipe = make_pipe('bgcfnc')
    x = waves(1, 3, 24, 24).repeat(8, 1, 1, 1)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(pipe(x))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    distances = torch.cdist(results[0].flatten(1), results[0].flatten(1))
    assert (distances + 100 * torch.eye(8)).min() > 0.1


def test_p_above_1_saturates():
    results = []
    for p in (1.0, 50.0):
        torch.manual_seed(0)
        results.append(make_pipe('bgcfnc', p=p)(waves(4, 3, 24, 24)))
    assert torch.equal(*results)


def test_survives_as_a_record():
    pipe = AugmentPipe(**AUGPIPES['bgcf'], imgfilter_bands=[1, 0.5, 0, 1], rotate_max=0.25)
    pipe.p.fill_(0.375)
    file = io.BytesIO()
    dump(to_record(pipe), file)
    file.seek(0)
    copy = from_record(load(file), {'AugmentPipe': AugmentPipe})
    assert copy.init_kwargs == pipe.init_kwargs and copy.p.item() == 0.375
    x, results = waves(2, 3, 24, 24), []
    for module in (pipe, copy):
        torch.manual_seed(0)
        results.append(module(x))
    assert torch.equal(*results)


def test_arguments_and_state():
    names = list(inspect.signature(AugmentPipe).parameters)
    assert ' '.join(names) == (
        'xflip rotate90 xint xint_max scale rotate aniso xfrac scale_std rotate_max aniso_std xfrac_std brightness contrast '
        'lumaflip hue saturation brightness_std contrast_std hue_max saturation_std imgfilter imgfilter_bands imgfilter_std '
        'noise cutout noise_std cutout_size')
    pipe = AugmentPipe(xflip=1, imgfilter_bands=(1, 0, 0, 1))
    assert pipe.xflip == 1.0 and type(pipe.xflip) is float and pipe.imgfilter_bands == [1.0, 0.0, 0.0, 1.0]
    assert {k: list(t.shape) for k, t in pipe.state_dict().items()} == {'p': [], 'Hz_geom': [12], 'Hz_fbank': [4, 43]}
    assert pipe.p.item() == 1 and not list(pipe.parameters())


def test_presets():
    """Each is the one before it and more; and options are checked without torch."""
    counts = {name: len(kwargs) for name, kwargs in AUGPIPES.items()}
    assert counts == dict(blit=3, geom=4, color=5, filter=1, noise=1, cutout=1, bg=7, bgc=12, bgcf=13, bgcfn=14, bgcfnc=15)
    for kwargs in AUGPIPES.values():
        assert kwargs.items() <= AUGPIPES['bgcfnc'].items() and set(kwargs.values()) == {1}
        AugmentPipe(**kwargs)
    subprocess.run([sys.executable, '-c', 'import sys, training.augpipes; sys.exit("torch" in sys.modules)'], check=True)


def test_the_host_waits_for_the_device_once(monkeypatch):
    class Watch(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.ops = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.ops.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    fetched = []
    to_list = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda t: fetched.append(t.shape) or to_list(t))
    pipe, x = make_pipe('bgcfnc'), waves(2, 3, 24, 24)
    with Watch() as watch:
        pipe(x)
    assert fetched == [(4,)] and 'rand' in watch.ops
    # Numbers fetched one by one, tensors made of the host's numbers, results whose size depends on values.
    assert not watch.ops & {'_local_scalar_dense', 'item', 'lift_fresh', 'nonzero', 'masked_select'}
