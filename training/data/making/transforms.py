"""Cropping and resizing of source images to the size of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from training.start_grid import start_grid

Transform = Callable[[np.ndarray], 'np.ndarray | None']

TRANSFORMS = ('center-crop', 'center-crop-wide', 'center-crop-wide-aspect', 'pad')
FILTERS = {name.lower(): PIL.Image.Resampling[name]  # all but nearest average over the covered area
           for name in ('BOX', 'LANCZOS', 'BILINEAR', 'BICUBIC', 'HAMMING', 'NEAREST')}


class DoesNotFit(ValueError):
    """Raised if an image does not contain the crop."""


class Crop(NamedTuple):
    """A rectangle of the source: its size in pixels, and its upper left corner; None for the middle."""

    width: int
    height: int
    left: int | None = None
    top: int | None = None

    def __str__(self) -> str:
        return f'{self.width}x{self.height}' + (f'+{self.left}+{self.top}' if self.left is not None else '')

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Crop uint8 [H, W] or [H, W, C]. Raises DoesNotFit if the image does not contain the rectangle."""
        h, w = image.shape[:2]
        left = (w - self.width) // 2 if self.left is None else self.left
        top = (h - self.height) // 2 if self.top is None else self.top
        if left < 0 or top < 0 or left + self.width > w or top + self.height > h:
            raise DoesNotFit(f'its {w}x{h} pixels do not have --crop={self}')
        return image[top:top + self.height, left:left + self.width]


def make_transform(name: str | None, width: int | None, height: int | None, resize_filter: str = 'lanczos',
                   crop: Crop | None = None) -> Transform:
    """A function from uint8 [H, W] or [H, W, C] to the same with the size of the dataset, or to None to skip the image.

    name: None resizes each side separately to `width` and `height`, if given. 'center-crop' takes the largest centred rectangle
    with the shape of `width` x `height`. 'center-crop-wide' puts a wide strip between black bars to give width x width, as the
    published LSUN Car data had it; it stretches images that are larger than the target. 'center-crop-wide-aspect'
    does the same without stretching. 'pad' scales the whole image to the largest size that fits, and puts black around it.
    resize_filter: one of FILTERS. crop: a rectangle that is cropped first.

    Raises ValueError for an invalid combination. The function raises DoesNotFit for an image that does not contain the crop.
    """
    if name is not None and name not in TRANSFORMS:
        raise ValueError(f'unknown transform {name!r}')
    if name is not None and (width is None or height is None):
        raise ValueError(f'must specify --width and --height when using {name} transform')
    if name in ('center-crop-wide', 'center-crop-wide-aspect') and height > width:
        raise ValueError(f'{name} needs a --height of at most --width')
    resample = FILTERS[resize_filter]
    function: Callable[..., np.ndarray] = {None: _stretch, 'center-crop': _center_crop, 'pad': _pad}.get(name, _center_crop_wide)
    options: dict[str, Any] = dict(width=width, height=height, resample=resample)
    if function is _center_crop_wide:
        options['keep_aspect'] = name.endswith('aspect')
    # Not a lambda: it is sent to other processes.
    return partial(function, **options) if crop is None else partial(_cropped, crop, partial(function, **options))


def check_final_size(name: str | None, width: int | None, height: int | None) -> None:
    """Raise ValueError if no network supports the resulting size. If the size depends on the image, nothing is checked here."""
    if width is None or height is None:
        return
    size = (width, width) if name in ('center-crop-wide', 'center-crop-wide-aspect') else (height, width)
    try:
        start_grid(size)
    except ValueError as err:
        raise ValueError(f'--resolution={width}x{height}: {err}') from err


def _cropped(crop: Crop, transform: Transform, image: np.ndarray) -> np.ndarray | None:
    return transform(crop(image))


def _resize(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    return np.array(PIL.Image.fromarray(image).resize((width, height), resample))


def _stretch(image: np.ndarray, width: int | None, height: int | None, resample: PIL.Image.Resampling) -> np.ndarray:
    h, w = image.shape[:2]
    if (width or w, height or h) == (w, h):
        return image
    return _resize(image, width or w, height or h, resample)


def _center_crop(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    h, w = image.shape[:2]
    rows, columns = min(h, max(round(w * height / width), 1)), min(w, max(round(h * width / height), 1))
    top, left = (h - rows) // 2, (w - columns) // 2
    return _resize(image[top:top + rows, left:left + columns], width, height, resample)


def _pad(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    inner_w, inner_h = max(round(w * scale), 1), max(round(h * scale), 1)
    canvas = np.zeros([height, width, *image.shape[2:]], dtype=np.uint8)
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    canvas[top:top + inner_h, left:left + inner_w] = _stretch(image, inner_w, inner_h, resample)
    return canvas


def _center_crop_wide(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling,
                      keep_aspect: bool) -> np.ndarray | None:
    h, w = image.shape[:2]
    scaled = round(width * h / w)  # height of the image once its width is the target's
    if w < width or scaled < height:
        return None  # it would need enlarging
    # As published, the scaled height selects rows of the image before scaling.
    rows = min(round(w * height / width), h) if keep_aspect else scaled
    strip = _resize(image[(h - rows) // 2:(h + rows) // 2], width, height, resample)
    canvas = np.zeros([width, width, *image.shape[2:]], dtype=np.uint8)
    canvas[(width - height) // 2:(width + height) // 2] = strip
    return canvas
