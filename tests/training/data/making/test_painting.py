"""Dependent MNIST, its colours and how they depend on the digit; Stacked MNIST, its digits and modes."""

from collections import Counter

import numpy as np
import PIL.Image
import pytest

from dnnlib import UserError
from training.data.making.painting import DEPENDENT_COLOURS, DEPENDENT_DOMAINS, dependent, stacked
from training.data.making.sources import Source, SourceImage


def digits(count):
    rng = np.random.RandomState(0)
    return Source([SourceImage(rng.randint(0, 256, [28, 28], dtype=np.uint8), i % 10, f'digit {i}') for i in range(count)], count)


def test_both_domains_show_the_same_digit():
    source = digits(3)
    images = list(dependent(source))
    assert [(image.label, image.content) for image in images] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    for i, digit in enumerate(source):
        grey = np.array(PIL.Image.fromarray(digit.pixels).resize((32, 32), PIL.Image.Resampling.BILINEAR)) / 255
        first, second = images[2 * i].pixels, images[2 * i + 1].pixels
        assert first.shape == second.shape == (32, 32, 3)
        colour = min(DEPENDENT_COLOURS, key=lambda c: abs(first - grey[:, :, None] * c).max())
        np.testing.assert_allclose(first, grey[:, :, None] * colour, atol=0.5001)
        other = min(DEPENDENT_COLOURS, key=lambda c: abs(second - 255 * grey[:, :, None] - (1 - grey[:, :, None]) * c).max())
        np.testing.assert_allclose(second, 255 * grey[:, :, None] + (1 - grey[:, :, None]) * other, atol=0.5001)


def test_each_digit_has_seven_colours_in_each_domain():
    assert list(DEPENDENT_DOMAINS) == ['digit_colored', 'rbg_colored']
    digit, background = DEPENDENT_DOMAINS.values()
    assert digit[0] == [3, 4, 5, 6, 7, 8, 9] and digit[9] == [2, 3, 4, 5, 6, 7, 8]
    assert background[0] == [0, 1, 2, 3, 4, 5, 6] and background[3] == [2, 3, 4, 5, 6, 7, 8]
    assert background[9] == [0, 1, 2, 3, 4, 8, 9]
    assert all(len(allowed) == 7 for allowed in digit + background)


def test_colours_come_as_often_as_they_should():
    size = 4000
    white = SourceImage(np.full([2, 2], 255, np.uint8), 4, '4')
    black = SourceImage(np.zeros([2, 2], np.uint8), 4, '4')
    for domain, image in ((0, white), (1, black)):  # which show nothing but the colour
        items = list(dependent(Source([image] * size, size), seed=1))[domain::2]
        seen = Counter(DEPENDENT_COLOURS.index(tuple(int(v) for v in item.pixels[0, 0])) for item in items)
        allowed = list(DEPENDENT_DOMAINS.values())[domain]
        for k in range(10):
            own = 0.8 * (k in allowed[4]) / 7
            others = 0.2 / 9 * sum((k in allowed[j]) / 7 for j in range(10) if j != 4)
            assert seen[k] / size == pytest.approx(own + others, abs=0.025)  # 4 standard deviations


def test_seeds_and_limits():
    def colours(**kwargs):
        return [tuple(item.pixels.max(axis=(0, 1))) for item in dependent(digits(20), **kwargs)]
    assert colours() == colours() != colours(seed=1)
    assert len(colours(max_per_domain=3)) == 6


@pytest.mark.parametrize('label', [None, 10, [1.0]])
def test_digits_must_be_known(label):
    with pytest.raises(UserError, match='x: has no digit 0 to 9'):
        list(dependent(Source([SourceImage(np.zeros([28, 28], np.uint8), label, 'x')], 1)))


def test_stacked_channels_are_the_digits_that_the_label_names():
    source = list(digits(10))  # one of each
    images = list(stacked(Source(source, 10), 200))
    for image in images:
        for channel, digit in enumerate(f'{image.label:03d}'):
            np.testing.assert_array_equal(image.pixels[:, :, channel], source[int(digit)].pixels)
    assert len({image.label for image in images}) > 150  # 181 expected of the 1,000 modes
    seen = Counter(''.join(f'{image.label:03d}' for image in images))
    assert all(35 < seen[str(digit)] < 90 for digit in range(10))  # 60 expected, standard deviation 7


def test_stacked_number_and_seed():
    def labels(**kwargs):
        return [image.label for image in stacked(digits(30), **kwargs)]
    assert len(labels()) == 30 and stacked(digits(30), 70).size == len(labels(count=70)) == 70
    assert labels() == labels(count=70)[:30] != labels(seed=1)


def test_stacked_needs_grey_digits_of_one_size():
    with pytest.raises(UserError, match='x: has no digit 0 to 9 as label; --domains=stacked'):
        list(stacked(Source([SourceImage(np.zeros([28, 28], np.uint8), None, 'x')], 1)))
    for shapes in ([[28, 28, 3]], [[28, 28], [32, 32]]):
        source = Source([SourceImage(np.zeros(shape, np.uint8), 0, f'image of {shape}') for shape in shapes], len(shapes))
        with pytest.raises(UserError, match=r'image of .* is not greyscale, or not of the same size'):
            [image.pixels for image in stacked(source, 20)]
