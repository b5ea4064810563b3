"""Image files: their extensions, headers and pixels. Needs Pillow; uses pyspng for PNG if installed."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
import PIL.ExifTags
import PIL.Image

from dnnlib import UserError

try:
    import pyspng
except ImportError:
    pyspng = None

_PNG_START = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR'
MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}  # number of channels -> Pillow's mode of the images of a dataset
TARGETS = {'grey': 'L', 'la': 'LA', 'rgb': 'RGB', 'rgba': 'RGBA'}  # --mode of dataset_tool.py -> Pillow's

_PNG_MODES = {(8, 0): 'L', (8, 2): 'RGB', (8, 4): 'LA', (8, 6): 'RGBA'}  # (bits, colour type) that need no interpretation
_PNG_KEYED = {0: 'LA', 2: 'RGBA'}  # colour types in which one colour can be transparent, and what they are then
_MAY_TURN = (b'eXIf', b'XML:com.adobe.xmp', b'Raw profile type exif')  # where Pillow finds an orientation in a PNG file
SAMPLES_PER_PIXEL = 277  # the tag of a TIFF file
_NO_PICTURES = ('BUFR', 'GRIB', 'HDF5', 'MPEG', 'PDF')  # formats that Pillow only knows by name, or only writes

_TURNS = {2: PIL.Image.Transpose.FLIP_LEFT_RIGHT, 3: PIL.Image.Transpose.ROTATE_180, 4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
          5: PIL.Image.Transpose.TRANSPOSE, 6: PIL.Image.Transpose.ROTATE_270, 7: PIL.Image.Transpose.TRANSVERSE,
          8: PIL.Image.Transpose.ROTATE_90}  # EXIF orientation -> what makes it upright


class Header(NamedTuple):
    """The header of an image file: Pillow's mode, and the size in pixels.

    plain: whether it is a PNG file of 8 bits whose pixels need no interpretation, and which pyspng reads (it does not read LA).
    keyed: whether one colour of a PNG file is transparent (tRNS); its mode is RGBA or LA then. has_alpha: whether pixels may be
    transparent.
    """

    mode: str
    width: int
    height: int
    plain: bool = False
    keyed: bool = False
    has_alpha: bool = False


@functools.cache
def _extensions() -> frozenset[str]:
    known = PIL.Image.registered_extensions()  # loads all of Pillow's plugins: 0.1 s, hence only when needed
    return frozenset(extension for extension, kind in known.items() if kind not in _NO_PICTURES)


def is_image_extension(extension: str) -> bool:
    """Whether Pillow reads files with this extension: `.png`, in any case."""
    return extension.lower() in _extensions()


def read_header(f: IO[bytes], where: str) -> Header:
    """Mode and size of an image without decoding its pixels; `where` names it in messages. Raises UserError if it is not an
    image."""
    start = f.read(41)
    if len(start) == 41 and start.startswith(_PNG_START):
        width, height, bits, colour_type = struct.unpack('>IIBB', start[16:26])
        keyed = colour_type in _PNG_KEYED and _colour_key(start, f) is not None
        if keyed:
            return Header(_PNG_KEYED[colour_type], width, height, keyed=True, has_alpha=True)
        if (bits, colour_type) in _PNG_MODES:
            mode = _PNG_MODES[bits, colour_type]
            return Header(mode, width, height, plain=mode != 'LA', has_alpha=colour_type >= 4)
    f.seek(0)
    with _open(f, where) as image:
        return Header('RGBA' if _has_key(image) else image.mode, image.width, image.height, has_alpha=_may_be_transparent(image))


def _may_be_transparent(image: PIL.Image.Image) -> bool:
    return image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info


def _has_key(image: PIL.Image.Image) -> bool:
    """Whether one colour of an image without palette is transparent, as in a greyscale GIF."""
    return image.mode in ('L', 'RGB') and 'transparency' in image.info


def _colour_key(start: bytes, f: IO[bytes]) -> bytes | None:
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

    Pixels are rotated by the EXIF data and otherwise unchanged. If one colour is transparent, the mode is RGBA or LA. Pillow
    reads only the upper 8 bits of 16-bit RGB.
    """
    header = read_header(io.BytesIO(data), where)
    if pyspng is not None and header.plain and header.width * header.height <= PIL.Image.MAX_IMAGE_PIXELS \
            and not any(mark in data for mark in _MAY_TURN):  # Pillow warns of more pixels or refuses them
        with _naming_damage(where):
            pixels = pyspng.load(data)
        return (pixels[:, :, 0] if header.mode == 'L' and pixels.ndim == 3 else pixels), header.mode
    with _opened_upright(data, where) as image:
        pixels = np.array(image if header.keyed or not _has_key(image) else image.convert('RGBA'))
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

    mode: 'as-is' resolves palettes, turns 1-bit images into greyscale, and ignores the transparent colour of a PNG if no pixel
    has it. 'rgb', 'rgba', 'grey' and 'la' convert every image. With rgb and grey, transparent images are put on white. With rgba
    and la (grey and alpha), images without alpha become opaque. CMYK and other colour spaces are converted. 16-bit images keep
    the upper 8 bits, as 16-bit RGB always does. Raises UserError for a damaged image, and with 'as-is' for more than 8 bits.
    """
    pixels = _decoded(data, where, interpret=mode != 'as-is')
    return pixels if mode == 'as-is' else converted(pixels, mode)[0]


def decode_as(data: bytes, where: str, mode: str) -> tuple[np.ndarray, bool]:
    """As `decode`, for modes other than 'as-is', and whether any pixel of the source is transparent."""
    return converted(_decoded(data, where, interpret=True), mode)


def converted(pixels: np.ndarray, mode: str) -> tuple[np.ndarray, bool]:
    """Pixels uint8 [H, W] or [H, W, 2, 3 or 4] in one of TARGETS, and whether any of them was transparent."""
    target, stored = TARGETS[mode], MODES[1 if pixels.ndim == 2 else pixels.shape[2]]
    has_alpha = stored in ('LA', 'RGBA')
    transparent = has_alpha and bool(pixels[..., -1].min() < 255)
    if target == stored:
        return pixels, transparent
    image = PIL.Image.fromarray(pixels)
    if target in ('L', 'RGB'):
        if transparent:
            image = PIL.Image.alpha_composite(PIL.Image.new('RGBA', image.size, 'white'), image.convert('RGBA'))
        image = image.convert('RGB')
    elif not has_alpha:
        image = image.convert('RGB')  # Pillow cannot convert L to LA
    return np.array(image.convert(target)), transparent


def _decoded(data: bytes, where: str, interpret: bool) -> np.ndarray:
    """Upright pixels without palettes. interpret: convert to one of MODES; otherwise, other modes are refused."""
    pixels, stored = read_pixels(data, where)
    if stored in ('L', 'RGB'):
        return pixels
    if data.startswith(_PNG_START) and data[25] in _PNG_KEYED and stored in ('LA', 'RGBA'):  # by a transparent colour
        if not interpret and pixels[..., -1].min() == 255:
            pixels = np.ascontiguousarray(pixels[..., 0] if stored == 'LA' else pixels[..., :3])
        return pixels
    with _opened_upright(data, where) as image:
        if stored in ('1', 'P', 'PA') or (interpret and pixels.dtype == np.uint8 and stored not in ('LA', 'RGBA')):
            image = image.convert('LA') if stored == 'La' else image
            pixels = np.array(image.convert('L' if stored == '1' else 'RGBA' if _may_be_transparent(image) else 'RGB'))
        elif interpret and (pixels.dtype == np.uint16 or (stored == 'I' and pixels.min() >= 0 and pixels.max() < 2 ** 16)):
            pixels = (pixels >> 8).astype(np.uint8)
        known = interpret or stored in ('1', 'P', 'PA', 'LA', 'RGBA')
    if pixels.dtype != np.uint8 or not known:
        could = not interpret and (pixels.dtype == np.uint8 or stored.startswith('I;16'))
        remedy = 'use --mode=rgb or --mode=grey' if could else 'convert it'
        raise UserError(f'{where}: Input images must be stored as RGB or grayscale of 8 bits per channel, not as mode {stored}; '
                        f'{remedy}')
    return pixels


@contextlib.contextmanager
def _opened_upright(data: bytes, where: str) -> Iterator[PIL.Image.Image]:
    """Context: an image, rotated by the orientation in its EXIF data. Raises UserError if it is damaged, even during use."""
    with _open(io.BytesIO(data), where) as image, _naming_damage(where):
        image.load()  # also rotates a TIFF
        try:
            orientation = image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
        except MemoryError:
            raise
        except Exception:  # damaged EXIF data in an intact picture
            orientation = 1
        turn = _TURNS.get(orientation)
        yield image if turn is None else image.transpose(turn)


@contextlib.contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as err:  # decoders raise any error: OSError, SyntaxError, struct.error, ...
        raise UserError(f'{where}: damaged image ({" ".join(str(err).split())}); replace or delete it') from err


def encode_png(pixels: np.ndarray) -> bytes:
    """Uint8 [H, W] or [H, W, 2, 3 or 4] as an uncompressed PNG file: large, but quick to read during training."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format='png', compress_level=0, optimize=False)
    return buffer.getvalue()


def _open(f: IO[bytes], where: str) -> PIL.Image.Image:
    try:
        image = PIL.Image.open(f)
    except MemoryError:
        raise
    except PIL.Image.DecompressionBombError as err:
        raise UserError(f'{where}: too large for an image ({" ".join(str(err).split())}); replace or delete it') from err
    except Exception as err:
        raise UserError(f'{where}: not an image, or a damaged one; replace or delete it') from err
    samples = getattr(image, 'tag_v2', {}).get(SAMPLES_PER_PIXEL, 1)  # of a TIFF
    if samples > len(image.getbands()):
        image.close()
        raise UserError(f'{where}: has {samples} channels, but {image.mode} has {len(image.getbands())}; the others would '
                        'be lost, so save it without them')
    return image
