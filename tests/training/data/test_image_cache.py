"""The cache of decoded images: shared, never wrong, and no trouble where there is no room."""

import errno
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from helpers.dataset_making import make_folder, picture, save, tool

from dnnlib.util import OptionError
from training.data import image_cache
from training.data.dataset import ImageFolderDataset
from training.data.image_cache import ImageCache, choose_place

SHAPE = (3, 8, 8)
IMAGES = [picture(i, SHAPE) for i in range(5)]


@pytest.fixture
def cache(tmp_path):
    with_room = ImageCache(tmp_path / 'new' / 'cache', 5, SHAPE)
    yield with_room
    with_room.close()


def test_what_is_put_is_got_by_all(cache):
    assert cache.get(1) is None
    cache.put(1, IMAGES[1])
    cache.put(4, np.asfortranarray(IMAGES[4]))
    for reader in (cache, pickle.loads(pickle.dumps(cache)), ImageCache(cache.path, 5, SHAPE)):
        assert [i for i in range(5) if reader.get(i) is not None] == [1, 4]
        for i in (1, 4, 4):
            np.testing.assert_array_equal(reader.get(i), IMAGES[i])
    assert os.stat(cache.path).st_mode & 0o777 == 0o600
    cache.remove()
    np.testing.assert_array_equal(cache.get(1), IMAGES[1])  # who has it open keeps it
    assert not cache.path.exists()


def test_incomplete_and_damaged_images_are_absent(cache):
    for i in range(5):
        cache.put(i, IMAGES[i])
    data = bytearray(cache.path.read_bytes())
    data[cache._start + 2 * 192 + 7] ^= 1  # a pixel of image 2
    data[8 * 3] ^= 1                       # the checksum of image 3
    cache.path.write_bytes(data[:-100])    # and image 4 has no end
    fresh = ImageCache(cache.path, 5, SHAPE)
    assert [i for i in range(5) if fresh.get(i) is not None] == [0, 1]
    fresh.put(4, IMAGES[4])
    np.testing.assert_array_equal(fresh.get(4), IMAGES[4])


def test_a_full_disk_is_no_trouble(cache, monkeypatch):
    cache.put(0, IMAGES[0])
    def full(*args):
        raise OSError(errno.ENOSPC, 'full')
    monkeypatch.setattr(os, 'pwrite', full)
    cache.put(1, IMAGES[1])
    assert cache.get(1) is None
    np.testing.assert_array_equal(cache.get(0), IMAGES[0])


def test_a_really_full_disk_is_no_trouble():
    if not os.path.exists('/dev/full'):
        pytest.skip('no /dev/full')
    cache = ImageCache('/dev/full', 5, SHAPE)  # not a regular file either
    cache.put(1, IMAGES[1])
    assert cache.get(1) is None


def test_places_that_cannot_be_used_are_caches_that_stay_empty(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    (tmp_path / 'target').write_bytes(b'precious')
    (tmp_path / 'link').symlink_to(tmp_path / 'target')
    for path in (tmp_path, tmp_path / 'file' / 'cache', tmp_path / 'link'):
        cache = ImageCache(path, 5, SHAPE)
        cache.put(0, IMAGES[0])
        assert cache.get(0) is None
    assert (tmp_path / 'target').read_bytes() == b'precious'


@pytest.mark.skipif(not hasattr(os, 'fork') or os.getuid() != 0, reason='needs to be another user')
def test_files_of_others_are_not_believed(tmp_path):
    cache = ImageCache(tmp_path / 'cache', 5, SHAPE)
    cache.put(0, IMAGES[0])
    os.chown(tmp_path / 'cache', 12345, 12345)
    assert ImageCache(tmp_path / 'cache', 5, SHAPE).get(0) is None


@pytest.fixture
def path(tmp_path):
    source = make_folder(tmp_path / 'src', [f'{i}.png' for i in range(6)])
    tool('--source', source, '--dest', tmp_path / 'x.zip')
    return str(tmp_path / 'x.zip')


def test_a_dataset_gives_the_same_from_its_cache(path, tmp_path, monkeypatch):
    plain = ImageFolderDataset(path, max_size=4, xflip=True)
    cached = ImageFolderDataset(path, max_size=4, xflip=True)
    cached.cache_images(str(tmp_path / 'cache'))
    expected = [plain[i][0] for i in range(8)]
    for _ in range(2):
        for i in range(8):
            np.testing.assert_array_equal(cached[i][0], expected[i])
            cached[i][0][:] = 0  # belongs to who asked
        monkeypatch.setattr(ImageFolderDataset, '_decode', None)  # the second time none is decoded


def test_workers_of_a_loader_share_it(path, tmp_path, monkeypatch):
    data = ImageFolderDataset(path)
    data.cache_images(str(tmp_path / 'cache'))
    expected = np.stack([data._decode(i) for i in range(6)])
    loader = torch.utils.data.DataLoader(data, batch_size=1, num_workers=2)
    np.testing.assert_array_equal(torch.cat([images for images, _ in loader]).numpy(), expected)
    monkeypatch.setattr(ImageFolderDataset, '_decode', None)
    np.testing.assert_array_equal(np.stack([data[i][0] for i in range(6)]), expected)


# Where it is.

def rooms(monkeypatch, tmp_path, memory, disk):
    (tmp_path / 'shm').mkdir(exist_ok=True)
    monkeypatch.setattr(image_cache, 'SHARED_MEMORY', tmp_path / 'shm')
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setattr(image_cache, '_room_in_memory', lambda: memory)
    monkeypatch.setattr(image_cache, '_room_on', lambda path: disk)


NEEDED = 4096 + 6 * 192


@pytest.mark.parametrize('memory,disk,place', [(2 * NEEDED, 0, 'shm'), (2 * NEEDED - 1, 2 * NEEDED, 'cache'),
                                               (NEEDED, NEEDED, None)])
def test_auto_takes_half_of_the_room_at_most(path, tmp_path, monkeypatch, memory, disk, place):
    rooms(monkeypatch, tmp_path, memory, disk)
    chosen = choose_place('auto', ImageFolderDataset(path))
    assert chosen is None if place is None else (tmp_path / place) in chosen.parents


def test_a_place_that_was_asked_for_needs_all_of_the_room(path, tmp_path, monkeypatch):
    data = ImageFolderDataset(path)
    rooms(monkeypatch, tmp_path, NEEDED, NEEDED)
    assert choose_place('memory', data).parent == tmp_path / 'shm' and choose_place('disk', data).parent.name == 'images'
    rooms(monkeypatch, tmp_path, NEEDED - 1, NEEDED - 1)
    for mode in ('memory', 'disk'):
        with pytest.raises(OptionError, match=f'--cache-images={mode}: the decoded images take 0.0 GiB, and .* has'):
            choose_place(mode, data)


def test_each_dataset_has_its_own(path, tmp_path, monkeypatch):
    rooms(monkeypatch, tmp_path, NEEDED, NEEDED)
    shutil.copy(path, tmp_path / 'copy.zip')
    save(tmp_path / 'src' / '0.png', picture(99))
    tool('--source', tmp_path / 'src', '--dest', tmp_path / 'other.zip')
    places = [choose_place('disk', ImageFolderDataset(tmp_path / name)) for name in ('x.zip', 'copy.zip', 'other.zip')]
    assert places[0] == places[1] != places[2]
    assert choose_place('disk', ImageFolderDataset(path, max_size=3, xflip=True)) == places[0]


def test_the_real_rooms_are_numbers(tmp_path):
    assert image_cache._room_on(tmp_path / 'new' / 'x') > 0 and image_cache._room_in_memory() >= 0
