"""An LMDB that is corrupt ends no process but the one that reads it."""

import multiprocessing

import numpy as np
import pytest
from helpers.packed_making import write_lsun

from dnnlib import UserError
from training.data.making.lsun import open_lmdb

pytest.importorskip('lmdb')
PAGE = 4096


@pytest.fixture
def database(tmp_path):
    """A folder with the files of 60 images, and its content."""
    folder = tmp_path / 'church_lmdb'
    folder.mkdir()
    write_lsun(folder, np.random.default_rng(0).integers(0, 256, (60, 24, 24, 3), dtype=np.uint8))
    return folder, (folder / 'data.mdb').read_bytes()


def read(folder):
    images, size = open_lmdb(str(folder))
    return list(images), size


def test_all_entries_come_in_the_order_of_their_keys(database):
    images, size = read(database[0])
    assert size == len(images) == 60 and all(data.startswith(b'RIFF') and label is None for data, label, _ in images)
    assert [name for _, _, name in images] == [f'{i:040x} in {database[0]}' for i in range(60)]


@pytest.mark.parametrize('damage', ['cut within a page', 'cut at a page', 'cut in the middle', 'page of zeros', 'page of noise'])
def test_corrupt_databases_are_refused_in_one_line(database, damage, capfd):
    folder, data = database
    middle = len(data) // PAGE // 2 * PAGE
    noise = np.random.default_rng(1).bytes(PAGE)
    (folder / 'data.mdb').write_bytes({
        'cut within a page': data[:2 * PAGE + 100], 'cut at a page': data[:2 * PAGE], 'cut in the middle': data[:middle],
        'page of zeros': data[:2 * PAGE] + bytes(len(data) - 2 * PAGE),
        'page of noise': data[:2 * PAGE] + noise * (len(data) // PAGE - 2)}[damage])
    before = multiprocessing.active_children()  # of other tests
    with pytest.raises(UserError, match=r'church_lmdb: .*; download or export it again$') as caught:
        read(folder)
    assert '\n' not in str(caught.value) and capfd.readouterr().err == ''
    assert multiprocessing.active_children() == before


def test_the_other_process_ends_with_the_iterator(database):
    before = multiprocessing.active_children()  # of other tests
    images, _ = open_lmdb(str(database[0]))
    next(images)
    assert len(multiprocessing.active_children()) == len(before) + 1
    del images
    assert multiprocessing.active_children() == before
