"""Images of any sizes, for metrics."""

import numpy as np
import PIL.Image
import pytest

from dnnlib import UserError
from training.data.loose_images import LooseImages


def save(path, pixels, mode=None, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(pixels if pixels.dtype == np.uint16 else np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path, **kwargs)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape, mode in [('a/grey.png', (5, 7), None), ('b.png', (9, 4, 3), None), ('c.jpg', (8, 8, 3), None),
                              ('d.png', (6, 6, 3), 'P'), ('e.png', (6, 5), '1'), ('f.png', (3, 3, 3), 'RGBA')]:
        save(tmp_path / 'x' / name, rng.integers(0, 256, shape), mode)
    (tmp_path / 'x' / 'notes.txt').write_text('no image')
    return tmp_path / 'x'


def test_every_image_in_its_own_size(folder):
    data = LooseImages(folder)
    data.validate()
    shapes = [data[i][0].shape for i in range(len(data))]
    assert shapes == [(1, 5, 7), (3, 9, 4), (3, 8, 8), (3, 6, 6), (1, 6, 5), (3, 3, 3)]
    assert all(data[i][0].dtype == np.uint8 and data[i][1] is None for i in range(len(data)))
    with PIL.Image.open(folder / 'b.png') as image:
        np.testing.assert_array_equal(data[1][0], np.array(image).transpose(2, 0, 1))
    assert data.name == 'x' and data.all_images(True) is data and data.image_shape is None and data.label_dim == 0


def test_alpha_stays_where_it_shows(folder):
    save(folder / 'f.png', np.full((3, 3, 4), 100))
    save(folder / 'g.png', np.full((3, 3, 2), 100))
    data = LooseImages(folder)
    for _ in range(2):
        data.validate()
        assert data.num_with_alpha == 2
    assert data[5][0].shape == (4, 3, 3) and data[6][0].shape == (2, 3, 3) and data[1][0].shape == (3, 9, 4)


def test_identity_is_that_of_the_files(folder):
    before = LooseImages(folder).identity()
    assert LooseImages(folder).identity() == before
    save(folder / 'g.png', np.zeros((4, 4)))
    assert LooseImages(folder).identity() != before


def test_what_cannot_be_compared_is_refused_by_name(folder, tmp_path):
    for name, pixels, mode in [('g.png', np.zeros((3, 3), np.uint16), None), ('g.jpg', np.zeros((3, 3, 3)), 'CMYK')]:
        save(folder / name, pixels, mode)
        with pytest.raises(UserError, match=f'{name}: images must be RGB or greyscale'):
            LooseImages(folder).validate()
        (folder / name).unlink()
    (folder / 'g.png').write_bytes(b'torn')
    with pytest.raises(UserError, match=r'g\.png: not an image'):
        LooseImages(folder).validate()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='No image files found'):
        LooseImages(tmp_path / 'empty')
    with pytest.raises(UserError, match='no such file or folder'):
        LooseImages(tmp_path / 'gone')
