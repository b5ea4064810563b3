"""The factors of images of characters that are known before drawing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

SCRIPTS = {'latin': 'LATIN ', 'greek': 'GREEK ', 'cyrillic': 'CYRILLIC '}  # how the names of their characters begin
HANGUL = range(0xAC00, 0xD7A4)  # syllables: every initial with every medial and every final, in this order
MEDIALS, FINALS = 21, 28  # the first final is none
LETTERS_AND_DIGITS = ('Lu', 'Ll', 'Lt', 'Lo', 'Nd')  # categories of Unicode


def factor_names(characters: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name, kind and role of each factor of some characters. All are classes, and content: no typeface changes them."""
    names = ('initial', 'medial', 'final') if _are_syllables(characters) else ('script', 'category', 'marks')
    return [(name, 'class', 'content') for name in names]


def factors(characters: Sequence[str]) -> list[list[int]]:
    """The values of factor_names for each character, whole numbers from 0.

    If all are Hangul syllables: the numbers of the three parts (The Unicode Standard, section 3.12). Otherwise: the script, in
    the order of SCRIPTS, then others; the category, in the order of LETTERS_AND_DIGITS, then others;
    and the number of combining marks in the canonical decomposition, such as 1 in É.
    """
    return list(map(_parts if _are_syllables(characters) else _kinds, characters))


def is_of(script: str, character: str) -> bool:
    """Whether a character is of one of SCRIPTS, by its name."""
    return unicodedata.name(character, '').startswith(SCRIPTS[script])


def _are_syllables(characters: Sequence[str]) -> bool:
    return all(ord(character) in HANGUL for character in characters)


def _parts(syllable: str) -> list[int]:
    rest, final = divmod(ord(syllable) - HANGUL.start, FINALS)
    return [*divmod(rest, MEDIALS), final]


def _kinds(character: str) -> list[int]:
    scripts = [is_of(script, character) for script in SCRIPTS]
    category = unicodedata.category(character)
    marks = sum(unicodedata.category(part) == 'Mn' for part in unicodedata.normalize('NFD', character))
    return [[*scripts, True].index(True), (*LETTERS_AND_DIGITS, category).index(category), marks]
