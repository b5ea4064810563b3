"""Cropping and resizing of source images to the size of a dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image

Transform = Callable[[np.ndarray], 'np.ndarray | None']

TRANSFORMS = ('center-crop', 'center-crop-wide', 'center-crop-wide-aspect')
FILTERS = {'box': PIL.Image.Resampling.BOX, 'lanczos': PIL.Image.Resampling.LANCZOS}  # both average over the covered area


def make_transform(name: str | None, width: int | None, height: int | None, resize_filter: str = 'lanczos') -> Transform:
    """A function from uint8 [H, W] or [H, W, C] to the same with the size of the dataset, or to None: leave it out.

    name: None resizes each side on its own to `width` and `height`, where given. 'center-crop' takes the largest
    square in the middle. 'center-crop-wide' puts a wide strip between black bars to give width x width, as the
    published LSUN Car data had it; it stretches images that are larger than the target. 'center-crop-wide-aspect'
    does the same without stretching.
    resize_filter: 'box' or 'lanczos'.

    Raises ValueError if the combination makes no sense.
    """
    if name is not None and name not in TRANSFORMS:
        raise ValueError(f'unknown transform {name!r}')
    if name is not None and (width is None or height is None):
        raise ValueError(f'must specify --width and --height when using {name} transform')
    if name in ('center-crop-wide', 'center-crop-wide-aspect') and height > width:
        raise ValueError(f'{name} needs a --height of at most --width')
    resample = FILTERS[resize_filter]
    if name is None:
        return lambda image: _stretch(image, width, height, resample)
    if name == 'center-crop':
        return lambda image: _center_crop(image, width, height, resample)
    return lambda image: _center_crop_wide(image, width, height, resample, keep_aspect=name.endswith('aspect'))


def _resize(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    return np.array(PIL.Image.fromarray(image).resize((width, height), resample))


def _stretch(image: np.ndarray, width: int | None, height: int | None, resample: PIL.Image.Resampling) -> np.ndarray:
    h, w = image.shape[:2]
    if (width or w, height or h) == (w, h):
        return image
    return _resize(image, width or w, height or h, resample)


def _center_crop(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    h, w = image.shape[:2]
    side = min(h, w)
    top, left = (h - side) // 2, (w - side) // 2
    return _resize(image[top:top + side, left:left + side], width, height, resample)


def _center_crop_wide(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling,
                      keep_aspect: bool) -> np.ndarray | None:
    h, w = image.shape[:2]
    scaled = round(width * h / w)  # height of the image once its width is the target's
    if w < width or scaled < height:
        return None  # it would have to be enlarged
    # The published geometry takes rows by the scaled height from the image that is not scaled yet.
    rows = min(round(w * height / width), h) if keep_aspect else scaled
    strip = _resize(image[(h - rows) // 2:(h + rows) // 2], width, height, resample)
    canvas = np.zeros([width, width, *image.shape[2:]], dtype=np.uint8)
    canvas[(width - height) // 2:(width + height) // 2] = strip
    return canvas
