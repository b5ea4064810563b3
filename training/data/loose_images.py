"""Images of any size in a folder or a ZIP file: for metrics, not for training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib import UserError
from dnnlib.archive import open_archive
from dnnlib.channels import has_alpha
from training.data.finding import find_images
from training.data.images import decode, read_header

MODES = ('1', 'L', 'P', 'RGB', 'LA', 'PA', 'RGBA')  # of Pillow, that can be shown in 8-bit grey or RGB


class LooseImages:
    """All images below a folder or in a .zip file, sorted by name, greyscale and RGB, with and without alpha, mixed.

    training/data/finding.py decides which files are images; `left_out` (reason -> names) has the others. Images are rotated
    upright by their EXIF data.
    Item i is `(image, None)`: uint8 [C, H, W] with values 0..255, C = 1 to 4, each with its own size. Palettes are resolved. An
    alpha channel that is opaque throughout is dropped.
    `num_with_alpha`: number of images with alpha, by the headers that `validate` has read.

    Has the interface that metrics need: `path`, `name`, `identity`, `all_images`; no labels, and None for `image_shape`. Raises
    UserError, naming the file, if the path or an image is invalid. Images are checked when they are fetched, and by `validate()`.
    """

    image_shape = None
    label_dim = 0

    def __init__(self, path: str):
        self.path, self.name = str(path), Path(path).absolute().stem
        self._archive = open_archive(path)
        self._names, self.left_out = find_images(self._archive)
        self.num_with_alpha = 0

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, idx: int) -> tuple[np.ndarray, None]:
        where = self._archive.where(self._names[idx])
        pixels = decode(self._archive.read(self._names[idx]), where)
        if pixels.ndim == 2:
            return pixels[np.newaxis], None
        if has_alpha(pixels.shape[2]) and pixels[..., -1].min() == 255:
            pixels = pixels[..., :-1]
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)), None

    def all_images(self, xflip: bool | None = None) -> LooseImages:
        """Itself: it has no mirrored copies."""
        return self

    def identity(self) -> str:
        """Hex digest that identifies these images and their order."""
        return hashlib.sha256(f'loose upright {self._archive.fingerprint(self._names)}'.encode()).hexdigest()

    def validate(self, progress: Callable[[list[str]], Any] | None = None) -> None:
        """Check the headers of all files. Raises UserError for the first that is not an image in 8-bit greyscale or RGB.

        progress: wraps the list of file names, e.g. `tqdm`.
        """
        self.num_with_alpha = 0
        for name in progress(self._names) if progress else self._names:
            where = self._archive.where(name)
            with self._archive.open(name) as f:
                header = read_header(f, where)
            if header.mode not in MODES:
                raise UserError(f'{where}: images must be RGB or greyscale of 8 bits per channel, not of mode {header.mode}; '
                                'convert it')
            self.num_with_alpha += header.has_alpha

    def close(self) -> None:
        """Close the ZIP file; the next access opens it again."""
        self._archive.close()
