"""Datasets: what they give out, and what they say when something is wrong."""

import io
import json
import pickle
import zipfile

import numpy as np
import PIL.Image
import pytest

from dnnlib import UserError
from training.data.dataset import ImageFolderDataset


def picture(i, shape=(8, 8, 3)):
    return np.random.RandomState(i).randint(0, 256, size=shape, dtype=np.uint8)


def png(pixels, mode=None):
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, 'png')
    return buffer.getvalue()


def write(path, files):
    """Write a dict of names and contents into a folder or ZIP file."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w') as z:
            for name, data in files.items():
                z.writestr(name, data)
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def dataset_files(count=6, labels=None, shape=(8, 8, 3)):
    names = [f'0000{i % 2}/img{i}.png' for i in range(count)]
    files = {name: png(picture(i, shape)) for i, name in enumerate(names)}
    if labels is not None:
        files['dataset.json'] = json.dumps({'labels': [[n, v] for n, v in zip(names, labels, strict=True)]}).encode()
    return files


@pytest.fixture(params=['set', 'set.zip'])
def path(request, tmp_path):
    return write(tmp_path / request.param, {**dataset_files(labels=[3, 0, 1, 1, 0, 3]), 'notes.txt': b'', '._x.png': b''})


ORDER = [0, 2, 4, 1, 3, 5]  # the images above, sorted by name


def test_items_are_sorted_by_name(path):
    data = ImageFolderDataset(path, use_labels=True)
    assert len(data) == 6
    for item, i in enumerate(ORDER):
        image, label = data[item]
        assert image.dtype == np.uint8 and label.dtype == np.float32
        np.testing.assert_array_equal(image, picture(i).transpose(2, 0, 1))
        np.testing.assert_array_equal(label, np.eye(4)[[3, 0, 1, 1, 0, 3][i]])
    data.validate()


def test_properties(path):
    data = ImageFolderDataset(str(path), use_labels=True)
    assert (data.name, data.image_shape, data.num_channels, data.resolution) == ('set', [3, 8, 8], 3, 8)
    assert (data.label_shape, data.label_dim, data.has_labels, data.has_onehot_labels) == ([4], 4, True, True)
    assert data.domains is None


def test_labels_are_left_out_unless_asked_for(path):
    data = ImageFolderDataset(path)
    assert (data.label_shape, data.label_dim, data.has_labels, data.has_onehot_labels) == ([0], 0, False, False)
    assert data[0][1].shape == (0,)


def test_greyscale_has_one_channel(tmp_path):
    data = ImageFolderDataset(write(tmp_path / 'a.zip', dataset_files(shape=(8, 8))))
    np.testing.assert_array_equal(data[0][0], picture(0, (8, 8))[np.newaxis])
    data.validate()


def test_vector_labels_are_given_out_as_they_are(tmp_path):
    data = ImageFolderDataset(write(tmp_path / 'a', dataset_files(2, labels=[[0.5, 1], [2, -3]])), use_labels=True)
    np.testing.assert_array_equal(data.get_label(1), np.float32([2, -3]))
    assert (data.label_dim, data.has_onehot_labels) == (2, False)


def test_classes_are_whole_numbers(tmp_path):
    data = ImageFolderDataset(write(tmp_path / 'a', dataset_files(2, labels=[1.0, 0])), use_labels=True)
    assert data.get_label(0).tolist() == [0, 1]
    data = ImageFolderDataset(write(tmp_path / 'b', dataset_files(2, labels=[0, 1.7])), use_labels=True)
    with pytest.raises(UserError, match=r'label of 00001/img1\.png is 1\.7, but a class is a whole number; write \[1\.7\]'):
        data.get_label(0)


def test_all_zero_labels_are_one_class(tmp_path):
    data = ImageFolderDataset(write(tmp_path / 'a', dataset_files(2, labels=[0, 0])), use_labels=True)
    assert data.label_dim == 1 and data.has_labels


def test_null_labels_are_none_and_backslashes_are_understood(tmp_path):
    files = dataset_files(1)
    write(tmp_path / 'a', {**files, 'dataset.json': b'{"labels": null, "domains": ["cat"]}'})
    data = ImageFolderDataset(tmp_path / 'a', use_labels=True)
    assert not data.has_labels and data.domains == ['cat']
    write(tmp_path / 'a', {'dataset.json': json.dumps({'labels': [['00000\\img0.png', 1], ['extra', 5]]}).encode()})
    assert ImageFolderDataset(tmp_path / 'a', use_labels=True).get_label(0).tolist() == [0, 1]


def test_subset_is_seeded_sorted_and_keeps_the_label_size(path):
    data = ImageFolderDataset(path, use_labels=True, max_size=4, random_seed=0)
    assert [data.get_details(i).raw_idx for i in range(4)] == [1, 2, 3, 5]
    assert data.label_dim == 4
    assert len(ImageFolderDataset(path, max_size=100)) == 6


def test_xflip_appends_mirrored_copies(path):
    data = ImageFolderDataset(path, use_labels=True, max_size=4, xflip=True)
    assert len(data) == 8
    np.testing.assert_array_equal(data[5][0], data[1][0][:, :, ::-1])
    np.testing.assert_array_equal(data[5][1], data[1][1])
    details = data.get_details(5)
    assert (details.raw_idx, details.xflip, int(details.raw_label)) == (2, True, 0)


CONTENT = [[f'0000{i % 2}/img{i}.png', value] for i, value in enumerate([7, 1, 2, 0, 4, 5])] + [['extra', 30]]


def test_all_images_are_those_beyond_a_subset(path):
    part = ImageFolderDataset(str(path), use_labels=True, max_size=2, xflip=True, random_seed=1)
    for data, flips in [(part.all_images(), True), (part.all_images(xflip=True), True), (part.all_images(xflip=False), False)]:
        expected = ImageFolderDataset(str(path), use_labels=True, xflip=flips)
        assert len(data) == len(expected) and data.label_dim == expected.label_dim
        for i in range(len(data)):
            assert all(np.array_equal(a, b) for a, b in zip(data[i], expected[i], strict=True))
    whole = ImageFolderDataset(str(path))
    assert whole.all_images() is whole.all_images(xflip=False) is whole
    assert whole.all_images(xflip=True).label_dim == 0


def test_identity_is_of_the_images_given_out(path):
    def identity(**kwargs):
        return ImageFolderDataset(str(path), **kwargs).identity()

    same = [identity(), identity(use_labels=True), identity(max_size=1000, random_seed=3), identity(resolution=8)]
    others = [identity(xflip=True), identity(max_size=2), identity(max_size=3)]
    assert len({*same}) == 1 and len({*same, *others}) == 4


def test_content_is_given_out_in_subsets_and_mirrored(path):
    content = [[name.replace('/', '\\'), value] for name, value in CONTENT]  # as Windows may write it
    files = {'dataset.json': json.dumps({'labels': None, 'content': content}).encode()}
    data = ImageFolderDataset(write(path.with_name('content'), {**dataset_files(), **files}), max_size=4, xflip=True)
    assert [data.get_details(i).raw_idx for i in range(4)] == [1, 2, 3, 5]
    assert [data.get_content(i) for i in range(8)] == [2, 4, 1, 5] * 2 and data.content_dim == 8
    assert type(data.get_content(0)) is int and not data.has_labels
    assert pickle.loads(pickle.dumps(data)).get_content(3) == 5


def test_without_content_there_is_none(path):
    data = ImageFolderDataset(path, use_labels=True)
    assert data.content_dim == 0
    with pytest.raises(UserError, match=r'has no content labels; .*dataset_tool\.py'):
        data.get_content(0)


@pytest.mark.parametrize('content', [None, 'text', {'a': 1}, [], [['a.png', 1.5]], [['a.png', True]], [['a.png', [1]]], [3]])
def test_content_of_another_tool_is_ignored(tmp_path, content):
    json_file = json.dumps({'labels': [['00000/img0.png', 1]], 'content': content}).encode()
    data = ImageFolderDataset(write(tmp_path / 'a', {**dataset_files(1), 'dataset.json': json_file}), use_labels=True)
    assert data.content_dim == 0 and data.get_label(0).tolist() == [0, 1]


@pytest.mark.parametrize('content,message', [
    (CONTENT[1:], 'no content for 00000/img0.png'),
    ([*CONTENT[:2], ['00000/img2.png', -1], *CONTENT[3:]], r'content of 00000/img2\.png is negative'),
    (CONTENT[:1], r'no content for 00000/img2\.png and 4 other images')])
def test_damaged_content_is_named(tmp_path, content, message):
    files = {**dataset_files(), 'dataset.json': json.dumps({'labels': None, 'content': content}).encode()}
    data = ImageFolderDataset(write(tmp_path / 'a.zip', files))
    with pytest.raises(UserError, match=rf'dataset\.json in .*{message}'):
        data.content_dim  # noqa: B018


def test_pickled_copies_read_the_same(path):
    data = ImageFolderDataset(path, use_labels=True, xflip=True)
    copy = pickle.loads(pickle.dumps(data))
    for i in range(len(data)):
        np.testing.assert_array_equal(data[i][0], copy[i][0])
        np.testing.assert_array_equal(data[i][1], copy[i][1])


def test_feeds_a_data_loader_with_workers(path):
    torch = pytest.importorskip('torch')
    data = ImageFolderDataset(path, use_labels=True)
    images, labels = next(iter(torch.utils.data.DataLoader(data, batch_size=6, num_workers=2)))
    assert images.shape == (6, 3, 8, 8) and images.dtype == torch.uint8
    assert labels.shape == (6, 4) and labels.dtype == torch.float32
    np.testing.assert_array_equal(images[0].numpy(), data[0][0])


# Errors.

@pytest.mark.parametrize('name,files,message', [
    ('set', {'x.txt': b''}, 'No image files found'),
    ('set.zip', {'x.txt': b''}, 'No image files found'),
    ('set', {'a.png': b'hello'}, r'a\.png: not an image'),
    ('set.zip', {'a.png': b'hello'}, r'a\.png in .*set\.zip: not an image'),
    ('set.zip', {'a.png': png(picture(0))[:-40]}, r'a\.png in .*: damaged image'),
    ('set', {'a.png': png(picture(0), 'P')}, 'not of mode P; .*dataset_tool'),
    ('set', {'a.png': png(np.zeros([8, 8], np.uint16))}, 'not of mode I;16'),
])
def test_wrong_files_are_named(tmp_path, name, files, message):
    with pytest.raises(UserError, match=message):
        ImageFolderDataset(write(tmp_path / name, files))


def test_wrong_paths_are_named(tmp_path):
    (tmp_path / 'set.tar').write_bytes(b'')
    for path in [tmp_path / 'gone', tmp_path / 'set.tar']:
        with pytest.raises(UserError, match=path.name):
            ImageFolderDataset(path)


def test_wrong_resolution_is_refused(path):
    assert ImageFolderDataset(path, resolution=8).resolution == 8
    with pytest.raises(UserError, match='do not match the specified resolution 16'):
        ImageFolderDataset(path, resolution=16)


@pytest.mark.parametrize('content,message', [
    (b'{', 'not valid JSON'),
    (b'\xff\xff', 'not valid JSON'),
    (b'[]', 'must be an object'),
    (b'{"labels": 3}', 'must be a list'),
    (b'{"labels": [["00000/img0.png"]]}', 'must be a list'),
    (b'{"labels": [["00000/img0.png", "cat"]]}', '"cat"'),
    (b'{"labels": [["00000/img0.png", NaN]]}', 'NaN'),
    (b'{"labels": [["00000/img0.png", []]]}', 'must be a list'),
    (b'{"labels": []}', r'no label for 00000/img0\.png and 1 other'),
    (b'{"labels": [["00000/img0.png", 1]]}', r'no label for 00001/img1\.png;'),
    (b'{"labels": [["00000/img0.png", 1], ["00001/img1.png", -1]]}', r'img1\.png is negative'),
    (b'{"labels": [["00000/img0.png", [1]], ["00001/img1.png", 1]]}', 'differ in kind or length'),
    (b'{"labels": [["00000/img0.png", [1]], ["00001/img1.png", [1, 2]]]}', 'differ in kind or length'),
])
def test_wrong_label_files_are_named(tmp_path, content, message):
    write(tmp_path / 'a.zip', {**dataset_files(2), 'dataset.json': content})
    for look in (lambda data: data.label_dim, lambda data: data.validate()):
        with pytest.raises(UserError, match=message) as caught:
            look(ImageFolderDataset(tmp_path / 'a.zip', use_labels=True))
        assert 'dataset.json in ' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('data,message', [
    (b'hello', 'not an image'),
    (b'', 'not an image'),
    (png(picture(0))[:20], 'not an image'),
    (png(picture(0, (16, 16, 3))), '16x16 RGB differs from the first image, 8x8 RGB'),
    (png(picture(0, (8, 8))), '8x8 L differs'),
    (png(picture(0), 'P'), 'mode P'),
])
def test_validation_names_the_first_offender(tmp_path, data, message):
    files = dataset_files()
    write(tmp_path / 'a.zip', {**files, '00001/img1.png': data, '00001/img3.png': b'worse'})
    with pytest.raises(UserError, match=message) as caught:
        ImageFolderDataset(tmp_path / 'a.zip').validate()
    assert 'img1.png' in str(caught.value)


@pytest.mark.parametrize('shape,message', [((8, 16, 3), 'square, not 16x8'), ((12, 12), 'power of two'), ((2, 2), 'power')])
def test_validation_refuses_sizes_that_cannot_be_trained(tmp_path, shape, message):
    write(tmp_path / 'a.zip', dataset_files(shape=shape))
    with pytest.raises(UserError, match=message):
        ImageFolderDataset(tmp_path / 'a.zip').validate()


def test_an_image_of_another_shape_is_named_when_fetched(tmp_path):
    write(tmp_path / 'a', {**dataset_files(2), 'b.png': png(picture(0, (4, 4, 3)))})
    with pytest.raises(UserError, match=r'b\.png: its shape \[3, 4, 4\] differs from \[3, 8, 8\]'):
        ImageFolderDataset(tmp_path / 'a')[2]


def test_validation_reports_progress(path):
    seen = []
    ImageFolderDataset(path).validate(progress=lambda names: seen.extend(names) or names)
    assert len(seen) == 6


def test_jpeg_and_upper_case_extensions_are_images(tmp_path):
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture(0)).save(buffer, 'jpeg')
    data = ImageFolderDataset(write(tmp_path / 'a.zip', {'X.JPG': buffer.getvalue(), 'y.png': png(picture(1))}))
    assert len(data) == 2 and data[0][0].shape == (3, 8, 8)
    data.validate()
