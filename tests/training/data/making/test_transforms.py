"""Crops and resizes, against recorded images and worked-out geometry."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.data.making.transforms import make_transform

GOLDEN = np.load(Path(__file__).parents[3] / 'golden' / 'dataset_transforms.npz')
# The published function stretches a square to a rectangle, of which the published program then makes no dataset: not so here.
CASES = {case['key']: case for case in json.loads(str(GOLDEN['meta']))['cases']
         if case['transform'] != 'center-crop' or case['width'] == case['height']}


@pytest.mark.parametrize('key', CASES)
def test_matches_golden(key):
    case = CASES[key]
    transform = make_transform(case['transform'], case['width'], case['height'], case['filter'])
    for source, expected in zip(GOLDEN['src'], GOLDEN[key], strict=True):
        np.testing.assert_array_equal(transform(source), expected)


def test_the_right_size_is_left_alone():
    image = GOLDEN['src'][0]
    assert make_transform(None, None, None)(image) is image
    assert make_transform(None, 56, 40)(image) is image


def test_one_side_may_be_given():
    assert make_transform(None, 16, None)(GOLDEN['src'][0]).shape == (40, 16, 3)


def test_greyscale_can_be_cropped():
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(make_transform('center-crop', 6, 6)(image), image[:, 1:7])


def test_a_centre_crop_has_the_shape_that_is_asked_for():
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(make_transform('center-crop', 4, 6)(image), image[:, 2:6])
    np.testing.assert_array_equal(make_transform('center-crop', 8, 4)(image), image[1:5])
    assert make_transform('center-crop', 512, 384)(rows_image(3, 500)).shape == (384, 512, 3)


def rows_image(height, width):
    """An image whose value is its row."""
    return np.repeat(np.arange(height, dtype=np.uint8)[:, None], width, axis=1)[:, :, None].repeat(3, axis=2)


def test_wide_crop_of_the_exact_size_only_gains_bars():
    image = rows_image(6, 8)
    for name in ('center-crop-wide', 'center-crop-wide-aspect'):
        result = make_transform(name, 8, 6)(image)
        assert result.shape == (8, 8, 3)
        np.testing.assert_array_equal(result[1:7], image)
        assert not result[0].any() and not result[7].any()


def test_wide_crop_takes_the_middle_rows_of_a_tall_image():
    result = make_transform('center-crop-wide', 8, 4)(rows_image(16, 8))
    assert not result[:2].any() and not result[6:].any()
    # All 16 rows are kept, as many as the image has once scaled to the width, and squeezed into 4.
    np.testing.assert_allclose(result[2:6, 0, 0], [2, 5.5, 9.5, 13], atol=1)
    result = make_transform('center-crop-wide-aspect', 8, 4)(rows_image(16, 8))
    np.testing.assert_array_equal(result[2:6, 0, 0], [6, 7, 8, 9])


def test_wide_crop_stretches_large_images_unless_the_aspect_is_kept():
    # 16 wide, 12 high, to 8x6: scaled to the width it is 6 high, and the published form keeps rows 3..8 of the 12.
    published = make_transform('center-crop-wide', 8, 6, 'box')(rows_image(12, 16))
    np.testing.assert_array_equal(published[1:7, 0, 0], [3, 4, 5, 6, 7, 8])
    corrected = make_transform('center-crop-wide-aspect', 8, 6, 'box')(rows_image(12, 16))
    np.testing.assert_allclose(corrected[1:7, 0, 0], np.arange(6) * 2 + 0.5, atol=0.5)


@pytest.mark.parametrize('name', ['center-crop-wide', 'center-crop-wide-aspect'])
@pytest.mark.parametrize('size,kept', [((6, 8), True), ((6, 7), False), ((5, 8), False),
                                       ((11, 16), True), ((10, 16), False), ((12, 16), True)])
def test_wide_crop_leaves_out_images_that_are_too_small(name, size, kept):
    assert (make_transform(name, 8, 6)(rows_image(*size)) is not None) == kept


@pytest.mark.parametrize('width', [8, 9])
@pytest.mark.parametrize('height', [3, 4, 5, 6])
@pytest.mark.parametrize('name', ['center-crop-wide', 'center-crop-wide-aspect'])
def test_wide_crop_is_square_for_odd_and_even_sizes(name, width, height):
    assert make_transform(name, width, height)(rows_image(15, 19)).shape == (width, width, 3)


@pytest.mark.parametrize('args', [('center-crop', 8, None), ('center-crop-wide', None, 8), ('center-crop-wide', 6, 8),
                                  ('x', 8, 8)])
def test_impossible_combinations_are_refused(args):
    with pytest.raises(ValueError):
        make_transform(*args)
