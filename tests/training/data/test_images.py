"""Pixels as every viewer shows them: orientation, transparent colours, 16 bits; alike with and without pyspng."""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from dnnlib import UserError
from training.data import images
from training.data.dataset import ImageFolderDataset
from training.data.images import decode, read_header
from training.data.loose_images import LooseImages


def picture(shape=(8, 8, 3)):
    return np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8)


def with_exif(pixels, orientation, kind='png', **kwargs):
    exif, buffer = PIL.Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    PIL.Image.fromarray(pixels).save(buffer, kind, exif=exif, **kwargs)
    return buffer.getvalue()


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def raw_png(samples, bits, colour_type, key=None, late=b''):
    """A PNG file of samples [H, W] or [H, W, 3] of 1, 8 or 16 bits, with a transparent colour."""
    height, width = samples.shape[:2]
    if bits == 16:
        rows = [row.astype('>u2').tobytes() for row in samples]
    else:
        per_byte = 8 // bits
        rows = [bytes(sum(int(v) << (8 - bits * (i + 1)) for i, v in enumerate(part)) for part in
                      row.reshape(-1, per_byte)) for row in samples]
    trns = b'' if key is None else chunk(b'tRNS', np.array(key, '>u2').tobytes())
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, 0)) +
            chunk(b'gAMA', b'\0\0\xb1\x8f') + trns + chunk(b'IDAT', zlib.compress(b''.join(b'\0' + row for row in rows))) + late +
            chunk(b'IEND', b''))


@pytest.fixture(params=[False, True], ids=['pillow', 'pyspng'], autouse=True)
def spng(request, monkeypatch):
    """With pyspng, which gives four channels where a colour is transparent, 16 bits as they are, and no LA."""
    def load(data):
        assert data[24] == 8 and data[25] != 4 and b'tRNS' not in data and b'eXIf' not in data, 'what pyspng does not interpret'
        return np.array(PIL.Image.open(io.BytesIO(data)))
    monkeypatch.setattr(images, 'pyspng', SimpleNamespace(load=load) if request.param else None)


UPRIGHT = {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
           5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1), 7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
           8: lambda x: np.rot90(x)}


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('shape', [(4, 8, 3), (4, 8)])
@pytest.mark.parametrize('kind', ['png', 'tiff', 'webp'])
def test_images_are_upright(orientation, shape, kind):
    pixels = picture(shape)
    data = with_exif(pixels, orientation, kind, **(dict(lossless=True) if kind == 'webp' else {}))
    if kind == 'webp' and len(shape) == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode(data, 'x'), UPRIGHT[orientation](pixels))
    np.testing.assert_array_equal(decode(data, 'x', 'rgb')[..., 0], UPRIGHT[orientation](pixels if pixels.ndim == 2 else
                                                                                        pixels[..., 0]))


def test_training_and_metrics_read_upright_too(tmp_path):
    pixels = picture()
    (tmp_path / 'a.png').write_bytes(with_exif(pixels, 6))
    (tmp_path / 'b.png').write_bytes(raw_png(pixels, 8, 2, late=chunk(b'eXIf', with_exif_bytes(3))))
    for data in (ImageFolderDataset(str(tmp_path)), LooseImages(str(tmp_path))):
        for item, orientation in enumerate((6, 3)):
            np.testing.assert_array_equal(data[item][0], UPRIGHT[orientation](pixels).transpose(2, 0, 1))


