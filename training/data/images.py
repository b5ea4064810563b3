"""What counts as an image file, what its header says, and its pixels. Needs Pillow; uses pyspng for PNG if it is there."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image

from dnnlib import UserError

try:
    import pyspng
except ImportError:
    pyspng = None

_PNG_START = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
_PNG_MODES = {(8, 0): 'L', (8, 2): 'RGB'}  # (bits, colour type) of the PNG files that need no interpretation
_PNG_KEYED = {0: 'LA', 2: 'RGBA'}  # colour types in which one colour can be transparent, and what they are then
_MAY_TURN = (b'eXIf', b'XML:com.adobe.xmp', b'Raw profile type exif')  # where Pillow finds an orientation in a PNG file
_NO_PICTURES = ('BUFR', 'GRIB', 'HDF5', 'MPEG', 'PDF')  # formats that Pillow knows by name alone, or writes

_TURNS = {2: PIL.Image.Transpose.FLIP_LEFT_RIGHT, 3: PIL.Image.Transpose.ROTATE_180, 4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
          5: PIL.Image.Transpose.TRANSPOSE, 6: PIL.Image.Transpose.ROTATE_270, 7: PIL.Image.Transpose.TRANSVERSE,
          8: PIL.Image.Transpose.ROTATE_90}  # EXIF orientation -> what makes it upright


class Header(NamedTuple):
    """What an image file says of itself: Pillow's mode, and the size in pixels.

    plain: whether it is a PNG file of 8 bits whose pixels need no interpretation. keyed: whether one colour of a PNG file is
    transparent (tRNS); its mode is RGBA or LA then.
    """

    mode: str
    width: int
    height: int
    plain: bool = False
    keyed: bool = False


@functools.cache
def _extensions() -> frozenset[str]:
    known = PIL.Image.registered_extensions()  # loads all of Pillow's plugins: 0.1 s, hence only when needed
    return frozenset(extension for extension, kind in known.items() if kind not in _NO_PICTURES)


def is_image_extension(extension: str) -> bool:
    """Whether Pillow reads files that end so: `.png`, in any case."""
    return extension.lower() in _extensions()


def read_header(f: BinaryIO, where: str) -> Header:
    """Mode and size of an image without decoding its pixels; `where` names it in messages. Raises UserError if it is none."""
    start = f.read(41)
    if len(start) == 41 and start.startswith(_PNG_START):
        width, height, bits, colour_type = struct.unpack('>IIBB', start[16:26])
        keyed = colour_type in _PNG_KEYED and _colour_key(start, f) is not None
        if keyed:
            return Header(_PNG_KEYED[colour_type], width, height, keyed=True)
        if (bits, colour_type) in _PNG_MODES:
            return Header(_PNG_MODES[bits, colour_type], width, height, plain=True)
    f.seek(0)
    with _open(f, where) as image:
        return Header(image.mode, *image.size)


def _colour_key(start: bytes, f: BinaryIO) -> bytes | None:
    """The content of the chunk tRNS of a PNG file, or None. start: the first 41 bytes of the file."""
    at, head = 33, start[33:41]  # of the first chunk after the header
    while len(head) == 8 and head[4:] != b'IDAT':
        if head[4:] == b'tRNS':
            f.seek(at + 8)
            return f.read(6).ljust(6, b'\0')
        at += 12 + int.from_bytes(head[:4], 'big')
        f.seek(at)
        head = f.read(8)
    return None


def read_pixels(data: bytes, where: str) -> tuple[np.ndarray, str]:
    """The stored pixels, upright, and Pillow's mode: ([H, W] or [H, W, C] array, mode). Raises UserError if damaged.

    They are turned as EXIF says, and not interpreted beyond that; a PNG with a transparent colour is of mode RGBA or LA then.
    Of 16-bit RGB, Pillow and hence this gives the upper 8 bits.
    """
    header = read_header(io.BytesIO(data), where)
    if pyspng is not None and header.plain and header.width * header.height <= PIL.Image.MAX_IMAGE_PIXELS \
            and not any(mark in data for mark in _MAY_TURN):  # of more pixels, Pillow warns or refuses
        with _naming_damage(where):
            pixels = pyspng.load(data)
        return (pixels[:, :, 0] if header.mode == 'L' and pixels.ndim == 3 else pixels), header.mode
    with _opened_upright(data, where) as image:
        pixels = np.array(image)
    if header.keyed:
        return _with_opacity(pixels, data, where)
    return pixels, header.mode


def _with_opacity(pixels: np.ndarray, data: bytes, where: str) -> tuple[np.ndarray, str]:
    """Pixels of a PNG with a transparent colour, the greyscale ones as LA of 8 bits, the others as RGBA."""
    bits, colour_type = data[24], data[25]
    key = _colour_key(data[:41], io.BytesIO(data))
    if colour_type == 2:
        if bits == 16:
            raise UserError(f'{where}: 16-bit RGB with a transparent colour, which is not read; convert it to 8 bits')
        opaque = (pixels != np.frombuffer(key, '>u2')).any(axis=2)
        return np.dstack([pixels, np.where(opaque, 255, 0).astype(np.uint8)]), 'RGBA'
    value = int.from_bytes(key[:2], 'big')
    if bits == 16:
        opaque, pixels = pixels != value, (pixels >> 8).astype(np.uint8)
    else:
        pixels = np.array(pixels, np.uint8) * (255 if pixels.dtype == bool else 1)
        opaque = pixels != value * 255 // (2 ** bits - 1)
    return np.dstack([pixels, np.where(opaque, 255, 0).astype(np.uint8)]), 'LA'


def decode(data: bytes, where: str, mode: str = 'as-is') -> np.ndarray:
    """The pixels of a source image, upright: uint8 [H, W], or uint8 [H, W, C] with C as stored (3 for RGB).

    mode: 'as-is' resolves palettes, makes greyscale of 1-bit images, and drops the opacity of a PNG's transparent colour that
    occurs nowhere. 'rgb' and 'grey' make that of every image: transparent ones come before white, CMYK and other colour spaces
    are converted, and of 16 bits the upper 8 are left, as they always are of 16-bit RGB. Raises UserError if damaged, or of more
    than 8 bits as it is.
    """
    pixels, stored = read_pixels(data, where)
    target = {'rgb': 'RGB', 'grey': 'L'}.get(mode)
    if stored == target or (target is None and stored in ('L', 'RGB')):
        return pixels
    if data.startswith(_PNG_START) and data[25] in _PNG_KEYED and stored in ('LA', 'RGBA'):  # by a transparent colour
        if target is None:
            if pixels[..., -1].min() == 255:
                pixels = np.ascontiguousarray(pixels[..., 0] if stored == 'LA' else pixels[..., :3])
            return pixels
        return _on_white(PIL.Image.fromarray(pixels), target)
    with _opened_upright(data, where) as image:
        transparent = stored in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info
        if target is None:
            if stored in ('1', 'P', 'PA'):
                pixels = np.array(image.convert('L' if stored == '1' else 'RGBA' if transparent else 'RGB'))
        elif pixels.dtype == np.uint16 or (stored == 'I' and pixels.min() >= 0 and pixels.max() < 2 ** 16):
            pixels = np.array(PIL.Image.fromarray((pixels >> 8).astype(np.uint8)).convert(target))
        elif pixels.dtype in (np.uint8, bool):
            pixels = _on_white(image, target) if transparent else np.array(image.convert('RGB').convert(target))
    if pixels.dtype != np.uint8:
        remedy = 'use --mode=rgb or --mode=grey' if stored.startswith('I;16') and target is None else 'convert it'
        raise UserError(f'{where}: Input images must be stored as RGB or grayscale of 8 bits per channel, not as mode {stored}; '
                        f'{remedy}')
    return pixels


def _on_white(image: PIL.Image.Image, mode: str) -> np.ndarray:
    """A transparent image before white, in mode RGB or L."""
    white = PIL.Image.new('RGBA', image.size, 'white')
    return np.array(PIL.Image.alpha_composite(white, image.convert('RGBA')).convert('RGB').convert(mode))


@contextlib.contextmanager
def _opened_upright(data: bytes, where: str) -> Iterator[PIL.Image.Image]:
    """Context: an image, turned as the orientation in its EXIF says. Raises UserError if it is damaged, also while it is used."""
    with _open(io.BytesIO(data), where) as image, _naming_damage(where):
        image.load()  # turns a TIFF already
        try:
            orientation = image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
        except MemoryError:
            raise
        except Exception:  # damaged EXIF in a picture that is whole
            orientation = 1
        turn = _TURNS.get(orientation)
        yield image if turn is None else image.transpose(turn)


@contextlib.contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as err:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise UserError(f'{where}: damaged image ({" ".join(str(err).split())}); replace or delete it') from err


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
