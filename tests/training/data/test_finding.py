"""What counts as an image, and what is named instead."""

import os
import socket
import zipfile

import pytest

from dnnlib import UserError
from dnnlib.archive import open_archive
from training.data.finding import OF_DATASETS, OF_MACHINES, OF_RUNS, OF_UNREAD_TYPES, find_images, is_canonical


def tree(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    return root


KEPT = ['IM.JPG', 'a.png', 'sub/b.webp']
OTHERS = {
    OF_MACHINES: ['.hidden.png', '._a.png', '.ipynb_checkpoints/a-checkpoint.png', '@eaDir/a.png/THUMB.jpg',
                  '#recycle/b.png', 'sub/@EADIR/x.png', '__MACOSX/sub/b.webp', '$RECYCLE.BIN/c.png', 'sub/.thumbs/deep/er/t.png'],
    OF_RUNS: ['runs/00000-x/fakes000000.png', 'runs/00000-x/reals.png', 'runs/00000-x/more/grid.png'],
    OF_DATASETS: ['old/00000/img00000000.png', 'old/00000/img00000001.png'],
    OF_UNREAD_TYPES: ['IMG_1.HEIC', 'raw/x.cr2', 'paper.pdf'],
}
NEITHER = ['notes.txt', 'dataset.json', 'runs/00000-x/training_options.json', 'old/dataset.json', 'png', 'movie.mpg']


def test_every_image_is_found_or_named(tmp_path):
    root = tree(tmp_path / 'd', [*KEPT, *NEITHER, *(name for names in OTHERS.values() for name in names)])
    found = find_images(open_archive(root))
    assert found.images == KEPT
    assert found.left_out == {why: sorted(names) for why, names in OTHERS.items()}


def test_a_folder_is_taken_by_its_own_name(tmp_path):
    """Rules are about what is below: whoever names a run, a hidden folder or a dataset means it."""
    run = tree(tmp_path / '.cache' / 'run', ['training_options.json', 'fakes.png'])
    assert find_images(open_archive(run)).images == ['fakes.png']
    parts = tree(tmp_path / 'parts', [f'{part}/{name}' for part in 'ab' for name in ('00000/img00000000.png', 'dataset.json')])
    assert len(find_images(open_archive(parts)).images) == 2  # nothing but datasets: they are the source


def test_without_images_what_was_left_out_is_named(tmp_path):
    tree(tmp_path, ['a.heic', '.b.png'])
    with pytest.raises(UserError, match=r'No image files found .*: \.b\.png.*types that cannot be read.*: a\.heic'):
        find_images(open_archive(tmp_path))


def test_pipes_and_sockets_are_named_and_not_read(tmp_path):
    tree(tmp_path, ['a.png'])
    os.mkfifo(tmp_path / 'b.png')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / 'c.png'))
        found = find_images(open_archive(tmp_path))
    assert found.images == ['a.png'] and found.left_out == {'a pipe, socket or device': ['b.png', 'c.png']}
    with pytest.raises(UserError, match=r'b\.png: not a regular file, but a pipe, socket or device'):
        open_archive(tmp_path).read('b.png')


def test_a_folder_with_two_links_is_read_once_and_named(tmp_path):
    tree(tmp_path, ['real/a.png', 'd/b.png'])
    for name in 'xy':
        (tmp_path / 'd' / name).symlink_to(tmp_path / 'real')
    found = find_images(open_archive(tmp_path / 'd'))
    assert found.images == ['b.png', 'x/a.png'] and list(found.left_out.values()) == [['y']]


def test_entries_of_one_name_in_a_zip_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as z, pytest.warns(UserWarning):
        for data in (b'1', b'2'):
            z.writestr('a.png', data)
    found = find_images(open_archive(tmp_path / 'x.zip'))
    assert found.images == ['a.png'] and list(found.left_out.values()) == [['a.png']]


@pytest.mark.parametrize('names,canonical', [
    (['00000/img00000000.png', '00001/img00001999.png'], True), (['00000/im0.png', '00014/im0.png'], False),
    (['00000/img00000000.png', '00014/img00000000.png'], False), (['x/00000/img00000000.png'], False)])
def test_folders_of_a_converted_dataset(names, canonical):
    assert is_canonical(names) == canonical