def with_exif_bytes(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()[6:]


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_damaged_exif_does_not_cost_the_image():
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture()).save(buffer, 'png', exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    np.testing.assert_array_equal(decode(buffer.getvalue(), 'x'), picture())


# Transparent colours.

@pytest.mark.parametrize('bits,colour_type,samples,key,grey', [
    (8, 2, picture(), picture()[2, 3].tolist(), None),
    (8, 0, picture((8, 8)), [int(picture((8, 8))[2, 3])], lambda s: s),
    (1, 0, picture((8, 8)) % 2, [1], lambda s: s * 255),
    (4, 0, picture((8, 8)) % 16, [int(picture((8, 8))[2, 3]) % 16], lambda s: s * 17),
    (16, 0, picture((8, 8)) * np.uint16(257) + np.uint16(1), [int(picture((8, 8))[2, 3]) * 257 + 1], lambda s: s >> 8),
])
def test_a_transparent_colour_is_white_or_alpha(tmp_path, bits, colour_type, samples, key, grey):
    data = raw_png(samples, bits, colour_type, key)
    keyed = (samples == np.array(key)).reshape(8, 8, -1).all(axis=2)
    assert keyed[2, 3] or bits == 1
    assert decode(data, 'x').shape[2] in (2, 4)  # which the tool refuses: neither RGB nor greyscale
    white = np.where(keyed[..., None], 255, (samples if grey is None else grey(samples)).reshape(8, 8, -1))
    np.testing.assert_array_equal(decode(data, 'x', 'rgb'), np.broadcast_to(white, (8, 8, 3)))
    (tmp_path / 'x.png').write_bytes(data)
    color = (samples if grey is None else grey(samples)).reshape(8, 8, -1)
    expected = np.dstack([color, np.where(keyed, 0, 255)])
    np.testing.assert_array_equal(decode(data, 'x', 'rgba' if grey is None else 'la'), expected)
    for dataset in (ImageFolderDataset(str(tmp_path)), LooseImages(str(tmp_path))):
        dataset.validate()
        np.testing.assert_array_equal(dataset[0][0], expected.transpose(2, 0, 1))


def test_a_transparent_colour_that_occurs_nowhere_changes_nothing():
    pixels = picture() // 2
    np.testing.assert_array_equal(decode(raw_png(pixels, 8, 2, [255, 0, 255]), 'x'), pixels)
    np.testing.assert_array_equal(decode(raw_png(pixels[..., 0], 8, 0, [255]), 'x'), pixels[..., 0])
    assert read_header(io.BytesIO(raw_png(pixels, 8, 2, [255, 0, 255])), 'x').mode == 'RGBA'


def test_16_bit_rgb_has_its_upper_8_bits(tmp_path):
    samples = picture().astype(np.uint16) * 256 + 77
    for late in (b'', chunk(b'tEXt', b'a\0b')):
        np.testing.assert_array_equal(decode(raw_png(samples, 16, 2, late=late), 'x'), picture())
    (tmp_path / 'x.png').write_bytes(raw_png(samples, 16, 2))
    np.testing.assert_array_equal(ImageFolderDataset(str(tmp_path))[0][0], picture().transpose(2, 0, 1))
    with pytest.raises(UserError, match='x: 16-bit RGB with a transparent colour'):
        decode(raw_png(samples, 16, 2, [0, 0, 77]), 'x', 'rgb')


@pytest.mark.parametrize('cut', [33, 40, 45, 60])
def test_png_files_that_end_early_are_named(cut):
    with pytest.raises(UserError, match='x: '):
        decode(raw_png(picture(), 8, 2, [1, 2, 3])[:cut], 'x')


# Alpha.

def encoded(image, kind='png', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('channels', [2, 4])
def test_alpha_is_read_as_it_is_stored(tmp_path, channels):
    pixels = picture((8, 8, channels))
    (tmp_path / 'x.png').write_bytes(images.encode_png(pixels))
    data = ImageFolderDataset(str(tmp_path))
    data.validate()
    np.testing.assert_array_equal(data[0][0], pixels.transpose(2, 0, 1))
    assert data.num_channels == channels and data.image_shape == [channels, 8, 8]
    assert decode(images.encode_png(pixels), 'x').shape == (8, 8, channels)
    header = read_header(io.BytesIO(images.encode_png(pixels)), 'x')
    assert header.mode == images.MODES[channels] and header.has_alpha
    upright = with_exif(pixels, 6)
    np.testing.assert_array_equal(decode(upright, 'x', 'la' if channels == 2 else 'rgba'), UPRIGHT[6](pixels))


@pytest.mark.parametrize('bits,colour_type,channels', [(16, 4, 2), (16, 6, 4)])
def test_16_bits_with_alpha_have_their_upper_8(bits, colour_type, channels):
    samples = picture((8, 8, channels)).astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(decode(raw_png(samples, bits, colour_type), 'x', 'la' if channels == 2 else 'rgba'),
                                  picture((8, 8, channels)))


def test_every_mode_of_every_kind():
    color, grey, alpha = picture(), picture((8, 8)), picture((8, 8, 4))[..., 3]
    opaque = np.full([8, 8], 255, np.uint8)
    luma = np.array(PIL.Image.fromarray(color).convert('L'))
    palette = PIL.Image.fromarray(color).quantize(16)
    table = np.arange(256) % 3 * 127
    cases = [
        (images.encode_png(color), color, opaque), (images.encode_png(grey), np.dstack([grey] * 3), opaque),
        (images.encode_png(np.dstack([color, alpha])), color, alpha),
        (images.encode_png(np.dstack([grey, alpha])), np.dstack([grey] * 3), alpha),
        (encoded(palette, transparency=bytes(table.astype(np.uint8))), np.array(palette.convert('RGB')),
         table[np.array(palette)]),
        (encoded(PIL.Image.fromarray(np.dstack([color, alpha])), 'webp', lossless=True, exact=True), color, alpha),
        (encoded(PIL.Image.fromarray(grey), 'gif', transparency=7), np.dstack([grey] * 3), np.where(grey == 7, 0, 255)),
        (encoded(PIL.Image.fromarray(grey > 99)), np.dstack([(grey > 99) * 255] * 3), opaque),
    ]
    for i, (data, rgb, a) in enumerate(cases):
        rgb, a = rgb.astype(np.uint8), a.astype(np.uint8)
        visible = a > 0
        got = decode(data, 'x', 'rgba')
        np.testing.assert_array_equal(got[..., 3], a, err_msg=str(i))
        np.testing.assert_array_equal(got[visible][:, :3], rgb[visible], err_msg=str(i))
        got = decode(data, 'x', 'la')
        np.testing.assert_array_equal(got[..., 1], a, err_msg=str(i))
        np.testing.assert_array_equal(got[..., 0][visible], np.array(PIL.Image.fromarray(rgb).convert('L'))[visible])
        on_white = 255 + (rgb.astype(float) - 255) * (a[..., None] / 255)
        assert np.abs(decode(data, 'x', 'rgb') - on_white).max() <= 1
        assert images.decode_as(data, 'x', 'rgb')[1] == (a.min() < 255)
    assert decode(images.encode_png(color), 'x', 'la')[..., 0].tolist() == luma.tolist()


def test_a_gif_with_a_transparent_grey_is_not_taken_for_an_opaque_one(tmp_path):
    every_grey = PIL.Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))  # Pillow reads it without a palette
    (tmp_path / 'x.gif').write_bytes(encoded(every_grey, 'gif', transparency=35, optimize=False))
    with PIL.Image.open(tmp_path / 'x.gif') as image:
        assert image.mode == 'L'
    assert decode((tmp_path / 'x.gif').read_bytes(), 'x')[2, 3].tolist() == [35, 35, 35, 0]
    assert ImageFolderDataset(str(tmp_path)).num_channels == 4


