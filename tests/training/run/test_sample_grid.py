"""The picture of a run: which items it shows, and its pixels."""

import itertools
import os

import numpy as np
import PIL.Image
import pytest

from dnnlib import EasyDict
from training.run.sample_grid import choose_grid, grid_size, save_image_grid


class Items:
    """What choose_grid asks of a dataset."""

    def __init__(self, count, resolution=1024, labels=None):
        self.count, self.resolution, self.labels = count, resolution, labels
        self.has_labels = labels is not None
        self.label_dim = 1 + max(labels) if labels and isinstance(labels[0], int) else 0

    def __len__(self):
        return self.count

    def get_details(self, i):
        return EasyDict(raw_label=np.array(self.labels[i]))


def rows_of(items, by_domain=False):
    """Rows of cells, and the label that each row shows."""
    (columns, rows), cells = choose_grid(items, by_domain)
    assert len(cells) == columns * rows
    cells = [cells[columns * row:columns * (row + 1)] for row in range(rows)]
    labels = [{str(items.labels[i]) for i in row} for row in cells]
    assert all(len(row) == 1 for row in labels), 'a row shows one label'
    return cells, [label for row in labels for label in row]


# The choice of cells.

@pytest.mark.parametrize('labelled', [False, True])
@pytest.mark.parametrize('resolution, size', [(4, (32, 32)), (32, (32, 32)), (128, (32, 32)), (256, (30, 16)), (512, (15, 8)),
                                              (1024, (7, 4)), (2048, (7, 4))])
def test_the_size_depends_on_the_resolution(resolution, size, labelled):
    grid, cells = choose_grid(Items(20, resolution, [i % 2 for i in range(20)] if labelled else None))
    assert grid == size and len(cells) == size[0] * size[1]
    assert all(type(i) is int and 0 <= i < 20 for i in cells)


def test_without_labels_items_are_random_and_come_once():
    _, cells = choose_grid(Items(100))
    assert len(set(cells)) == 28 and cells != sorted(cells)
    assert cells == choose_grid(Items(100))[1]
    expected = np.arange(100)
    np.random.RandomState(0).shuffle(expected)
    assert cells == expected[:28].tolist()


@pytest.mark.parametrize('count', [1, 5, 28, 29])
def test_few_items_come_again_in_the_same_order(count):
    _, cells = choose_grid(Items(count))
    assert sorted(set(cells)) == list(range(count)) or count == 29
    assert cells == (cells[:count] * 28)[:28]


def test_rows_show_the_labels_in_turn():
    _, labels = rows_of(Items(90, 512, [[7, 0, 3][i % 3] for i in range(90)]))
    assert labels == ['0', '3', '7', '0', '3', '7', '0', '3']


def test_labels_are_ordered_by_their_entries_read_backwards():
    vectors = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.0]]
    _, labels = rows_of(Items(80, 1024, [vectors[i % 4] for i in range(80)]))
    assert labels == ['[0.5, 0.0, 0.0]', '[1.0, 0.0, 0.0]', '[0.0, 1.0, 0.0]', '[0.0, 0.0, 1.0]']


def test_more_labels_than_rows():
    _, labels = rows_of(Items(60, 1024, [9 - i % 10 for i in range(60)]))
    assert labels == ['0', '1', '2', '3']


def test_nothing_is_repeated_while_its_label_has_more():
    # 8 rows of 15: each label has 4 rows, 60 cells; label 0 has more items than that, label 1 has 40.
    items = Items(140, 512, [0] * 100 + [1] * 40)
    cells, _ = rows_of(items)
    first, second = (list(itertools.chain(*cells[label::2])) for label in (0, 1))
    assert len(set(first)) == 60
    assert set(second) == set(range(100, 140)) and second[40:] == second[:20]
    assert first != sorted(first) and second[:40] != sorted(second[:40])


def test_items_of_labels_are_shuffled_as_published():
    items = Items(50, 1024, [1, 0] * 25)
    rng = np.random.RandomState(0)
    odd, even = list(range(1, 50, 2)), list(range(0, 50, 2))
    rng.shuffle(odd)
    rng.shuffle(even)
    cells, _ = rows_of(items)
    assert cells == [odd[:7], even[:7], odd[7:14], even[7:14]]


@pytest.mark.parametrize('resolution, columns, blocks', [(8, 64, 32), (16, 64, 27), (32, 48, 13), (64, 24, 6), (128, 14, 4),
                                                         (256, 7, 4)])
def test_sizes_by_domain_as_published(resolution, columns, blocks):
    for domains in (2, 3, 4):
        assert grid_size(resolution, domains) == (columns, blocks * domains)
        items = Items(20, resolution, [i % domains for i in range(20)])
        (got_columns, got_rows), cells = choose_grid(items, by_domain=True)
        assert (got_columns, got_rows) == (columns, blocks * domains) and len(cells) == got_columns * got_rows


