"""Lists of files: kept for large folders, forgotten when the folder changes."""

import json
import os
import time

import pytest

from dnnlib import folder_listing
from dnnlib.errors import UserError
from dnnlib.folder_listing import list_files


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of 30 files that were there for a while; 20 count as many."""
    monkeypatch.setattr(folder_listing, 'WORTH_KEEPING', 20)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    for i in range(30):
        path = tmp_path / 'data' / 'abc'[i % 3] / f'{i:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    make_old(tmp_path / 'data')
    return tmp_path / 'data'


def make_old(root, age=100):
    for folder in (root, *(path for path in root.rglob('*') if path.is_dir())):
        os.utime(folder, (time.time() - age,) * 2)


def names(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_file())


def walks(monkeypatch):
    """Counts how often the folder is read."""
    count, walk = [], folder_listing._walk
    monkeypatch.setattr(folder_listing, '_walk', lambda *args: count.append(1) or walk(*args))
    return count


def test_a_large_folder_is_read_once(root, monkeypatch):
    count = walks(monkeypatch)
    assert list_files(root) == list_files(root) == list_files(f'{root}/') == names(root)
    assert len(count) == 1 and (root.parent / '.data.files.json').is_file() and len(names(root)) == 30


def test_a_small_folder_leaves_nothing_behind(root, monkeypatch):
    monkeypatch.setattr(folder_listing, 'WORTH_KEEPING', 31)
    assert list_files(root) == names(root)
    assert [path.name for path in root.parent.iterdir()] == ['data']


@pytest.mark.parametrize('change', [
    lambda root: (root / 'a' / 'new.png').write_bytes(b''),
    lambda root: (root / 'b' / '01.png').unlink(),
    lambda root: (root / 'b' / '01.png').rename(root / 'b' / 'x.png'),
    lambda root: (root / 'd').mkdir(),
    lambda root: (root / 'c').rename(root / 'e'),
    lambda root: (root / 'new.png').write_bytes(b''),
])
def test_changes_are_seen(root, change):
    list_files(root)
    change(root)
    assert list_files(root) == names(root)
    make_old(root)
    assert list_files(root) == list_files(root) == names(root)


def test_a_folder_that_took_the_place_of_another_is_seen(root):
    list_files(root)
    times = {folder: os.stat(folder).st_mtime_ns for folder in (root, root / 'a')}
    (root / 'a').rename(root.parent / 'old')
    (root / 'a').mkdir()
    (root / 'a' / 'only.png').write_bytes(b'')
    for folder, changed in times.items():
        os.utime(folder, ns=(changed, changed))
    assert 'a/only.png' in list_files(root)


def test_a_folder_that_has_just_changed_is_not_kept(root, monkeypatch):
    count = walks(monkeypatch)
    make_old(root, 1)
    list_files(root)
    list_files(root)
    assert len(count) == 2 and not (root.parent / '.data.files.json').exists()


def test_where_nothing_can_be_written_beside_it_the_cache_has_the_list(root, monkeypatch):
    count = walks(monkeypatch)
    (root.parent / '.data.files.json').mkdir()  # nothing can take its place
    assert list_files(root) == list_files(root) == names(root)
    assert len(count) == 1 and len(list((root.parent / 'cache' / 'folders').glob('*.json'))) == 1
    (root.parent / 'cache').rename(root.parent / 'gone')
    (root.parent / 'cache').write_bytes(b'')
    assert list_files(root) == list_files(root) == names(root)  # nor there
    assert len(count) == 3


@pytest.mark.parametrize('damage', [lambda index: b'', lambda index: b'[]', lambda index: b'{"format": 1}',
                                    lambda index: b'\xff' * 9,
                                    lambda index: json.dumps({**index, 'names': 3}).encode(),
                                    lambda index: json.dumps({**index, 'format': 0}).encode(),
                                    lambda index: json.dumps({**index, 'root': '/'}).encode(),
                                    lambda index: json.dumps({**index, 'names': ['../x.png']}).encode(),
                                    lambda index: json.dumps({**index, 'names': ['a.png', '/etc/x.png']}).encode()])
def test_damaged_and_foreign_lists_are_made_anew(root, damage):
    list_files(root)
    place = root.parent / '.data.files.json'
    place.write_bytes(damage(json.loads(place.read_bytes())))
    assert list_files(root) == names(root)


def test_strange_names_are_kept(root):
    (root / 'a' / 'ü\n"\\.png').write_bytes(b'')
    (root / 'a' / os.fsdecode(b'\xff.png')).write_bytes(b'')
    make_old(root)
    assert list_files(root) == list_files(root) == names(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match='gone: no such file'):
        list_files(tmp_path / 'gone')
