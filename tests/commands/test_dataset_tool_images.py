"""dataset_tool.py: crops, kinds of images, labels from tables, broken images, and many processes."""

import io
import pickle
import types
import zipfile

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from helpers.dataset_making import content, make_folder, picture, refused, save, tool

import dataset_tool
from training.data import images
from training.data.dataset import ImageFolderDataset
from training.data.making import conversion, in_parallel
from training.data.making.transforms import FILTERS, Crop, make_transform


def first_image(path):
    return ImageFolderDataset(path)[0][0].transpose(1, 2, 0)


# Sizes.

@pytest.mark.parametrize('option', ['--resolution=4x4', '--resolution=4', '--width=4 --height=4'])
def test_resolution_is_width_and_height(tmp_path, option):
    source = make_folder(tmp_path / 'src', ['a.png'])
    tool('--source', source, '--dest', tmp_path / 'o.zip', *option.split())
    expected = np.array(PIL.Image.fromarray(picture(0)).resize((4, 4), PIL.Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(first_image(tmp_path / 'o.zip'), expected)


@pytest.mark.parametrize('name', FILTERS)
def test_every_filter_is_that_of_pillow(tmp_path, name):
    source = make_folder(tmp_path / 'src', ['a.png'])
    tool('--source', source, '--dest', tmp_path / 'o.zip', '--resolution=4', f'--resize-filter={name}')
    expected = np.array(PIL.Image.fromarray(picture(0)).resize((4, 4), PIL.Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(first_image(tmp_path / 'o.zip'), expected)


@pytest.mark.parametrize('crop,rows,columns', [('8', (7, 15), (4, 12)), ('16x16', (3, 19), (0, 16)),
                                               ('4x4+1+2', (2, 6), (1, 5)), ('8+0+0', (0, 8), (0, 8))])
def test_crops_come_first(tmp_path, crop, rows, columns):
    image = picture(0, (22, 16, 3))  # as tall as CelebA, by a tenth
    save(tmp_path / 'src' / 'a.png', image)
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'o.zip', f'--crop={crop}')
    np.testing.assert_array_equal(first_image(tmp_path / 'o.zip'), image[slice(*rows), slice(*columns)])


def test_images_without_the_crop_are_named(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png'])
    refused(tmp_path, 'a.png: its 8x8 pixels do not have --crop=16x16', '--source', source, '--crop=16')
    refused(tmp_path, 'do not have --crop=8x8+1+0', '--source', source, '--crop=8x8+1+0')


@pytest.mark.parametrize('shape,rows,columns', [((4, 8, 3), (2, 6), (0, 8)), ((8, 2), (0, 8), (3, 5)),
                                                ((8, 8, 3), (0, 8), (0, 8))])
def test_padding_keeps_the_whole_image(shape, rows, columns):
    image = picture(0, shape) | 1
    result = make_transform('pad', 8, 8)(image)
    np.testing.assert_array_equal(result[slice(*rows), slice(*columns)], image)
    assert result.shape[:2] == (8, 8) and np.count_nonzero(result) == image.size


def test_padding_scales_to_fit():
    assert make_transform('pad', 8, 8, 'box')(np.full([5, 100, 3], 200, np.uint8))[:, :, 0].sum() == 8 * 200  # a line is left
    assert make_transform('pad', 8, 8)(np.full([40, 20], 200, np.uint8))[:, 2:6].min() == 200


def test_a_transform_with_a_crop_reads_well_and_travels():
    image = picture(0, (10, 8))
    transform = pickle.loads(pickle.dumps(make_transform('center-crop', 4, 4, crop=Crop(6, 8))))
    np.testing.assert_array_equal(transform(image), make_transform('center-crop', 4, 4)(image[1:9, 1:7]))


def test_the_home_directory_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    make_folder(tmp_path / 'src', ['a.png'])
    tool('--source=~/src', '--dest=~/datasets/o.zip')
    assert '1 images' in tool('--check=~/datasets/o.zip') and (tmp_path / 'datasets' / 'o-mean.png').is_file()


# Kinds of images.

def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_mode_rgb_takes_every_kind(tmp_path):
    grey, colour = picture(0, (8, 8)), picture(1)
    rgba = np.dstack([colour, np.full([8, 8], 255, np.uint8)])
    rgba[:4, :, 3] = 0
    on_white = colour.copy()
    on_white[:4] = 255
    wide = (grey.astype(np.uint16) << 8) + 77
    cmyk = PIL.Image.fromarray(colour).convert('CMYK')
    kinds = [
        ('a.png', PIL.Image.fromarray(colour), colour),
        ('b.png', PIL.Image.fromarray(grey), np.dstack([grey] * 3)),
        ('c.png', PIL.Image.fromarray(rgba), on_white),
        ('d.webp', PIL.Image.fromarray(rgba), on_white),
        ('e.png', PIL.Image.fromarray(wide), np.dstack([grey] * 3)),
        ('f.tif', cmyk, np.array(cmyk.convert('RGB'))),
        ('g.png', PIL.Image.fromarray(grey).convert('LA'), np.dstack([grey] * 3)),
        ('h.png', PIL.Image.fromarray(colour).convert('P'), np.array(PIL.Image.fromarray(colour).convert('P').convert('RGB'))),
        ('i.png', PIL.Image.fromarray(grey > 99), np.dstack([(grey > 99) * np.uint8(255)] * 3)),
    ]
    (tmp_path / 'src').mkdir()
    for name, image, _ in kinds:
        image.save(tmp_path / 'src' / name, **({'lossless': True, 'exact': True} if name.endswith('webp') else {}))
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'rgb.zip', '--mode=rgb')
    data = ImageFolderDataset(tmp_path / 'rgb.zip')
    assert len(data) == len(kinds)
    for i, (name, _, expected) in enumerate(kinds):
        np.testing.assert_array_equal(data[i][0].transpose(1, 2, 0), expected, err_msg=name)
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'grey.zip', '--mode=grey')
    data = ImageFolderDataset(tmp_path / 'grey.zip')
    np.testing.assert_array_equal(data[1][0][0], grey)
    np.testing.assert_array_equal(data[0][0][0], np.array(PIL.Image.fromarray(colour).convert('L')))


@pytest.mark.parametrize('mode,kind,message', [('CMYK', 'tif', 'mode CMYK; use --mode=rgb'), ('RGBA', 'png', '4 channels'),
                                               ('LA', 'png', '2 channels'), ('I;16', 'png', 'use --mode=rgb'),
                                               ('F', 'tif', 'mode F; convert it')])
def test_other_kinds_are_refused_as_they_are(tmp_path, mode, kind, message):
    (tmp_path / 'src').mkdir()
    image = PIL.Image.fromarray(picture(0, (8, 8)).astype({'I;16': np.uint16, 'F': np.float32}.get(mode, np.uint8)))
    (image.convert('RGB').convert(mode) if mode in ('CMYK', 'RGBA', 'LA') else image).save(tmp_path / 'src' / f'a.{kind}')
    refused(tmp_path, message, '--source', tmp_path / 'src')


def test_numbers_that_are_no_colours_are_refused_even_so(tmp_path):
    (tmp_path / 'src').mkdir()
    PIL.Image.fromarray(picture(0, (8, 8)).astype(np.float32)).save(tmp_path / 'src' / 'a.tif')
    refused(tmp_path, 'mode F; convert it', '--source', tmp_path / 'src', '--mode=rgb')


def test_images_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    source = make_folder(tmp_path / 'src', ['a.png'])
    monkeypatch.setattr(PIL.Image, 'MAX_IMAGE_PIXELS', 10)
    for kind, fast in (('gif', None), ('png', None), ('png', types.SimpleNamespace())):  # which would fail if it were asked
        monkeypatch.setattr(images, 'pyspng', fast)
        (source / 'a.png').write_bytes(encoded(PIL.Image.fromarray(picture(0)), kind))
        refused(tmp_path, 'a.png: too large for an image', '--source', source, '--workers=1')


# Labels from tables.

def test_labels_of_a_table(tmp_path):
    source = make_folder(tmp_path / 'src', ['x/a.png', 'x/b.png', 'y/c.png'])
    table = tmp_path / 'labels.csv'
    table.write_text('image_id,age,kind\nx/a.png,1,dog\nx/b.png,2.5,cat\ny/c.png,3,dog\nz.png,4,zoo\n')
    text = tool('--source', source, '--dest', tmp_path / '1.zip', '--labels', table, '--label_column=kind')
    assert content(tmp_path / '1.zip')['domains'] == ['cat', 'dog', 'zoo'] and 'Warning: domain zoo has no image' in text
    assert [label for _, label in content(tmp_path / '1.zip')['labels']] == [1, 0, 1]
    tool('--source', source, '--dest', tmp_path / '2.zip', '--labels', table, '--label-column=kind', '--max-images-per-domain=1')
    assert [label for _, label in content(tmp_path / '2.zip')['labels']] == [1, 0]
    refused(tmp_path, 'choose with --label-column', '--source', source, '--labels', table)
    table.write_text('x/a.png,1\nx/b.png,2\n')
    refused(tmp_path, 'no label for y/c.png of', '--source', source, '--labels', table)
    refused(tmp_path, 'labels.txt: cannot be read', '--source', source, '--labels', tmp_path / 'labels.txt')


# Broken images.

@pytest.mark.parametrize('kind', ['src', 'src.zip'])
@pytest.mark.parametrize('workers', [1, 2])
def test_broken_images_are_skipped_named_and_counted(tmp_path, kind, workers):
    good = encoded(PIL.Image.fromarray(picture(0)), 'png')
    files = {'a.png': b'hello', 'b.png': good, 'c.png': good[:-30], 'd.png': good, 'e.jpg': b''}
    if kind == 'src':
        (tmp_path / 'src').mkdir()
        for name, data in files.items():
            (tmp_path / 'src' / name).write_bytes(data)
    else:
        with zipfile.ZipFile(tmp_path / kind, 'w') as z:
            for name, data in files.items():
                z.writestr(name, data)
        whole = (tmp_path / kind).read_bytes()
        at = whole.index(good, whole.index(good) + 1) + 40
        (tmp_path / kind).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])  # d.png fails its checksum
    text = tool('--source', tmp_path / kind, '--dest', tmp_path / 'o.zip', '--on-error=skip', f'--workers={workers}')
    count = 3 if kind == 'src' else 4
    assert text.count('Left out: ') == count and f'Warning: {count} broken images were left out' in text
    assert 'c.png' in text and 'e.jpg' in text
    names = zipfile.ZipFile(tmp_path / 'o.zip').namelist()
    assert names == ['00000/img00000001.png', *(['00000/img00000003.png'] if kind == 'src' else []), 'dataset.json']
    refused(tmp_path, 'a.png', '--source', tmp_path / kind, f'--workers={workers}')


