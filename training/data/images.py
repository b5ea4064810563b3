"""What counts as an image file, what its header says, and its pixels. Needs Pillow; uses pyspng for PNG if it is there."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from dnnlib import UserError

try:
    import pyspng
except ImportError:
    pyspng = None

_PNG_START = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
_PNG_MODES = {(8, 0): 'L', (8, 2): 'RGB'}  # (bits, colour type) of the PNG files that need no interpretation


class Header(NamedTuple):
    """What an image file says of itself: Pillow's mode, and the size in pixels."""

    mode: str
    width: int
    height: int


@functools.cache
def _extensions() -> frozenset[str]:
    return frozenset(PIL.Image.registered_extensions())  # loads all of Pillow's plugins: 0.1 s, hence only when needed


def image_names(names: Iterable[str]) -> list[str]:
    """Those names whose extension Pillow knows, in the given order. macOS's `._*` shadow files are no images."""
    known, answers, images = _extensions(), {}, []
    for name in names:  # a million, maybe
        stem, dot, extension = name.rpartition('.')
        if extension not in answers:
            answers[extension] = '.' + extension.lower() in known  # with a '/' in it, it is none
        if dot and answers[extension] and not stem.rpartition('/')[2].startswith('._'):
            images.append(name)
    return images


def read_header(f: BinaryIO, where: str) -> Header:
    """Mode and size of an image without decoding its pixels; `where` names it in messages. Raises UserError if it is none."""
    start = f.read(26)
    if len(start) == 26 and start.startswith(_PNG_START):
        width, height, bits, colour_type = struct.unpack('>IIBB', start[16:])
        if (bits, colour_type) in _PNG_MODES:
            return Header(_PNG_MODES[bits, colour_type], width, height)
    f.seek(0)
    with _open(f, where) as image:
        return Header(image.mode, *image.size)


def read_pixels(data: bytes, where: str) -> tuple[np.ndarray, str]:
    """The stored pixels, uninterpreted, and Pillow's mode: ([H, W] or [H, W, C] array, mode). Raises UserError if damaged."""
    header = read_header(io.BytesIO(data), where)
    try:
        if pyspng is not None and data.startswith(_PNG_START) and header.mode in ('L', 'RGB') \
                and header.width * header.height <= PIL.Image.MAX_IMAGE_PIXELS:  # of more, Pillow warns or refuses
            pixels = pyspng.load(data)
            return (pixels[:, :, 0] if header.mode == 'L' and pixels.ndim == 3 else pixels), header.mode
        with _open(io.BytesIO(data), where) as image:
            return np.array(image), header.mode
    except (UserError, MemoryError):
        raise
    except Exception as err:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise UserError(f'{where}: damaged image ({" ".join(str(err).split())}); replace or delete it') from err


def decode(data: bytes, where: str, mode: str = 'as-is') -> np.ndarray:
    """The pixels of a source image: uint8 [H, W], or uint8 [H, W, C] with C as stored (3 for RGB).

    mode: 'as-is' only resolves palettes, and makes greyscale of 1-bit images. 'rgb' and 'grey' make that of every image:
    transparent ones come before white, CMYK and other colour spaces are converted, and of 16 bits the upper 8 are left, as they
    always are of 16-bit RGB. Raises UserError if damaged, or of more than 8 bits as it is.
    """
    pixels, stored = read_pixels(data, where)
    target = {'rgb': 'RGB', 'grey': 'L'}.get(mode)
    if stored == target or (target is None and stored in ('L', 'RGB')):
        return pixels
    with _open(io.BytesIO(data), where) as image:
        transparent = stored in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info
        if target is None:
            if stored in ('1', 'P', 'PA'):
                pixels = np.array(image.convert('L' if stored == '1' else 'RGBA' if transparent else 'RGB'))
        elif pixels.dtype == np.uint16 or (stored == 'I' and pixels.min() >= 0 and pixels.max() < 2 ** 16):
            pixels = np.array(PIL.Image.fromarray((pixels >> 8).astype(np.uint8)).convert(target))
        elif pixels.dtype in (np.uint8, bool):
            if transparent:
                image = PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, 'white'), image.convert('RGBA'))
            pixels = np.array(image.convert('RGB').convert(target))
    if pixels.dtype != np.uint8:
        remedy = 'use --mode=rgb or --mode=grey' if stored.startswith('I;16') and target is None else 'convert it'
        raise UserError(f'{where}: Input images must be stored as RGB or grayscale of 8 bits per channel, not as mode {stored}; '
                        f'{remedy}')
    return pixels


def decode_upright(data: bytes, where: str, mode: str) -> np.ndarray:
    """As `decode`, turned as the file's EXIF orientation says. Datasets are taken as they are stored; this is for photographs."""
    with _open(io.BytesIO(data), where) as image:
        try:
            image.load()  # turns a TIFF at once, as `decode` does
            orientation = image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
        except MemoryError:
            raise
        except Exception:  # of a picture that may be good, or else `decode` will tell
            orientation = 1
    picture = PIL.Image.fromarray(decode(data, where, mode))
    picture.getexif()[PIL.ExifTags.Base.Orientation] = orientation
    return np.array(PIL.ImageOps.exif_transpose(picture))


def encode_png(pixels: np.ndarray) -> bytes:
    """Uint8 [H, W] or [H, W, 3] as an uncompressed PNG file: large, but quick to read during training."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format='png', compress_level=0, optimize=False)
    return buffer.getvalue()


def _open(f: BinaryIO, where: str) -> PIL.Image.Image:
    try:
        return PIL.Image.open(f)
    except MemoryError:
        raise
    except PIL.Image.DecompressionBombError as err:
        raise UserError(f'{where}: too large for an image ({" ".join(str(err).split())}); replace or delete it') from err
    except Exception as err:
        raise UserError(f'{where}: not an image, or a damaged one; replace or delete it') from err
