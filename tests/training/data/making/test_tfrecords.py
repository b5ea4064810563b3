"""TFRecords as StyleGAN's datasets are published in: what they hold, which file is taken, and what is refused."""

import io
import sys

import numpy as np
import pytest
from helpers.dataset_making import content, picture, refused, save, tool
from helpers.packed_making import example, tfrecord, write_tfrecords

from training.data.dataset import ImageFolderDataset
from training.data.making import tfrecords

pytest.importorskip('google_crc32c')

RGB = np.stack([picture(i, (3, 8, 8)) for i in range(3)])


def pixels(path):
    data = ImageFolderDataset(path)
    return np.stack([data[i][0] for i in range(len(data))])


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def levels(folder, name='faces', images=RGB, lowest=1):
    """A file for each resolution, averaged as the published ones are."""
    while images.shape[-1] >= 2 ** lowest:
        write_tfrecords(folder / f'{name}-r{int(np.log2(images.shape[-1])):02d}.tfrecords', images)
        n, c, h, w = images.shape
        images = np.rint(images.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))).astype(np.uint8)
    return folder


@pytest.mark.parametrize('channels', [1, 3])
def test_images_come_in_the_order_of_the_file(tmp_path, channels):
    write_tfrecords(tmp_path / 'x.tfrecords', RGB[:, :channels])
    text = tool('--source', tmp_path / 'x.tfrecords', '--dest', tmp_path / 'o.zip')
    assert '3 images, 8x8' in text and 'no labels' in text
    np.testing.assert_array_equal(pixels(tmp_path / 'o.zip'), RGB[:, :channels])


def test_the_frame_is_that_of_another_program(tmp_path):
    record_writer = pytest.importorskip('tensorboard.summary.writer.record_writer')
    with open(tmp_path / 'x.tfrecords', 'wb') as f:
        for image in RGB:
            record_writer.RecordWriter(f).write(example(list(image.shape), image.tobytes()))
    written = (tmp_path / 'x.tfrecords').read_bytes()
    write_tfrecords(tmp_path / 'y.tfrecords', RGB)
    assert written == (tmp_path / 'y.tfrecords').read_bytes()
    tool('--source', tmp_path / 'x.tfrecords', '--dest', tmp_path / 'o.zip')
    np.testing.assert_array_equal(pixels(tmp_path / 'o.zip'), RGB)


def test_checksums_are_crc32c():
    crc = 0xE3069283  # of '123456789', as in RFC 3720
    assert tfrecords._checksum()(b'123456789') == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_of_a_folder_the_largest_images_are_taken(tmp_path):
    text = tool('--source', levels(tmp_path / 'faces'), '--dest', tmp_path / 'o.zip')
    assert 'faces-r03.tfrecords, the largest images of 3 resolutions' in text
    np.testing.assert_array_equal(pixels(tmp_path / 'o.zip'), RGB)


def test_averages_are_read_from_the_file_that_has_them(tmp_path):
    """No record of the largest images is read: they are damaged."""
    levels(tmp_path / 'faces')
    write_tfrecords(tmp_path / 'faces' / 'faces-r03.tfrecords', RGB, lambda *_: b'')
    args = ['--source', tmp_path / 'faces', '--resolution=4x4']
    text = tool(*args, '--resize-filter=box', '--dest', tmp_path / 'o.zip')
    assert 'faces-r02.tfrecords, whose images are averaged to 4x4 already' in text
    expected = RGB.reshape(3, 3, 4, 2, 4, 2).mean((3, 5))
    assert abs(pixels(tmp_path / 'o.zip') - expected).max() <= 0.5
    refused(tmp_path, 'faces-r03.tfrecords', *args)  # another filter makes them anew
    refused(tmp_path, 'faces-r03.tfrecords', *args, '--resize-filter=box', '--crop=8')


@pytest.mark.parametrize('name, file', [('faces-rxx.labels', 'faces-r03.tfrecords'), ('x.labels', 'x.tfrecords')])
@pytest.mark.parametrize('labels, expected', [
    (np.float32([[0, 1], [1, 0], [0, 1]]), [1, 0, 1]),
    (np.float32([[0.5, 1], [0, 0], [0, 1]]), [[0.5, 1], [0, 0], [0, 1]]),
    (np.int64([2, 0, 2]), [2, 0, 2]),
    (np.zeros([3, 0], np.float32), None),
])
def test_labels(tmp_path, name, file, labels, expected):
    write_tfrecords(tmp_path / 'faces' / file, RGB)
    (tmp_path / 'faces' / name).write_bytes(npy(labels))
    tool('--source', tmp_path / 'faces', '--dest', tmp_path / 'o.zip')
    found = content(tmp_path / 'o.zip')['labels']
    assert (found and [label for _, label in found]) == expected


