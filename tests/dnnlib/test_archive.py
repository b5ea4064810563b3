"""Folders and ZIP files, read and written alike, whole or not at all."""

import os
import pickle
import zipfile

import pytest

from dnnlib import UserError, zip_archive
from dnnlib.archive import ArchiveWriter, FolderArchive, open_archive

FILES = {'b.txt': b'one', 'a/x.bin': b'two' * 100, 'a/b/c.txt': b''}


@pytest.fixture(params=['data', 'data.zip', 'DATA.ZIP'])
def path(request, tmp_path):
    with ArchiveWriter(tmp_path / request.param) as out:
        for name, data in FILES.items():
            out.write(name, data)
    return tmp_path / request.param


def test_what_is_written_is_read(path):
    with open_archive(path) as archive:
        assert archive.names == sorted(FILES)
        assert {name: archive.read(name) for name in archive.names} == FILES
        with archive.open('a/x.bin') as f:
            assert f.read(3) == b'two'
            f.seek(0)
            assert f.read() == FILES['a/x.bin']


def test_a_fingerprint_tells_content_apart(path, tmp_path):
    with open_archive(path) as archive:
        before = archive.fingerprint(archive.names)
        assert before == open_archive(path).fingerprint(archive.names) != archive.fingerprint(archive.names[1:])
    copy = tmp_path / f'copy{path.suffix}'
    with ArchiveWriter(copy) as out:
        for name, data in FILES.items():
            out.write(name, b'two' * 99 + b'tow' if name == 'a/x.bin' else data)  # of the same size
    assert open_archive(copy).fingerprint(archive.names) != before


def test_a_zip_is_the_same_wherever_it_lies_and_a_folder_is_not_when_a_file_was_touched(tmp_path):
    for name in ('a.zip', 'b.zip', 'folder'):
        with ArchiveWriter(tmp_path / name) as out:
            out.write('x', b'1')
    assert len({open_archive(tmp_path / name).fingerprint(['x']) for name in ('a.zip', 'b.zip')}) == 1
    before = open_archive(tmp_path / 'folder').fingerprint(['x'])
    os.utime(tmp_path / 'folder' / 'x', (1, 1))
    archive = open_archive(tmp_path / 'folder')
    assert archive.fingerprint(['x']) != before
    (tmp_path / 'folder' / 'x').unlink()
    with pytest.raises(UserError, match=r'folder/x: no such file'):
        archive.fingerprint(['x'])


