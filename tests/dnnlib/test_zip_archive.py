"""ZIP files: of 64 bits, corrupt, encrypted, and read by threads and processes at once."""

import io
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib import UserError
from dnnlib.zip_archive import ZipArchive


def written(members, prefix=b'', limit=2 ** 31):
    """A ZIP file; one of 64 bits if it has more than `limit` bytes."""
    buffer = io.BytesIO(prefix)
    buffer.seek(0, io.SEEK_END)
    with mock.patch.multiple(zipfile, ZIP64_LIMIT=limit, ZIP_FILECOUNT_LIMIT=limit // 20), zipfile.ZipFile(buffer, 'a') as z:
        for name, data, method in members:
            z.writestr(name, data, method)
    return buffer.getvalue()


def test_those_of_64_bits_are_read(tmp_path):
    (tmp_path / 'x.zip').write_bytes(written([(f'{i}', b'%d' % i, zipfile.ZIP_STORED) for i in range(9)], b'before', 60))
    assert b'PK\6\6' in (tmp_path / 'x.zip').read_bytes()
    archive = ZipArchive(tmp_path / 'x.zip')
    assert [archive.read(name) for name in archive.names] == [b'%d' % i for i in range(9)]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('corrupt') / 'x.zip'


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_corruption_ends_in_one_line_or_is_harmless(place, data):
    whole = bytearray(written([('a', b'1' * 40, 0), ('b', b'2' * 40, 8)], limit=data.draw(st.sampled_from([2 ** 31, 30]))))
    for _ in range(3):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    place.write_bytes(whole)
    try:
        archive = ZipArchive(place)
        for name in archive.names:
            archive.read(name)
            with archive.open(name) as f:
                f.read(26)
    except UserError as err:
        assert 'x.zip: ' in str(err) and '\n' not in str(err)


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_corrupt_member_is_named_by_read_and_by_open(tmp_path, method):
    content = os.urandom(5000)
    data = bytearray(written([('a.bin', content, method)]))
    data[2500] ^= 255
    (tmp_path / 'x.zip').write_bytes(data)
    archive = ZipArchive(tmp_path / 'x.zip')
    with pytest.raises(UserError, match=r'a\.bin in .*x\.zip: cannot be read \(.*\); copy or create the ZIP file again'):
        archive.read('a.bin')
    with pytest.raises(UserError, match=r'a\.bin in .*x\.zip: cannot be read'), archive.open('a.bin') as f:
        f.read()
    with archive.open('a.bin') as f:
        assert f.read(26) == content[:26]  # headers are read without the rest


def test_an_encrypted_member_is_named(tmp_path):
    data = bytearray(written([('a.bin', b'1', zipfile.ZIP_STORED)]))
    data[6] |= 1
    data[data.index(b'PK\1\2') + 8] |= 1  # the flags in the header of the member and in the directory
    (tmp_path / 'x.zip').write_bytes(data)
    archive = ZipArchive(tmp_path / 'x.zip')
    for read in (archive.read, lambda name: archive.open(name).__enter__()):
        with pytest.raises(UserError, match=r'a\.bin in .*x\.zip: cannot be read \(.*encrypted'):
            read('a.bin')


def test_a_failing_disk_is_named(tmp_path):
    (tmp_path / 'x.zip').write_bytes(written([('a.bin', b'1', zipfile.ZIP_STORED)]))
    archive = ZipArchive(tmp_path / 'x.zip')
    with mock.patch('os.pread', side_effect=OSError(5, 'Input/output error')), \
            pytest.raises(UserError, match=r'a\.bin in .*x\.zip: input/output error'):
        archive.read('a.bin')


def numbers(archive):
    """How many members hold what they should, in some order."""
    names = sorted(archive.names, key=lambda name: zlib.crc32(name.encode() + b'%d' % os.getpid()))
    return sum(archive.read(name) == name.encode() * int(name) for name in names)


def test_threads_and_forked_processes_read_at_once(tmp_path):
    (tmp_path / 'x.zip').write_bytes(written([(f'{i}', b'%d' % i * i, 8 * (i % 2)) for i in range(300)]))
    archive = ZipArchive(tmp_path / 'x.zip')
    archive.read('7')
    children = []
    for _ in range(3 if hasattr(os, 'fork') else 0):
        child = os.fork()
        if child == 0:
            os._exit(0 if numbers(archive) == numbers(archive) == 300 else 1)
        children.append(child)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(numbers, [archive] * 3)) == [300] * 3
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