def test_of_many_broken_images_not_all_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, 'MOST_NAMED', 2)
    source = make_folder(tmp_path / 'src', ['z.png'])
    for i in range(4):
        (source / f'{i}.png').write_bytes(b'')
    text = tool('--source', source, '--dest', tmp_path / 'o.zip', '--on-error=skip')
    assert text.count('Left out: ') == 2 and '4 broken images were left out' in text


def test_if_all_are_broken_nothing_is_written(tmp_path):
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src' / 'a.png').write_bytes(b'')
    refused(tmp_path, 'no image to write', '--source', tmp_path / 'src', '--on-error=skip')


# Processes.

def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(in_parallel, 'BATCH_ITEMS', 3)
    source = make_folder(tmp_path / 'src', [f'{"ab"[i % 2]}/{i:02d}.png' for i in range(20)])
    save(source / 'a' / '99.png', picture(0, (2, 8, 3)))  # too small: left out
    for workers in (1, 2, 3):
        tool('--source', source, '--dest', tmp_path / f'{workers}.zip', f'--workers={workers}', '--transform=center-crop-wide',
             '--resolution=4x4')
    assert (tmp_path / '1.zip').read_bytes() == (tmp_path / '2.zip').read_bytes() == (tmp_path / '3.zip').read_bytes()
    assert len(ImageFolderDataset(tmp_path / '1.zip')) == 20


# Options.

@pytest.mark.parametrize('args', [
    ['--resolution=8', '--width=8'], ['--resolution=0x8'], ['--resolution=8x'], ['--crop=0'], ['--crop=8x8+1'], ['--crop=a'],
    ['--transform=pad'], ['--on-error=cry'], ['--workers=0'], ['--mode=hsv'], ['--label-column=x'],
    ['--labels=x', '--domains=folders'], ['--domains=dependent', '--paired'], ['--domains=stacked', '--paired'],
    ['--domains=stacked', '--max-images-per-domain=3'],
])
def test_wrong_options_exit_with_2(tmp_path, args):
    result = CliRunner().invoke(dataset_tool.main, ['--source', str(tmp_path), '--dest', str(tmp_path / 'o.zip'), *args])
    assert result.exit_code == 2 and not list(tmp_path.iterdir())
