"""Shapes rendered from known factors: how they are drawn, what is stored, and what is shared between domains."""

import json

import numpy as np
import pytest
from helpers.dataset_making import content, tool

import dataset_tool
from dnnlib import OptionError, UserError
from training.data.labels import _read_factors
from training.data.making import synthetic
from training.data.making.rendering import BAND_GREY, SHAPES, VALUE, colours, render
from training.data.making.synthetic import FACTORS, draw_factors, open_synthetic
from training.dataset import ImageFolderDataset

NAMES = [name for name, _, _ in FACTORS]
MIDDLE = dict(shape=0, x=0, y=0, size=0.25, rotation=0, hue=0, background=0, stroke=0, light=0.5)


def picture(pixels=32, **factors):
    """One picture, float64 [pixels, pixels, 3] in [0, 1], of MIDDLE but for some factors."""
    return render(np.array([[(MIDDLE | factors)[name] for name in NAMES]]), pixels)[0] / 255


def coloured(image):
    """How much of each pixel of a picture of hue 0 on black shows the shape: [H, W]."""
    return (image[..., 0] - image[..., 1]) / (VALUE * 0.85)


@pytest.mark.parametrize('shape', range(len(SHAPES)))
def test_edges_are_anti_aliased(shape):
    """A picture is the average of one that is eight times as large."""
    for rotation in (0, 0.13):
        small, large = (picture(pixels, shape=shape, rotation=rotation, stroke=0.6, x=0.01) for pixels in (32, 256))
        averaged = large.reshape(32, 8, 32, 8, 3).mean(axis=(1, 3))
        assert np.abs(small - averaged).max() < 0.08 and np.abs(small - averaged).mean() < 0.002


@pytest.mark.parametrize('shape', range(len(SHAPES)))
def test_no_shape_is_cut_off_or_looks_the_same_when_turned(shape):
    turns = np.arange(12) / 12
    pictures = np.stack([picture(64, shape=shape, rotation=r, size=synthetic.SIZES[1], stroke=1, x=synthetic.FARTHEST,
                                 y=-synthetic.FARTHEST) for r in turns])
    assert np.ptp(pictures[:, [0, -1]]) == 0 and np.ptp(pictures[:, :, [0, -1]]) == 0, 'borders show the background alone'
    turned = np.stack([picture(64, shape=shape, rotation=r) for r in turns])
    assert np.square(turned[1:] - turned[0]).mean(axis=(1, 2, 3)).min() > 0.002


def test_each_factor_moves_what_it_is_called_after():
    base = coloured(picture())
    assert np.abs(np.roll(base, 4, axis=1) - coloured(picture(x=4 / 32))).max() < 0.01
    assert np.abs(np.roll(base, 4, axis=0) - coloured(picture(y=4 / 32))).max() < 0.01
    assert np.abs(np.rot90(base, -1) - coloured(picture(rotation=0.25))).max() < 0.01, 'clockwise'
    assert coloured(picture(size=0.2)).sum() / base.sum() == pytest.approx((0.2 / 0.25) ** 2, rel=0.02)
    assert picture(background=1)[0, 0] == pytest.approx(0.55, abs=0.01)
    assert np.ptp(picture(light=0, background=1)[0, :, 0]) > 0.4 and picture(light=0, background=1)[0, 0, 0] > 0.7
    bands = [(np.abs(picture(stroke=s)[..., 1] - BAND_GREY) < 0.02).sum() for s in (0, 0.5, 1)]
    assert bands[0] == 0 < bands[1] < bands[2]
    middle = picture(hue=1 / 3)[16, 16]
    assert middle == pytest.approx(colours(np.array([1 / 3]))[0], abs=0.01) and middle.argmax() == 1, 'green'


def test_a_picture_depends_on_its_own_factors_alone():
    factors, _, _ = draw_factors(20, 3, False, 0)
    together = render(factors, 32)
    assert all((render(factors[i:i + 1], 32)[0] == together[i]).all() for i in range(20))


def test_content_is_alike_in_all_domains_and_style_is_not():
    factors, domain, _ = draw_factors(4500, 9, False, 0)
    means, spreads = (np.stack([f(factors[domain == u], axis=0) for u in range(9)]) for f in (np.mean, np.std))
    for i, (name, kind, role) in enumerate(FACTORS):
        if kind != 'circle':
            shift = np.ptp(means[:, i]) / factors[:, i].std()
            assert shift < 0.4 if role == 'content' else shift > 1, name
    assert (spreads[:, NAMES.index('background')].max() > 1.3 * spreads[:, NAMES.index('background')].min())
    hues = np.exp(2j * np.pi * factors[:, NAMES.index('hue')])
    centres = [hues[domain == u].mean() for u in range(9)]
    assert min(map(abs, centres)) > 0.7 and abs(np.mean(centres)) < 0.1, 'each has a hue of its own, all around the circle'
    inside = factors[domain == 4]
    related = np.corrcoef(inside[:, [NAMES.index(n) for n in ('x', 'size', 'background', 'stroke', 'light')]].T) - np.eye(5)
    assert np.abs(related).max() < 0.2


