"""Which sizes have a start grid, what their levels are, and which are near those that have none."""

import pytest

from dnnlib.image_size import height_width, shortest, text_of
from training.start_grid import levels, nearest, size_at, start_grid, top_level

GRIDS = {  # (height, width) or one number: start grid, highest level
    4: ((4, 4), 4), 8: ((4, 4), 8), 1024: ((4, 4), 1024), (64, 64): ((4, 4), 64), 28: ((7, 7), 16), 96: ((6, 6), 64),
    (384, 512): ((3, 4), 512), (512, 384): ((4, 3), 512), (96, 160): ((3, 5), 128), (48, 64): ((3, 4), 64), (8, 2): ((4, 1), 8),
    (1024, 1792): ((4, 7), 1024),
}


@pytest.mark.parametrize('size', GRIDS)
def test_a_size_is_its_start_grid_doubled(size):
    grid, top = GRIDS[size]
    assert (start_grid(size), top_level(size)) == (grid, top)
    found = levels(size)
    assert found == [4 * 2 ** i for i in range(len(found))] and found[-1] == top
    for i, level in enumerate(found):
        assert height_width(size_at(size, level)) == (grid[0] << i, grid[1] << i)
    assert size_at(size, top) == shortest(size)


def test_squares_of_powers_of_two_are_single_numbers():
    assert [size_at(32, r) for r in levels(32)] == [4, 8, 16, 32]
    assert [size_at((48, 64), r) for r in levels((48, 64))] == [(3, 4), (6, 8), (12, 16), (24, 32), (48, 64)]


NEAREST = {(375, 500): '512x384', (480, 640): '512x384', (600, 800): '1024x768', (720, 1280): '1280x768',
           (1080, 1920): '1792x1024', 100: '96x96', 18: '20x20', (1, 1): '8x8', (5, 1000): '448x64'}


@pytest.mark.parametrize('size', NEAREST)
def test_other_sizes_are_refused_with_the_nearest(size):
    with pytest.raises(ValueError, match=f'images of {text_of(size)} .*: {NEAREST[size]} or ') as caught:
        levels(size)
    assert '\n' not in str(caught.value)
    for near in nearest(size, 5):
        assert max(start_grid(near)) <= 7 and len(levels(near)) >= 2


@pytest.mark.parametrize('size', [0, -8, True, (8,), (8, 0), (8, 8, 8), '88', None, 8.0, (8.0, 8.0), (True, 8)])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match='a size in pixels'):
        height_width(size)


def test_sizes_are_written_as_width_and_height():
    assert (text_of((384, 512)), text_of([384, 512]), text_of(64)) == ('512x384', '512x384', '64x64')
    assert (shortest([64, 64]), shortest([48, 64])) == (64, (48, 64))