@pytest.mark.parametrize('resolution', [32, 64, 128, 256, 512, 1024, 2048])
def test_with_many_domains_there_are_fewer_blocks_but_always_one(resolution):
    blocks = []
    for domains in (2, 3, 5, 10, 30, 100, 1000):
        columns, rows = grid_size(resolution, domains)
        assert columns == grid_size(resolution, 2)[0] and rows % domains == 0
        assert rows == domains or rows * resolution <= 16384
        blocks.append(rows // domains)
    assert blocks == sorted(blocks, reverse=True) and blocks[-1] == 1


@pytest.mark.parametrize(('resolution', 'domains', 'size'), [
    (4, 0, (16, 16)), (256, 0, (16, 16)), (512, 0, (15, 8)), (1024, 0, (7, 4)), (32, 2, (16, 16)), (32, 3, (16, 15)),
    (32, 5, (16, 15)), (128, 2, (14, 8)), (256, 20, (7, 20)), (8, 1000, (16, 1000))])
def test_small_grids(resolution, domains, size):
    assert grid_size(resolution, domains, small=True) == size
    items = Items(1000, resolution, [i % domains for i in range(1000)] if domains else None)
    grid, cells = choose_grid(items, by_domain=bool(domains), small=True)
    assert grid == size and len(cells) == size[0] * size[1]


def test_rows_by_domain_show_the_domains_in_ascending_order():
    cells, labels = rows_of(Items(90, 256, [2 - i % 3 for i in range(90)]), by_domain=True)
    assert labels == ['0', '1', '2'] * 4 and all(len(row) == 7 for row in cells)
    assert len({i for row in cells for i in row}) == 84, 'nothing is repeated while its label has more'


# The picture.

def picture(tmp_path, images, value_range, grid):
    save_image_grid(images, tmp_path / 'grid.png', value_range, grid)
    assert os.listdir(tmp_path) == ['grid.png']
    with PIL.Image.open(tmp_path / 'grid.png') as image:
        assert image.format == 'PNG'
        return image.mode, np.array(image)


@pytest.mark.parametrize('channels, mode', [(2, 'L'), (4, 'RGB')])
def test_alpha_is_shown_on_a_checkerboard(tmp_path, channels, mode):
    images = np.full([6, channels, 8, 8], 9, np.uint8)
    images[1, -1], images[2, -1] = 255, 0
    got_mode, pixels = picture(tmp_path, images, (0, 255), (3, 2))
    assert got_mode == mode and pixels.shape[:2] == (16, 24)
    assert (pixels[:8, 8:16] == 9).all() and set(np.unique(pixels[:8, 16:])) == {204, 255}


@pytest.mark.parametrize('channels, mode', [(1, 'L'), (3, 'RGB')])
def test_images_are_tiled_row_by_row_without_gaps(tmp_path, channels, mode):
    images = np.random.RandomState(0).randint(256, size=(6, channels, 4, 5), dtype=np.uint8)
    got_mode, pixels = picture(tmp_path, images, (0, 255), (3, 2))
    assert got_mode == mode and pixels.shape[:2] == (8, 15)
    for i, image in enumerate(images):
        y, x = i // 3 * 4, i % 3 * 5
        cell = pixels[y:y + 4, x:x + 5].reshape(4, 5, channels)
        np.testing.assert_array_equal(cell, image.transpose(1, 2, 0))


@pytest.mark.parametrize('value_range, values, expected', [
    ((0, 255), [0, 0.5, 1.5, 2.5, 2.51, 254.5, 255, 255.5, 300, -0.5, -7], [0, 0, 2, 2, 3, 254, 255, 255, 255, 0, 0]),
    ((-1, 1), [-1, 0, 1, 0.5, -0.5, 1.5, -1.5, 1 / 127.5], [0, 128, 255, 191, 64, 255, 0, 128]),
    ((-0.5, 0.5), [-0.5, 0.5, 0], [0, 255, 128])])
def test_values_are_scaled_rounded_half_to_even_and_clipped(tmp_path, value_range, values, expected):
    images = np.array(values, dtype=np.float32).reshape(1, 1, 1, -1)
    _, pixels = picture(tmp_path, images, value_range, (1, 1))
    assert pixels[0].tolist() == expected


def test_the_images_are_not_changed(tmp_path):
    images = np.array([[[[-3.0, 0.3]]]], dtype=np.float32)
    before = images.copy()
    picture(tmp_path, images, (-1, 1), (1, 1))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize('shape, grid', [((5, 3, 4, 4), (3, 2)), ((7, 3, 4, 4), (3, 2)), ((1, 5, 4, 4), (1, 1)),
                                         ((1, 6, 4, 4), (1, 1))])
def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, shape, grid):
    with pytest.raises(ValueError, match=f'{shape[0]} images with {shape[1]} channels'):
        save_image_grid(np.zeros(shape), tmp_path / 'grid.png', (0, 255), grid)
    assert os.listdir(tmp_path) == []
