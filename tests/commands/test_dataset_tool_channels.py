"""dataset_tool.py --mode: images with alpha are kept, put on white and counted, or refused."""

import numpy as np
import PIL.Image
import pytest
from helpers.dataset_making import picture, refused, save, tool
from helpers.packed_making import write_idx

from dnnlib import UserError
from training.data.dataset import ImageFolderDataset


@pytest.fixture
def source(tmp_path):
    """Opaque RGB, RGBA that is half transparent, opaque RGBA, grey, and a palette with transparency; all 8x8."""
    alpha = np.repeat([[0], [255]], 4, axis=0).repeat(8, axis=1).astype(np.uint8)
    save(tmp_path / 'src' / 'a.png', picture(0))
    save(tmp_path / 'src' / 'b.png', np.dstack([picture(1), alpha]))
    save(tmp_path / 'src' / 'c.png', np.dstack([picture(2), np.full_like(alpha, 255)]))
    save(tmp_path / 'src' / 'd.png', picture(3, (8, 8)))
    palette = PIL.Image.fromarray(picture(4)).quantize(8)
    palette.save(tmp_path / 'src' / 'e.png', transparency=3)
    return tmp_path / 'src', alpha, np.array(palette) == 3


def images_of(path):
    data = ImageFolderDataset(path)
    data.validate()
    return [data[i][0].transpose(1, 2, 0) for i in range(len(data))]


def test_rgba_keeps_alpha_and_makes_others_opaque(tmp_path, source):
    folder, alpha, keyed = source
    text = tool('--source', folder, '--dest', tmp_path / 'o.zip', '--mode=rgba')
    assert '2 of 5 images have transparent pixels' in text and '8x8 RGBA' in text
    a, b, c, d, e = images_of(tmp_path / 'o.zip')
    np.testing.assert_array_equal(a, np.dstack([picture(0), np.full([8, 8], 255)]))
    np.testing.assert_array_equal(b, np.dstack([picture(1), alpha]))  # also the colours that are not seen
    np.testing.assert_array_equal(c[..., :3], picture(2))
    np.testing.assert_array_equal(d, np.dstack([picture(3, (8, 8))] * 3 + [np.full([8, 8], 255)]))
    np.testing.assert_array_equal(e[..., 3], np.where(keyed, 0, 255))
    assert 'RGBA' in tool('--check', tmp_path / 'o.zip')
    with PIL.Image.open(tmp_path / 'o-mean.png') as mean:
        assert mean.mode == 'RGB'


def test_la_is_grey_with_alpha(tmp_path, source):
    folder, alpha, _ = source
    text = tool('--source', folder, '--dest', tmp_path / 'o.zip', '--mode=la', '--workers=2')
    assert '2 of 5 images' in text and 'greyscale with alpha' in text
    found = images_of(tmp_path / 'o.zip')
    np.testing.assert_array_equal(found[1], np.dstack([np.array(PIL.Image.fromarray(picture(1)).convert('L')), alpha]))
    np.testing.assert_array_equal(found[3], np.dstack([picture(3, (8, 8)), np.full([8, 8], 255)]))


@pytest.mark.parametrize('mode,channels', [('rgb', 3), ('grey', 1)])
def test_without_alpha_the_transparent_ones_are_counted(tmp_path, source, mode, channels):
    folder, alpha, _ = source
    text = tool('--source', folder, '--dest', tmp_path / 'o.zip', f'--mode={mode}')
    assert '2 images have transparent pixels and are on white now' in text
    b = images_of(tmp_path / 'o.zip')[1]
    assert b.shape[2] == channels and (b[alpha == 0] == 255).all()
    (folder / 'b.png').unlink()
    (folder / 'e.png').unlink()
    assert 'transparent' not in tool('--source', folder, '--dest', tmp_path / 'p.zip', f'--mode={mode}')


def test_rgba_of_opaque_images_says_that_it_is_not_needed(tmp_path):
    save(tmp_path / 'src' / 'a.png', picture(0))
    text = tool('--source', tmp_path / 'src', '--dest', tmp_path / 'o.zip', '--mode=rgba')
    assert '0 of 1 images have transparent pixels; --mode=rgb would do' in text


def test_as_it_is_alpha_is_refused_with_what_keeps_it(tmp_path, source):
    folder, *_ = source
    refused(tmp_path, 'use --mode=rgb or --mode=grey, or rgba or la to keep alpha', '--source', folder)
    (folder / 'a.png').unlink()
    refused(tmp_path, 'b.png: Input images must be stored as RGB or grayscale, not with 4 channels; use --mode=rgb to put them '
            'on white, or --mode=rgba to keep alpha', '--source', folder)


def test_resizing_lets_no_hidden_colour_show(tmp_path):
    pixels = np.zeros([16, 16, 4], np.uint8)
    pixels[..., 0] = 255                    # red where it is opaque,
    pixels[:, 7:] = [0, 255, 0, 0]          # and green where nobody sees it
    pixels[:, :7, 3] = 255
    save(tmp_path / 'src' / 'a.png', pixels)
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'o.zip', '--mode=rgba', '--resolution=8x8')
    small = images_of(tmp_path / 'o.zip')[0].astype(int)
    assert small[:, :3, 3].min() > 200 and small[:, 5:, 3].max() < 10
    assert small[..., 1][small[..., 3] > 10].max() < 20, 'the edge stays red'


@pytest.mark.parametrize('mode,shape', [('rgba', 4), ('la', 2), ('rgb', 3), ('grey', 1), ('as-is', 1)])
def test_packed_sources_have_the_channels_too(tmp_path, mode, shape):
    path, digits = write_idx(tmp_path / 'mnist')
    tool('--source', path, '--dest', tmp_path / 'o.zip', f'--mode={mode}')
    image = images_of(tmp_path / 'o.zip')[0]
    assert image.shape == (32, 32, shape)
    np.testing.assert_array_equal(image[2:-2, 2:-2, 0], digits[0])
    assert shape % 2 or (image[..., -1] == 255).all()


def test_images_with_alpha_are_trained_on_only_if_all_have_it(tmp_path, source):
    folder, *_ = source
    for name in 'ade':
        (folder / f'{name}.png').unlink()
    assert ImageFolderDataset(folder).num_channels == 4
    save(folder / 'd.png', picture(0))
    with pytest.raises(UserError, match=r'd\.png: 8x8 RGB differs from the first image, 8x8 RGBA'):
        ImageFolderDataset(folder).validate()
