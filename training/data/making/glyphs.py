"""Characters drawn in several typefaces. A domain is a typeface, and a content is a character. Both are known exactly."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from dnnlib import UserError
from dnnlib.progress import Progress
from training.data.making.characters import HANGUL, LETTERS_AND_DIGITS, SCRIPTS, factor_names, factors, is_of
from training.data.making.dealing import deal
from training.data.making.looks import unlike
from training.data.making.sources import Source, SourceImage

DEFAULT_FONTS = ('DejaVuSans-Bold', 'DejaVuSerif', 'DejaVuSansMono-Oblique')  # they differ in weight, serifs and slant
PLACED = (('right', 'number', 'content'), ('down', 'number', 'content'), ('scale', 'number', 'content'))  # as of Placement
TYPEFACE = ('typeface', 'class', 'style')
CAPITAL = 0.55  # height of a capital letter, as a share of the image
MARGIN = 1 / 16  # around what is drawn, likewise
OVERSAMPLING = 8  # draw N times as large, then average
ALIKE = 8.0  # root mean square of differences of 0..255: below it are Ă and Ӑ, above it Ĭ and Ǐ


@dataclass
class Face:
    """A typeface: a font file, and the number of a font in a collection (.ttc)."""

    path: Path
    index: int = 0

    @property
    def name(self) -> str:
        """Its name in files, such as DejaVuSans-Bold."""
        return self.path.stem + (f'-{self.index}' if self.index else '')

    @cached_property
    def characters(self) -> frozenset[int]:
        """Code points for which the font has a glyph, other than .notdef, the empty box. Raises UserError."""
        from fontTools.ttLib import TTFont, TTLibError
        try:
            with TTFont(self.path, fontNumber=self.index, lazy=True) as font:
                table = font.getBestCmap() or {}
                return frozenset(code for code, glyph in table.items() if glyph != '.notdef')
        except (TTLibError, OSError, AssertionError, ValueError, KeyError, IndexError) as err:
            raise UserError(f'{self.path}: not a font file that can be read ({err}); give TTF, OTF or TTC files') from err

    @cached_property
    def points_per_pixel(self) -> float:
        """The size at which a capital letter, or the tallest of some characters, is one pixel high."""
        sample = 'H' if ord('H') in self.characters else ''.join(map(chr, sorted(self.characters)[:200]))
        boxes = [self.at(100.0).getbbox(c, anchor='ls') for c in sample]
        height = max((bottom - top for _, top, _, bottom in boxes), default=0)
        if height <= 0:
            raise UserError(f'{self.path}: draws nothing; give another font')
        return 100.0 / height

    def at(self, size: float) -> PIL.ImageFont.FreeTypeFont:
        """The font at a size in points. Raises UserError if FreeType cannot read it."""
        try:
            # The basic layout: one character at a time needs no shaping, and every machine has it.
            return PIL.ImageFont.truetype(str(self.path), size, self.index, layout_engine=PIL.ImageFont.Layout.BASIC)
        except OSError as err:
            raise UserError(f'{self.path}: not a font file that can be read ({err}); give TTF, OTF or TTC files') from err


@dataclass(frozen=True)
class Placement:
    """Where a character is drawn: shifts to the right and down as shares of the image, and a scale factor."""

    right: float = 0.0
    down: float = 0.0
    scale: float = 1.0


def find_faces(fonts: Sequence[str] | None) -> list[Face]:
    """Typefaces by file, `collection.ttc:2`, or by the name of one that comes with matplotlib; None for DEFAULT_FONTS.

    Raises UserError if one is missing, or two have the same name.
    """
    faces = [_find_face(font) for font in fonts or DEFAULT_FONTS]
    names = [face.name for face in faces]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f'--fonts: {twice[0]} is there twice, and domains are named by the files; leave one out or rename it')
    return faces


def _find_face(font: str) -> Face:
    path, colon, index = font.rpartition(':')
    if not (colon and index.isdigit()):
        path, index = font, '0'
    if Path(path).expanduser().is_file():
        return Face(Path(path).expanduser(), int(index))
    from matplotlib import get_data_path
    bundled = Path(get_data_path(), 'fonts', 'ttf')
    if (bundled / f'{path}.ttf').is_file():
        return Face(bundled / f'{path}.ttf')
    raise UserError(f'--fonts: there is no file {path}; give font files, or some of '
                    + ', '.join(sorted(p.stem for p in bundled.glob('*.ttf') if p.stem.startswith(('DejaVu', 'STIXGeneral')))))


def choose_characters(chars: str, faces: Sequence[Face]) -> str:
    """The characters of --chars: `common`, a script, or the characters of a text file, if all typefaces have them.

    Raises UserError if there are none, or the file cannot be read.
    """
    common = frozenset.intersection(*(face.characters for face in faces))
    if chars == 'hangul':
        wanted = [code for code in sorted(common) if code in HANGUL]
    elif chars == 'common' or chars in SCRIPTS:
        wanted = [code for code in sorted(common) if unicodedata.category(chr(code)) in LETTERS_AND_DIGITS
                  and (chars == 'common' or is_of(chars, chr(code)))]
    else:
        try:
            text = Path(chars).expanduser().read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError) as err:
            raise UserError(f'--chars={chars}: not a text file in UTF-8 ({err}); give one, or common, hangul, '
                            + ', '.join(SCRIPTS)) from err
        asked = [ord(c) for c in dict.fromkeys(text) if not c.isspace() and c != '\ufeff']
        wanted = [code for code in asked if code in common]
        if missing := [chr(code) for code in asked if code not in common]:
            print(f'{len(missing)} of the {len(asked)} characters in {chars} are left out: not all fonts have them: '
                  f'{" ".join(missing[:20])}{" ..." if len(missing) > 20 else ""}')
    if not wanted:
        raise UserError(f'--chars={chars}: no such character is in all of {", ".join(face.name for face in faces)}; '
                        'leave a font out, or choose other characters')
    return ''.join(map(chr, wanted))


def draw(face: Face, character: str, size: int, placement: Placement = Placement()) -> np.ndarray:
    """Uint8 [size, size]: one character, white on black, anti-aliased, at the optical size of all others of its face.

    It stands on the common base line, horizontally centred. A character that would be cut off is moved inside. One that is larger
    than the image is scaled down.
    """
    canvas = size * OVERSAMPLING
    room = canvas * (1 - 2 * MARGIN)
    points = CAPITAL * canvas * face.points_per_pixel * placement.scale
    font = face.at(points)
    left, top, right, bottom = font.getbbox(character, anchor='ls')
    if max(right - left, bottom - top) > room:
        font = face.at(points * (room / max(right - left, bottom - top)))
        left, top, right, bottom = font.getbbox(character, anchor='ls')
    x = (canvas - (right - left)) / 2 - left + placement.right * canvas
    base_line = canvas * (1 + CAPITAL) / 2 + placement.down * canvas
    x = min(max(x, -left), canvas - right)
    base_line = min(max(base_line, -top), canvas - bottom)
    image = PIL.Image.new('L', (canvas, canvas))
    PIL.ImageDraw.Draw(image).text((round(x), round(base_line)), character, fill=255, font=font, anchor='ls')
    return np.asarray(image.reduce(OVERSAMPLING))


def distinct(characters: str, faces: Sequence[Face]) -> str:
    """The characters that all typefaces have, without those that look like an earlier one in every typeface, within ALIKE (such
    as a Greek A)."""
    looks = np.empty([len(characters), len(faces), 32, 32], dtype=np.uint8)
    with Progress('characters', len(characters)) as progress:
        for i, character in enumerate(characters):
            looks[i] = [draw(face, character, 32) for face in faces]
            progress.advance()
    drawn = np.flatnonzero(np.all(looks.any(axis=(2, 3)), axis=1))
    kept = drawn[unlike(looks[drawn].reshape(len(drawn), -1), ALIKE)]
    blank, alike = len(characters) - len(drawn), len(drawn) - len(kept)
    for number, why in ((blank, 'are blank in a font'), (alike, 'look like another one in every font')):
        if number:
            print(f'{number} of {len(characters)} characters are left out: they {why}')
    if not len(kept):
        raise UserError('no character is left: all are blank in one of the fonts; choose other fonts')
    return ''.join(characters[i] for i in kept)


def open_glyphs(fonts: Sequence[str] | None = None, chars: str = 'common', size: int = 32, paired: bool = False,
                split: str | None = None, jitter: float = 0.0, seed: int = 0) -> Source:
    """Every character in one random typeface, with equally many per typeface; or in all typefaces if `paired`.

    Labels are the typefaces. Contents are the characters: their numbers are the same in both splits and in any pairing. Factors
    are those of the character, its placement with `jitter`, and the typeface, which is the only style factor.
    size: pixels. split: 'train' or 'test', which has every tenth character by a draw; None for all.
    jitter: largest shift as a share of the image, and largest relative change of size. A character has the same shift in all
    typefaces.
    Raises UserError for unusable fonts and characters.
    """
    faces = find_faces(fonts)
    characters = distinct(choose_characters(chars, faces), faces)
    rng = np.random.RandomState(seed)
    dealt = deal(len(characters), len(faces), rng, paired, split)
    moves = np.round(rng.uniform(-jitter, jitter, [len(characters), 3]), 4)
    placements = {i: Placement(moves[i, 0].item(), moves[i, 1].item(), 1 + moves[i, 2].item()) for i, _ in dealt}
    stored = {i: [place.right, place.down, place.scale] for i, place in placements.items()} if jitter else {}
    known = factors(characters)

    def images() -> Iterator[SourceImage]:
        for i, domains in dealt:
            for domain in domains:
                yield SourceImage(partial(draw, faces[domain], characters[i], size, placements[i]), domain,
                                  f'{characters[i]!r} of {faces[domain].name}', i, [*known[i], *stored.get(i, ()), domain])

    return Source(images(), sum(len(domains) for _, domains in dealt), [face.name for face in faces],
                  contents=list(characters), placements=stored,
                  factor_names=[*factor_names(characters), *(PLACED if jitter else ()), TYPEFACE])
