"""Pictures of rows and columns of images, with captions in the margins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from dnnlib.channels import on_checkerboard
from dnnlib.image_size import ImageSize, height_width
from dnnlib.util import OptionError

MOST_PIXELS = PIL.Image.MAX_IMAGE_PIXELS  # of a picture: readers refuse larger ones, and they fill the memory


class Captions(NamedTuple):
    """The text in the margins.

    columns: a text above each column of images. rows: for each row of images, the texts to its left, which form a
    table. corner: the headings of that table.
    """

    columns: list[str]
    rows: Sequence[tuple[str, ...]]
    corner: tuple[str, ...]


def check_size(rows: int, columns: int, resolution: ImageSize, remedy: str) -> None:
    """Raises OptionError with the remedy ('ask for fewer ...') if a picture with this number of cells is too large."""
    cell_height, cell_width = height_width(resolution)
    width, height = columns * cell_width, rows * cell_height
    if width * height > MOST_PIXELS:
        raise OptionError(f'the picture would have {width}x{height} pixels, and at most {MOST_PIXELS} are possible; {remedy}')


def assemble(cells: np.ndarray, captions: Captions | None = None) -> np.ndarray:
    """Images uint8 [rows, columns, H, W, C], C = 1 to 4 -> picture uint8 [height, width, 1 or 3]; alpha on a checkerboard.

    Without captions, there is no space between the images. With captions, there are white margins at the left and at the top, and
    white around images that are smaller than their captions. Images are not scaled.
    """
    cells = on_checkerboard(cells)
    rows, columns, height, width, channels = cells.shape
    if captions is None:
        return cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)

    font = PIL.ImageFont.load_default(size=min(max(height // 10, 10), 40))
    line = sum(cast(PIL.ImageFont.FreeTypeFont, font).getmetrics())
    gap = line // 2

    def widest(texts: Iterable[str]) -> int:
        return math.ceil(max(font.getlength(text) for text in texts))

    # Left edges of the columns of text and then of images, and the right edge of the last; upper edges of the rows.
    text_widths = [widest(texts) + gap for texts in zip(captions.corner, *captions.rows, strict=True)]
    xs = np.cumsum([gap, *text_widths, *(max(width, widest([text]) + gap // 2) for text in captions.columns)]).tolist()
    image_xs = xs[len(text_widths):]
    row_height = max(height, line)
    ys = [line + gap + row * row_height for row in range(rows + 1)]

    picture = np.full([ys[-1], xs[-1], channels], 255, dtype=np.uint8)
    for row, column in np.ndindex(rows, columns):
        x = (image_xs[column] + image_xs[column + 1] - width) // 2
        y = ys[row] + (row_height - height) // 2
        picture[y:y + height, x:x + width] = cells[row, column]

    canvas = PIL.Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    draw = PIL.ImageDraw.Draw(canvas)
    for (left, right), text in zip(pairwise(image_xs), captions.columns, strict=True):
        draw.text(((left + right) / 2, ys[0] / 2), text, fill='black', font=font, anchor='mm')
    text_ys = [ys[0] / 2, *(y + row_height / 2 for y in ys[:-1])]
    for y, texts in zip(text_ys, [captions.corner, *captions.rows], strict=True):
        for x, text in zip(xs[:len(texts)], texts, strict=True):
            draw.text((x, y), text, fill='black', font=font, anchor='lm')
    return np.asarray(canvas).reshape(picture.shape)
