"""A sealed file knows whether it is whole, and what it belongs to; readers of pickles and archives don't notice."""

import io
import pickle
import zipfile

import pytest
import torch

from dnnlib.seal import check_file, check_seal, seal


def sealed(content=b'content', **kwargs):
    f = io.BytesIO(content)
    return f, seal(f, **kwargs)


def test_a_whole_file_tells_its_digest_and_what_it_belongs_to():
    f, digest = sealed()
    assert check_seal(f) == (True, digest, None) and f.tell() == 0
    other = sealed(b'state', belongs_to=digest)[0]
    assert check_seal(other)[0] is True and check_seal(other)[2] == digest


@pytest.mark.parametrize('at', [0, 3, 6])
def test_a_changed_byte_is_found(at):
    data = bytearray(sealed()[0].getvalue())
    data[at] ^= 1
    assert check_seal(io.BytesIO(data))[0] is False


def test_a_changed_checksum_is_found():
    data = bytearray(sealed()[0].getvalue())
    data[20] = ord('0') if data[20] != ord('0') else ord('1')
    assert check_seal(io.BytesIO(data))[0] is False


@pytest.mark.parametrize('length', [0, 1, 7, -150])
def test_without_its_end_a_file_says_nothing(length):
    assert check_seal(io.BytesIO(sealed()[0].getvalue()[:length])) == (None, None, None)


@pytest.mark.parametrize('missing', [1, 60, 130])
def test_a_line_that_is_cut_short_is_damage(missing):
    assert check_seal(io.BytesIO(sealed()[0].getvalue()[:-missing])) == (False, None, None)


def test_an_end_full_of_zeros_says_nothing():
    data = sealed(bytes(5000))[0].getvalue()
    assert check_seal(io.BytesIO(data[:4000] + bytes(len(data) - 4000))) == (None, None, None)


def test_an_empty_file_can_be_sealed():
    assert check_seal(sealed(b'')[0])[0] is True


def test_a_pickle_is_read_as_before():
    f = io.BytesIO()
    pickle.dump({'a': 1}, f)
    seal(f)
    f.seek(0)
    assert pickle.load(f) == {'a': 1}


def test_an_archive_of_torch_is_read_as_before():
    f = io.BytesIO()
    torch.save({'a': torch.arange(3)}, f)
    digest = seal(f, belongs_to='0' * 64, zipped=True)
    assert check_seal(f) == (True, digest, '0' * 64)
    assert torch.load(f, weights_only=True)['a'].tolist() == [0, 1, 2]
    assert zipfile.ZipFile(f).testzip() is None


@pytest.mark.parametrize('what', ['missing', 'folder'])
def test_what_is_no_file_is_not_whole(tmp_path, what):
    if what == 'folder':
        (tmp_path / what).mkdir()
    assert check_file(tmp_path / what) == (False, None, None)
