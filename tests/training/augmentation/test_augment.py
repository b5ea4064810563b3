"""The augmentation pipeline: recorded numbers, what it leaves alone, gradients, and the module itself."""

import inspect
import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.augmenting import make_pipe
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils.persistence import dump, from_record, load, to_record
from training.augmentation import geometry
from training.augmentation.draws import Draws
from training.augmentation.pipe import AugmentPipe
from training.augmentation.presets import AUGPIPES


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


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


@pytest.mark.parametrize('size', [2, 13, 64, 257])
def test_margins_in_steps_hold_the_exact_ones_and_are_few(size):
    sums = set()
    for before in range(size):
        for after in range(0, size, 3):
            wider = geometry.in_steps(before, after, size)
            assert before <= wider[0] < size and after <= wider[1] < size
            assert sum(wider) <= before + after + (size - 1) / 4 + 1
            sums.add(sum(wider))
    assert len(sums) <= geometry.STEPS + 1


def test_where_shapes_should_be_few_there_are_and_results_are_the_same(monkeypatch):
    """As on CUDA, for images above 128 pixels; here, smaller ones are taken for such."""
    monkeypatch.setattr(geometry, 'MATRIX_SIZE', -100)
    enlarge, shapes = geometry.enlarge, []
    monkeypatch.setattr(geometry, 'enlarge', lambda *args: shapes.append(enlarge(*args).shape) or enlarge(*args))
    pipe, x = make_pipe('bg', p=0.5), torch.randn(4, 1, 40, 40)
    results = []
    for few in (False, True):
        monkeypatch.setattr(geometry.devices, 'wants_few_shapes', lambda device, few=few: few)
        torch.manual_seed(0)
        results.append([pipe(x) for _ in range(60)])
    assert len(set(shapes[:60])) > 50 and len(set(shapes[60:])) < 25
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


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
    for channels in (5, 6):
        with pytest.raises(ValueError, match=f'1 or 3 channels of colour, not {channels}'):
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
    code = 'import sys, training.augmentation.presets; sys.exit("torch" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


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
