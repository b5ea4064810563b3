"""Which files of a folder or ZIP file are images of a dataset, and why others are skipped.

Every file whose extension Pillow reads is an image, except these, which are counted and named:

* files of other programs: files and folders whose names begin with a dot (.ipynb_checkpoints, ._photo.jpg), and the folders of
  MACHINE_MADE;
* pictures in a run directory: a subfolder with a training_options.json;
* pictures in a converted dataset: a subfolder with a dataset.json and images such as 00000/img00000000.png, if other images exist
  outside such folders;
* pictures in formats that Pillow does not read, such as HEIC;
* pipes, sockets and devices, folders reached by a second link, and repeated names in a ZIP file, except the last entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from dnnlib import UserError
from dnnlib.archive import FolderArchive, ZipArchive
from training.data.images import is_image_extension
from training.data.labels import FILE_NAME

MACHINE_MADE = frozenset(('@eadir', '__macosx', '__pycache__', '#recycle', '@recycle', '$recycle.bin', '#snapshot',
                          '@recently-snapshot', 'lost+found', 'system volume information'))  # in any case
UNREAD_TYPES = frozenset((
    'heic', 'heif', 'hif', 'avif', 'avifs', 'jxl', 'exr', 'hdr', 'svg', 'svgz', 'pdf', 'ai', 'xcf', 'kra', 'raw', 'cr2', 'cr3',
    'crw', 'nef', 'nrw', 'arw', 'dng', 'orf', 'rw2', 'raf', 'pef', 'srw', 'x3f',  # pictures that Pillow does not read
    'tfrecords'))  # files of pictures, each a source of its own for dataset_tool.py
CANONICAL = re.compile(r'(?:(.*)/)?(\d{5})/img(\d{8})\.png')
MOST_NAMED = 20  # of the files skipped for one reason

OF_MACHINES = 'made by other programs (hidden, thumbnails, recycled)'
OF_RUNS = 'in a run directory'
OF_DATASETS = 'in a dataset that was converted before'
OF_UNREAD_TYPES = 'of types that cannot be read; convert them first'


class Found(NamedTuple):
    """images: names, in the order of the archive. left_out: reason -> names of skipped files that look like images."""

    images: list[str]
    left_out: dict[str, list[str]]


def find_images(archive: FolderArchive | ZipArchive) -> Found:
    """The images of an archive by the rules above. Raises UserError if there are none."""
    images: list[str] = []
    left_out: dict[str, list[str]] = {}
    runs = {name.rpartition('/')[0] for name in archive.names if name.endswith('/training_options.json')}
    described = {name.rpartition('/')[0] for name in archive.names if name.endswith(f'/{FILE_NAME}')}
    answers: dict[str, bool] = {}
    machines: dict[str, bool] = {'': False}

    def is_of_machines(folder: str) -> bool:
        if folder not in machines:
            above, _, name = folder.rpartition('/')
            machines[folder] = name.startswith('.') or name.lower() in MACHINE_MADE or is_of_machines(above)
        return machines[folder]

    for name in archive.names:  # a million, maybe
        folder, _, file = name.rpartition('/')
        _, dot, extension = file.rpartition('.')
        if extension not in answers:
            answers[extension] = is_image_extension(f'.{extension}')
        if not dot or not (answers[extension] or extension.lower() in UNREAD_TYPES):
            continue
        if file.startswith('.') or is_of_machines(folder):
            left_out.setdefault(OF_MACHINES, []).append(name)
        elif runs and any(above in runs for above in _folders(name)):
            left_out.setdefault(OF_RUNS, []).append(name)
        elif not answers[extension]:
            left_out.setdefault(OF_UNREAD_TYPES, []).append(name)
        else:
            images.append(name)

    matches = map(CANONICAL.fullmatch, images if described else ())
    converted = {match[1] for match in matches if match and match[1] in described}
    inside = [name for name in images if any(above in converted for above in _folders(name))] if converted else []
    if inside and len(inside) < len(images):
        left_out[OF_DATASETS] = inside
        gone = set(inside)
        images = [name for name in images if name not in gone]
    for name, why in sorted(archive.left_out.items()):
        left_out.setdefault(why, []).append(name)
    if not images:
        others = '; '.join(tell_left_out(left_out))
        raise UserError(f'{archive.path}: No image files found in the specified path; give a folder or ZIP file of images'
                        + (f' ({others})' if others else ''))
    return Found(images, left_out)


def _folders(name: str) -> Iterable[str]:
    """The folders that contain a file, without the root."""
    at = name.find('/')
    while at >= 0:
        yield name[:at]
        at = name.find('/', at + 1)


def tell_left_out(left_out: dict[str, list[str]]) -> list[str]:
    """A line for each reason, with the number and the names of the files."""
    return [f'Left out: {len(names)} {why}: {listed(names)}' for why, names in left_out.items()]


def listed(names: list[str], most: int = MOST_NAMED) -> str:
    """The first names, and how many more there are."""
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def is_canonical(names: Iterable[str]) -> bool:
    """Whether images are named as in a converted dataset, `00000/img00000000.png`: then their folders have no meaning."""
    matches = [CANONICAL.fullmatch(name) for name in names]
    return all(match and match[1] is None and int(match[3]) // 1000 == int(match[2]) for match in matches)


def labels_below(archive: FolderArchive | ZipArchive, images: Iterable[str]) -> str | None:
    """The name of a dataset.json in a folder of images below the root of an archive; None if there is none. Labels in it are not
    read."""
    if FILE_NAME in archive.names:
        return None
    names = [name for name in archive.names if name.endswith(f'/{FILE_NAME}')]
    folders = {above for image in images for above in _folders(image)} if names else set()
    return next((name for name in names if name.rpartition('/')[0] in folders), None)