@pytest.mark.parametrize('labels, message', [
    (np.zeros([4, 2]), 'are not those of 3 images'),
    (np.float32([0.5, 1, 0]), 'a class is a whole number'),
    (np.float32([[np.nan], [1], [0]]), 'no numbers'),
    (np.array([{}] * 3), 'no labels as np.save writes them'),
    (np.array(['a', 'b', 'c']), 'not numbers'),
    (b'hello', 'no labels as np.save writes them'),
    (np.int64([0, 1, 70000]), 'number the classes from 0'),
])
def test_labels_that_will_not_do_are_refused(tmp_path, labels, message):
    path = tmp_path / 'faces' / 'faces-rxx.labels'
    write_tfrecords(path.with_name('faces-r03.tfrecords'), RGB)
    path.write_bytes(labels if isinstance(labels, bytes) else npy(labels))
    refused(tmp_path, message, '--source', tmp_path / 'faces')
    refused(tmp_path, 'faces-rxx.labels: ', '--source', tmp_path / 'faces')


FRAME = 8 + 4 + 4 + len(example([3, 8, 8], bytes(192)))


@pytest.mark.parametrize('spoil, message', [
    (lambda data: data[:-3], 'record 2 of {}: the file ends in it'),
    (lambda data: data[:2 * FRAME + 5], 'record 2 of {}: the file ends in it'),
    (lambda data: data[:FRAME + 60] + b'!' + data[FRAME + 61:], 'record 1 of {}: damaged, its checksum is wrong'),
    (lambda data: data[:FRAME] + b'!' + data[FRAME + 1:], 'record 1 of {}: damaged length'),
    (lambda data: data[:-4] + bytes(4), 'record 2 of {}: damaged, its checksum is wrong'),
    (lambda data: b'hello, world' * 9, 'record 0 of {}: damaged length, or no TFRecords'),
    (lambda data: tfrecord(b'')[:-4] + bytes(4), 'record 0 of {}: damaged, its checksum is wrong'),
    (lambda data: b'', 'no image to write'),
    (lambda data: data + tfrecord(b'hello'), 'record 3 of {}: no tensorflow.Example'),
    (lambda data: data + tfrecord(example([3, 8, 8], bytes(192)).replace(b'shape', b'shade')),
     'record 3 of {}: has not the features shape and data, but data, shade'),
    (lambda data: data + tfrecord(b''), 'has not the features shape and data, but none'),
    (lambda data: data + tfrecord(example([8, 8, 3], bytes(192))), 'record 3 of {}: 192 bytes of shape [8, 8, 3] are no image'),
    (lambda data: data + tfrecord(example([3, 8, 9], bytes(192))), 'record 3 of {}: 192 bytes of shape [3, 8, 9] are no image'),
    (lambda data: data + tfrecord(example([192], bytes(192))), 'record 3 of {}: 192 bytes of shape [192] are no image'),
    (lambda data: data + tfrecord(example([2 ** 62, 4, 1], b'')), 'are no image'),
])
def test_damage_is_named_with_its_record(tmp_path, spoil, message):
    path = tmp_path / 'x.tfrecords'
    write_tfrecords(path, RGB)
    path.write_bytes(spoil(path.read_bytes()))
    refused(tmp_path, message.format(path), '--source', path)


def test_damaged_images_can_be_left_out_and_a_truncated_file_cannot(tmp_path):
    path = tmp_path / 'x.tfrecords'
    write_tfrecords(path, RGB)
    data = path.read_bytes()
    path.write_bytes(data[:FRAME + 60] + b'!' + data[FRAME + 61:])
    assert '1 broken images were left out' in tool('--source', path, '--on-error=skip', '--dest', tmp_path / 'o.zip')
    np.testing.assert_array_equal(pixels(tmp_path / 'o.zip'), RGB[[0, 2]])
    path.write_bytes(data[:-1])
    refused(tmp_path, 'truncated', '--source', path, '--on-error=skip')


def test_a_record_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    write_tfrecords(tmp_path / 'x.tfrecords', RGB)
    monkeypatch.setattr(tfrecords, 'LARGEST', 100)
    refused(tmp_path, 'too many for an image', '--source', tmp_path / 'x.tfrecords')


def test_several_datasets_in_a_folder_are_refused(tmp_path):
    levels(tmp_path / 'faces')
    levels(tmp_path / 'faces', 'cats')
    refused(tmp_path, 'several datasets (cats, faces)', '--source', tmp_path / 'faces')


def test_images_beside_tfrecords_are_the_source_and_the_tfrecords_are_named(tmp_path):
    save(levels(tmp_path / 'faces', lowest=3) / 'a.png', picture(0))
    text = tool('--source', tmp_path / 'faces', '--dest', tmp_path / 'o.zip')
    assert '1 images, 8x8' in text and 'faces-r03.tfrecords' in text


def test_without_the_package_the_remedy_is_named(tmp_path, monkeypatch):
    write_tfrecords(tmp_path / 'x.tfrecords', RGB)
    monkeypatch.setitem(sys.modules, 'google_crc32c', None)
    tfrecords._checksum.cache_clear()
    refused(tmp_path, 'pip install google-crc32c', '--source', tmp_path / 'x.tfrecords')


def test_shapes_are_read_in_both_encodings_of_numbers():
    for packed in (True, False):
        assert tfrecords._parse(example([3, 8, 8], bytes(192), packed), '') == ([3, 8, 8], bytes(192))