@pytest.mark.parametrize('kind', ['as-is', 'rgb', 'rgba'])
def test_channels_that_pillow_would_drop_are_refused(tmp_path, kind):
    data = five_channel_tiff()
    with pytest.raises(UserError, match='x: has 5 channels, but RGB'):
        decode(data, 'x', kind)
    (tmp_path / 'x.tif').write_bytes(data)
    with pytest.raises(UserError, match=r'x\.tif: has 5 channels'):
        ImageFolderDataset(str(tmp_path))
    with pytest.raises(UserError, match=r'x\.tif: has 5 channels'):
        LooseImages(str(tmp_path)).validate()


def five_channel_tiff():
    """An uncompressed 4x4 TIFF of RGB and two more channels that say nothing of what they are."""
    entries = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 5, None), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, None),
               (277, 3, 1, 5), (278, 4, 1, 4), (279, 4, 1, 80), (284, 3, 1, 1), (338, 3, 2, 0)]
    after = 8 + 2 + 12 * len(entries) + 4
    values = {258: after, 273: after + 10}
    fields = b''.join(struct.pack('<HHII', tag, kind, count, values.get(tag, value)) for tag, kind, count, value in entries)
    return (b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', len(entries)) + fields + bytes(4) +
            struct.pack('<5H', *[8] * 5) + bytes(range(80)))
