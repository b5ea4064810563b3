"""Small fonts."""

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen


def square(x=100, side=600):
    pen = TTGlyphPen(None)
    for i, point in enumerate([(x, 0), (x, side), (x + side, side), (x + side, 0)]):
        (pen.lineTo if i else pen.moveTo)(point)
    pen.closePath()
    return pen.glyph()


def make_font(path, characters, blank=''):
    """A font whose characters are squares of different sizes; U+0416 is mapped to .notdef."""
    names = {c: f'g{ord(c)}' for c in characters + blank}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(['.notdef', *names.values()])
    font.setupCharacterMap({**{ord(c): name for c, name in names.items()}, 0x416: '.notdef'})
    empty = TTGlyphPen(None).glyph()
    font.setupGlyf({'.notdef': square(), **{names[c]: square(side=300 + 20 * i) for i, c in enumerate(characters)},
                    **{names[c]: empty for c in blank}})
    font.setupHorizontalMetrics(dict.fromkeys(['.notdef', *names.values()], (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({'familyName': path.stem, 'styleName': 'Regular'})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)
