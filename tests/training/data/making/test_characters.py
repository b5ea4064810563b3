"""What is known of characters, against the decomposition that Python has."""

import unicodedata

import pytest

from training.data.making.characters import HANGUL, factor_names, factors


def test_every_syllable_has_the_parts_that_unicode_decomposes_it_into():
    syllables = ''.join(map(chr, HANGUL))
    assert [name for name, _, _ in factor_names(syllables)] == ['initial', 'medial', 'final']
    found = factors(syllables)
    for syllable, (initial, medial, final) in zip(syllables, found, strict=True):
        parts = [0x1100 + initial, 0x1161 + medial] + [0x11A7 + final] * (final > 0)  # the jamo
        assert unicodedata.normalize('NFD', syllable) == ''.join(map(chr, parts))
    assert len(set(map(tuple, found))) == 19 * 21 * 28


@pytest.mark.parametrize('character, known', [
    ('A', [0, 0, 0]), ('É', [0, 0, 1]), ('ǻ', [0, 1, 2]), ('ǅ', [0, 2, 0]), ('ø', [0, 1, 0]), ('ΐ', [1, 1, 2]), ('Ж', [2, 0, 0]),
    ('5', [3, 4, 0]), ('漢', [3, 3, 0]), ('!', [3, 5, 0]), ('\ue000', [3, 5, 0])])
def test_script_category_and_marks(character, known):
    assert factors([character, 'A']) == [known, [0, 0, 0]]


def test_syllables_among_others_are_characters_like_these():
    assert [name for name, _, _ in factor_names('가b')] == ['script', 'category', 'marks']
    assert factors('가b') == [[3, 3, 0], [0, 1, 0]]
    assert all(entry[1:] == ('class', 'content') for entry in (*factor_names('가b'), *factor_names('가')))