def test_only_the_destination_remains(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert os.stat(path).st_mode & 0o444 == 0o444 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_survives_pickling_and_closing(path):
    archive = open_archive(path)
    copy = pickle.loads(pickle.dumps(archive))
    archive.close()
    assert copy.read('b.txt') == archive.read('b.txt') == b'one'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_forked_process_reads_through_its_own_handle(path):
    archive = open_archive(path)
    with archive.open('a/x.bin') as f:
        f.read(10)
        child = os.fork()
        if child == 0:
            good = all(archive.read(name) == data for name, data in FILES.items() for _ in range(20))
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert f.read() == FILES['a/x.bin'][10:]


def test_missing_things_are_named(path):
    with pytest.raises(UserError, match=r'nothing\.txt'):
        open_archive(path).read('nothing.txt')
    with pytest.raises(UserError, match=r'gone: no such file'):
        open_archive(path.parent / 'gone')


def test_only_folders_and_zips_are_archives(tmp_path):
    (tmp_path / 'x.tar').write_bytes(b'')
    with pytest.raises(UserError, match=r'x\.tar: path must point to a directory or zip'):
        open_archive(tmp_path / 'x.tar')


@pytest.mark.parametrize('content', [b'', b'not a zip', b'PK\x03\x04' + bytes(100)])
def test_a_file_that_is_no_zip_is_named(tmp_path, content):
    (tmp_path / 'x.zip').write_bytes(content)
    with pytest.raises(UserError, match=r'x\.zip: not a ZIP file'):
        open_archive(tmp_path / 'x.zip')


def test_a_truncated_zip_is_named(path):
    if path.is_file():
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(UserError, match='incomplete'):
            open_archive(path)


def test_a_damaged_member_is_named(tmp_path):
    path = tmp_path / 'x.zip'
    with ArchiveWriter(path) as out:
        out.write('a.bin', b'A' * 50)
    path.write_bytes(path.read_bytes().replace(b'A' * 50, b'A' * 49 + b'B'))
    with pytest.raises(UserError, match=r'a\.bin in .*x\.zip: cannot be read'):
        open_archive(path).read('a.bin')


@pytest.mark.parametrize('name', ['../x.png', 'a/../../x.png', '/etc/x.png', '..\\x.png', 'C:\\x.png', 'a/..'])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as z:
        z.writestr('fine..png', b'')
        z.writestr(name, b'')
    with pytest.raises(UserError, match=r'x\.zip: has a member .* which leads out of it'):
        open_archive(tmp_path / 'x.zip')


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_read(tmp_path, method):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w', method) as z:
        z.comment = b'a comment'
        for name, data in FILES.items():
            z.writestr(name, data)
        z.writestr('b.txt', b'twice') if method == zipfile.ZIP_LZMA else None
    archive = open_archive(tmp_path / 'x.zip')
    expected = {**FILES, **({'b.txt': b'twice'} if method == zipfile.ZIP_LZMA else {})}
    assert archive.names == sorted(FILES) and {name: archive.read(name) for name in archive.names} == expected
    with archive.open('a/x.bin') as f:
        assert (f.read(4), f.seek(-2, 2), f.read()) == (b'twot', 298, b'wo')


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('a.png', bytes(5000))
    monkeypatch.setattr(zip_archive, 'LARGEST_MEMBER', 4999)
    with pytest.raises(UserError, match=r'a\.png in .*x\.zip: unpacks to 5,000 bytes'):
        open_archive(tmp_path / 'x.zip').read('a.png')


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(tmp_path):
    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('a.png', bytes(5000))
    path.write_bytes(path.read_bytes().replace((5000).to_bytes(4, 'little'), (50).to_bytes(4, 'little')))
    with pytest.raises(UserError, match='cannot be read'):
        open_archive(path).read('a.png')


def test_stored_members_are_files(path):
    with open_archive(path) as archive, archive.open('a/x.bin') as f:
        assert (f.seek(-3, 2), f.read(9), f.read(9), f.tell(), f.seek(1), f.read(2)) == (297, b'two', b'', 300, 1, b'wo')


def test_a_zip_of_another_place_reads_at_the_right_offsets(path, tmp_path):
    if path.is_file():
        (tmp_path / 'sfx.zip').write_bytes(b'a program that unpacks itself' + path.read_bytes())
        archive = open_archive(tmp_path / 'sfx.zip')
        assert {name: archive.read(name) for name in archive.names} == FILES


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ('1.zip', '2.zip'):
        with ArchiveWriter(tmp_path / name) as out:
            out.write('a', b'x')
    assert (tmp_path / '1.zip').read_bytes() == (tmp_path / '2.zip').read_bytes()
    assert zipfile.ZipFile(tmp_path / '1.zip').infolist()[0].compress_type == zipfile.ZIP_STORED


@pytest.mark.parametrize('name', ['out', 'out.zip', 'new/out.zip', 'new/out'])
def test_a_failure_leaves_nothing(tmp_path, name):
    with pytest.raises(RuntimeError), ArchiveWriter(tmp_path / name) as out:
        out.write('a', b'x')
        raise RuntimeError
    assert [p for p in tmp_path.rglob('*') if p.name != 'new'] == []


def test_a_failure_keeps_the_zip_that_was_there(tmp_path):
    (tmp_path / 'out.zip').write_bytes(b'old')
    with pytest.raises(RuntimeError), ArchiveWriter(tmp_path / 'out.zip') as out:
        out.write('a', b'x')
        raise RuntimeError
    assert (tmp_path / 'out.zip').read_bytes() == b'old'


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path):
    (tmp_path / 'out').mkdir()
    with ArchiveWriter(tmp_path / 'out') as out:
        out.write('a', b'x')
    assert (tmp_path / 'out' / 'a').read_bytes() == b'x'
    with pytest.raises(UserError, match='must be empty'):
        ArchiveWriter(tmp_path / 'out')


def test_impossible_destinations_are_refused(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    (tmp_path / 'dir.zip').mkdir()
    for path in ['', tmp_path / 'file', tmp_path / 'dir.zip']:
        with pytest.raises(UserError):
            ArchiveWriter(path)
    for path in [tmp_path / 'file' / 'out', tmp_path / 'file' / 'out.zip']:
        with pytest.raises(UserError, match='cannot be written'), ArchiveWriter(path):
            pass


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'real' / 'a.txt').write_bytes(b'x')
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'link').symlink_to(tmp_path / 'real')
    (tmp_path / 'root' / 'loop').symlink_to(tmp_path / 'root')
    (tmp_path / 'root' / 'other').symlink_to(tmp_path / 'real')
    (tmp_path / 'root' / 'itself').symlink_to(tmp_path / 'root' / 'itself')
    assert open_archive(tmp_path / 'root').names == ['itself', 'link/a.txt']


def test_strange_names_of_files_are_kept(tmp_path):
    names = sorted(['a/ü\n"\\.png', 'a/' + os.fsdecode(b'\xff.png'), 'b c.png'])
    (tmp_path / 'a').mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode(errors='surrogateescape'))
    archive = open_archive(tmp_path)
    assert archive.names == names
    assert all(archive.read(name) == name.encode(errors='surrogateescape') for name in names)


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='needs a user whom permissions stop')
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'shut').mkdir(mode=0)
    with pytest.raises(UserError, match='shut: permission denied'):
        open_archive(tmp_path)


def test_a_folder_that_vanishes_is_named(tmp_path):
    with pytest.raises(UserError, match='gone: no such file'):
        FolderArchive(tmp_path / 'gone')
