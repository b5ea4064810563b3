"""Emoji drawn by several vendors. A domain is a vendor, and a content is a sequence of code points. Both are known exactly.

The pictures are those of the npm packages emoji-datasource-google and emoji-datasource-twitter: img/VENDOR/64/1f44b-1f3fb.png.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from dnnlib import UserError
from dnnlib.archive import FolderArchive
from dnnlib.progress import Progress
from training.data.images import decode
from training.data.making.dealing import deal
from training.data.making.looks import unlike
from training.data.making.sources import Source, SourceImage

NAME = re.compile(r'([0-9a-f]{4,5}(?:-[0-9a-f]{4,5})*)\.png')
ALIKE = 1.0  # root mean square of differences of 0..255: below it are the flags of France and its islands, above it skin tones
LOOK = 32  # pixels at which pictures are compared
PACKAGES = 'the npm packages emoji-datasource-google and emoji-datasource-twitter'

# Code points of variants of an emoji: skin tones, the signs of women and men, joiners and selectors.
VARIANTS = frozenset((*range(0x1F3FB, 0x1F400), 0x2640, 0x2642, 0x200D, 0xFE0F))
PERSON = 0x1F9D1
PEOPLE = {0x1F468: PERSON, 0x1F469: PERSON}  # a man, a woman


def find_vendors(folders: Sequence[str] | None) -> dict[str, FolderArchive]:
    """Name of a vendor -> its pictures, from the folders of packages. Raises UserError if a folder has none."""
    if not folders:
        raise UserError(f'--source=emoji needs --vendors=FOLDER,FOLDER: those of {PACKAGES} (npm install or npm pack)')
    vendors: dict[str, FolderArchive] = {}
    for folder in folders:
        found = sorted(path for path in Path(folder).expanduser().glob('img/*/64') if path.is_dir())
        if not found:
            raise UserError(f'--vendors: {folder} has no folder img/VENDOR/64; give those of {PACKAGES}')
        for path in found:
            if path.parent.name in vendors:
                raise UserError(f'--vendors: {path.parent.name} is there twice; leave one out')
            vendors[path.parent.name] = FolderArchive(path)
    return vendors


def code_points(name: str) -> list[int]:
    """The characters of a file such as 1f44b-1f3fb.png."""
    return [int(code, 16) for code in name.removesuffix('.png').split('-')]


def variants_of(name: str) -> str:
    """A key that is equal for files with the same emoji in another skin tone or as another person."""
    return '-'.join(f'{PEOPLE.get(code, code):x}' for code in code_points(name) if code not in VARIANTS)


def distinct(names: Sequence[str], vendors: Sequence[FolderArchive]) -> list[str]:
    """The names whose pictures differ from those of every earlier name for some vendor. Raises UserError if a picture is
    damaged."""
    def look(archive: FolderArchive, name: str) -> np.ndarray:
        image = PIL.Image.fromarray(decode(archive.read(name), archive.where(name), 'rgb'))
        return np.asarray(image.resize((LOOK, LOOK), PIL.Image.Resampling.BOX))
    looks = np.empty([len(names), len(vendors), LOOK, LOOK, 3], dtype=np.uint8)
    with Progress('emoji', len(names)) as progress:
        for i, name in enumerate(names):
            looks[i] = [look(archive, name) for archive in vendors]
            progress.advance()
    return [names[i] for i in unlike(looks.reshape(len(names), -1), ALIKE)]


def open_emoji(folders: Sequence[str] | None, paired: bool = False, split: str | None = None, seed: int = 0) -> Source:
    """Every emoji of one random vendor, with equally many per vendor; or of all vendors if `paired`.

    Labels are the vendors, in the order of the folders. Contents are the sequences of code points that all vendors have: their
    numbers are the same in both splits and in any pairing. Images are files, mostly with an alpha channel.
    split: 'train' or 'test', which has a tenth by a draw, with all skin tones and genders of each; None for all.
    Raises UserError for folders that will not do.
    """
    vendors = find_vendors(folders)
    archives = list(vendors.values())
    everything = sorted(set().union(*(archive.names for archive in archives)))
    shared = set.intersection(*(set(archive.names) for archive in archives))
    common = sorted((name for name in shared if NAME.fullmatch(name)), key=code_points)
    if not common:
        raise UserError(f'--vendors: {", ".join(vendors)} have no emoji in common; give the folders of {PACKAGES}')
    names = distinct(common, archives)
    left_out = {'not of all vendors, or no emoji': sorted(set(everything) - set(common)),
                'that look like an earlier one with every vendor': sorted(set(common) - set(names))}
    dealt = deal(len(names), len(vendors), np.random.RandomState(seed), paired, split, [variants_of(name) for name in names])

    def images() -> Iterator[SourceImage]:
        for i, domains in dealt:
            for domain in domains:
                archive = archives[domain]
                yield SourceImage(partial(archive.read, names[i]), domain, archive.where(names[i]), i)

    return Source(images(), sum(len(domains) for _, domains in dealt), list(vendors),
                  contents=[''.join(map(chr, code_points(name))) for name in names],
                  left_out={why: files for why, files in left_out.items() if files})