def test_domains_are_equally_large_and_pairs_share_their_content():
    _, domain, content = draw_factors(100, 3, False, 0)
    assert np.ptp(np.bincount(domain)) <= 1 and (content == np.arange(100)).all()
    factors, domain, content = draw_factors(10, 3, True, 0)
    assert (domain == np.tile([0, 1, 2], 10)).all()
    same = factors.reshape(10, 3, 9)
    assert np.ptp(same[..., :5], axis=1).max() == 0 < np.ptp(same[..., 5:], axis=1).min()


def test_splits_share_nothing_and_are_parts_of_the_whole():
    rows = {split: [tuple(image.factors) for image in open_synthetic(100, 4, split=split, size=8)]
            for split in (None, 'train', 'test')}
    assert len(rows['test']) == 10 and set(rows['train']) | set(rows['test']) == set(rows[None])
    assert not set(rows['train']) & set(rows['test'])
    assert open_synthetic(100, 3, paired=True, split='test').size == 12, 'a tenth of 33 tuples'


def test_the_command_stores_what_it_renders(tmp_path):
    args = ['--source=synthetic', '--domains=3', '--max-images=31', '--paired', '--resolution=16', '--workers=1']
    for name in ('a.zip', 'b.zip'):
        assert '30 images, 16x16 RGB; 3 domains' in tool(*args, f'--dest={tmp_path / name}')
    assert (tmp_path / 'a.zip').read_bytes() == (tmp_path / 'b.zip').read_bytes()
    tool(*args, f'--dest={tmp_path / "c.zip"}', '--seed=1')
    assert (tmp_path / 'a.zip').read_bytes() != (tmp_path / 'c.zip').read_bytes()
    fields = content(tmp_path / 'a.zip')
    assert fields['factor_names'] == [list(entry) for entry in FACTORS] and fields['contents'] == list(SHAPES)
    data = ImageFolderDataset(str(tmp_path / 'a.zip'), use_labels=True, max_size=20)
    assert [tuple(entry) for entry in data.factor_names] == list(FACTORS) and data.domains == ['domain0', 'domain1', 'domain2']
    stored = {name: np.array(values) for name, values in fields['factors']}
    for i in range(len(data)):
        image, label = data[i]
        values = stored[data.names[data.get_details(i).raw_idx]]
        np.testing.assert_array_equal(render(values[None], 16)[0].transpose(2, 0, 1), image)
        np.testing.assert_allclose(data.get_factors(i), values, atol=1e-6)
        assert label.shape == (3,) and data.get_content(i) == values[0]


def test_a_conversion_says_that_it_leaves_factors_out(tmp_path):
    tool('--source=synthetic', '--domains=2', '--max-images=4', '--workers=1', f'--dest={tmp_path / "a.zip"}')
    text = tool(f'--source={tmp_path / "a.zip"}', '--resolution=8', f'--dest={tmp_path / "b.zip"}')
    assert 'Its factors are left out' in text and 'factors' not in content(tmp_path / 'b.zip')
    assert ImageFolderDataset(str(tmp_path / 'b.zip')).factor_names is None


@pytest.mark.parametrize('names, factors', [
    ('x', [['a.png', [1]]]), ([['x', 'number']], [['a.png', [1]]]), ([['x', 'angle', 'style']], [['a.png', [1]]]),
    ([['x', 'number', 'style']], [['a.png', [1, 2]]]), ([['x', 'number', 'style']], [['a.png', 1]]), ([], [])])
def test_keys_of_other_tools_are_not_taken_for_factors(names, factors):
    assert _read_factors(dict(factor_names=names, factors=factors)) == (None, None)


def test_an_image_without_factors_is_named(tmp_path):
    tool('--source=synthetic', '--domains=2', '--max-images=2', '--workers=1', f'--dest={tmp_path / "a"}')
    fields = json.loads((tmp_path / 'a' / 'dataset.json').read_text())
    fields['factors'].pop()
    (tmp_path / 'a' / 'dataset.json').write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r'no factor for 00000/img00000001\.png'):
        ImageFolderDataset(str(tmp_path / 'a')).get_factors(0)


@pytest.mark.parametrize('option, message', [
    ('--domains=1', 'takes a number of domains: --domains=2 to 9'), ('--domains=10', '--domains=2 to 9'),
    ('--domains=red,blue', '--domains=2 to 9'), ('--fonts=x.ttf', '--fonts is not for --source=synthetic'),
    ('--max-images=8', 'less than an image for each of 9 domains; give at least 9')])
def test_what_cannot_be_done_is_said_in_one_line(option, message, tmp_path):
    with pytest.raises((dataset_tool.click.UsageError, OptionError), match=message):
        dataset_tool.main(['--source=synthetic', option, f'--dest={tmp_path / "out.zip"}'], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_a_number_of_domains_is_for_synthetic_images_alone(tmp_path):
    with pytest.raises(dataset_tool.click.UsageError, match='--domains=3: a number of domains is for --source=synthetic'):
        dataset_tool.main(['--source=mnist', '--domains=3', f'--dest={tmp_path / "out.zip"}'], standalone_mode=False)
