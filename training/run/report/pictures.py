"""The pictures of the page: the grids of a run, cropped to the visible size and thinned out over time, as WebP."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

MOST_FRAMES = 32         # of one kind of picture, over the run
MOST_BYTES = 150 << 10   # of one picture
WIDTH, HEIGHT = 1024, 768  # of a picture, at most, in pixels
SMALL = 32               # pixels: images up to this size are enlarged, as WebP halves the resolution of colours
IMG = re.compile(r'<img class="picture" data-key="([^"]*)" width="(\d+)" height="(\d+)" data-rows="(\d+)" '
                 r'src="data:image/webp;base64,([A-Za-z0-9+/=]+)"')


class Picture(NamedTuple):
    """A picture on the page. key: name, size and time of its source file. rows: of cells, 0 if it is not a grid. webp: in
    base64."""

    key: str
    width: int
    height: int
    rows: int
    webp: str

    @property
    def file(self) -> str:
        return self.key.rpartition(' ')[0].rpartition(' ')[0]

    def img(self, alt: str, attributes: str = '') -> str:
        """As HTML, in a form that `Pictures` can read."""
        return (f'<img class="picture" data-key="{html.escape(self.key)}" width="{self.width}" height="{self.height}" '
                f'data-rows="{self.rows}" src="data:image/webp;base64,{self.webp}" alt="{html.escape(alt)}"{attributes}>')


class Pictures:
    """Makes each picture of a run once. Existing ones are taken from the earlier page.

    page: the earlier page, which may be missing or damaged.
    """

    def __init__(self, run_dir: Path, page: Path | None = None):
        self._run_dir, self._made = run_dir, {}
        try:
            text = page.read_text(encoding='utf-8') if page is not None else ''
        except (OSError, ValueError):
            return
        for key, width, height, rows, webp in IMG.findall(text):
            self._made[html.unescape(key)] = Picture(html.unescape(key), int(width), int(height), int(rows), webp)

    def series(self, kind: str, first_kimg: float, last_kimg: float, cell: tuple[int, int] | None, block: int = 1,
               most: int = MOST_FRAMES, most_new: int | None = None) -> list[tuple[int, Picture]]:
        """(kimg, picture) of <kind><kimg>.png up to last_kimg, in order: at most `most`, evenly spaced, and the newest.

        first_kimg: of <kind>_init.png. cell: height and width of the images in the grid. block: rows that belong together.
        most_new: make no more than these, the newest first; None for no limit.
        """
        found = {int(m[1]): path for path in self._run_dir.glob(f'{kind}[0-9]*.png')
                 if (m := re.fullmatch(rf'{kind}(\d+)', path.stem)) and int(m[1]) <= last_kimg}
        if (first := self._run_dir / f'{kind}_init.png').exists():
            found.setdefault(int(first_kimg), first)
        result = []
        for kimg in reversed(choose(sorted(found), most)):
            new = _key(found[kimg]) not in self._made
            if new and most_new == 0:
                continue
            picture = self.one(found[kimg], cell, block)
            if new and most_new is not None:
                most_new -= 1
            if picture is not None:
                result.append((kimg, picture))
        return result[::-1]

    def one(self, path: Path, cell: tuple[int, int] | None = None, block: int = 1) -> Picture | None:
        """One file as a picture; None if it can't be read. Other arguments as for `series`."""
        key = _key(path)
        if key is None:
            return None
        if key not in self._made:
            try:
                self._made[key] = _make(path, key, cell, block)
            except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
                return None
        return self._made[key]

    def keep(self, pictures: Sequence[Picture]) -> None:
        """Drop all other pictures."""
        self._made = {picture.key: picture for picture in pictures}


def choose(kimgs: Sequence[int], most: int) -> list[int]:
    """Every 2^k-th, with the smallest k that leaves at most `most`, and the last. As a run grows, dropped pictures never come
    back."""
    step = 1
    while -(-len(kimgs) // step) > most:
        step *= 2
    chosen = list(kimgs[::step])
    return chosen if not kimgs or chosen[-1] == kimgs[-1] else [*chosen, kimgs[-1]]


def _key(path: Path) -> str | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return f'{path.name} {stat.st_size} {stat.st_mtime_ns}'


def _make(path: Path, key: str, cell: tuple[int, int] | None, block: int) -> Picture:
    """Read, cut, scale and encode a picture."""
    with PIL.Image.open(path) as opened:
        rows = 0
        if cell is not None and opened.width % cell[1] == 0 and opened.height % cell[0] == 0:
            rows, box, size = _cut(opened.size, cell, block)
            image = opened.crop(box).convert('RGB').resize(size, *([PIL.Image.Resampling.NEAREST] if size[0] > box[2] else []))
        else:
            image = opened.convert('RGB')
            image.thumbnail((WIDTH, WIDTH))
    webp = _encode(image, quality=60 if rows and max(cell) <= SMALL else 80)
    while len(webp) > MOST_BYTES:  # of noise, or of other images that are hard to compress
        scale = 0.9 * (MOST_BYTES / len(webp)) ** 0.5
        image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
        webp = _encode(image, quality=60)
    return Picture(key, image.width, image.height, rows, base64.b64encode(webp).decode())


def _cut(size: tuple[int, int], cell: tuple[int, int], block: int) -> tuple[int, tuple[int, int, int, int], tuple[int, int]]:
    """The visible part of a grid: its rows, the box to crop, and the size to show it at.

    size: width and height of the grid. cell: height and width of its images. block: rows that belong together.
    """
    height, width = cell
    longest = max(cell)
    enlarged = min(max(WIDTH // size[0], 2), 8) if longest <= SMALL else 1
    shown = min(longest * enlarged, 128 if longest <= 256 else 256)  # pixels of the longer side
    shown_height, shown_width = (max(round(side * shown / longest), 1) for side in cell)
    columns = min(size[0] // width, max(WIDTH // shown_width, 1))
    rows = min(size[1] // height, max(HEIGHT // shown_height, block))
    rows -= rows % block if rows > block else 0
    return rows, (0, 0, columns * width, rows * height), (columns * shown_width, rows * shown_height)


def _encode(image: PIL.Image.Image, quality: int) -> bytes:
    with io.BytesIO() as f:
        image.save(f, format='WEBP', quality=quality, method=2)
        return f.getvalue()
