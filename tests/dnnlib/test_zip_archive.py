"""The directory of a ZIP file, as zipfile reads it."""

import io
import zipfile
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.zip_archive import ZipArchive, read_directory

NAMES = st.text(st.characters(codec='utf-8', exclude_characters='\0\\\\:'), min_size=1, max_size=20)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=30), METHODS), max_size=8)


def written(members, comment, prefix, limit):
    """A ZIP file; one of 64 bits if it has more than `limit` members or bytes."""
    buffer = io.BytesIO(prefix)
    buffer.seek(0, io.SEEK_END)
    with mock.patch.multiple(zipfile, ZIP64_LIMIT=limit, ZIP_FILECOUNT_LIMIT=limit // 20), zipfile.ZipFile(buffer, 'a') as z:
        for name, data, method in members:
            info = zipfile.ZipInfo(name)
            info.comment = comment[:5]
            z.writestr(info, data, method)
        z.comment = comment
    return buffer.getvalue()


@pytest.mark.filterwarnings('ignore:Duplicate name')
@given(MEMBERS, st.binary(max_size=20), st.binary(max_size=9), st.sampled_from([2 ** 31, 60, 300]))
@settings(max_examples=60, deadline=None)
def test_it_is_read_as_by_zipfile(members, comment, prefix, limit):
    data = written(members, comment, prefix, limit)
    if b'PK' in comment:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        expected = {info.filename: info for info in z.infolist() if not info.is_dir()}
    names, columns = read_directory(io.BytesIO(data))
    assert names == sorted(expected)
    infos = [expected[name] for name in names]
    assert columns.offsets.tolist() == [info.header_offset for info in infos]
    assert columns.packed_sizes.tolist() == [info.compress_size for info in infos]
    assert columns.sizes.tolist() == [info.file_size for info in infos]
    assert columns.checksums.tolist() == [info.CRC for info in infos]
    assert columns.methods.tolist() == [info.compress_type for info in infos]


def test_large_ones_are_read(tmp_path):
    (tmp_path / 'x.zip').write_bytes(written([(f'{i}', b'%d' % i, zipfile.ZIP_STORED) for i in range(9)], b'', b'before', 60))
    assert b'PK\6\6' in (tmp_path / 'x.zip').read_bytes()  # 64 bits
    archive = ZipArchive(tmp_path / 'x.zip')
    assert [archive.read(name) for name in archive.names] == [b'%d' % i for i in range(9)]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_ends_in_one_kind_of_error_or_is_harmless(data):
    whole = bytearray(written([('a', b'1', 0), ('b', b'2', 8)], b'', b'', data.draw(st.sampled_from([2 ** 31, 30]))))
    for _ in range(3):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        names, _ = read_directory(io.BytesIO(bytes(whole)))
        assert len(names) <= 2
    except (zipfile.BadZipFile, ValueError, OSError, OverflowError) as err:
        assert str(err)
    except Exception as err:
        assert type(err).__name__ == 'error', repr(err)  # struct.error
