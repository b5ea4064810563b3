"""Datasets of images in a folder or a ZIP file, as dataset_tool.py writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib import EasyDict, UserError
from dnnlib.archive import open_archive
from dnnlib.image_size import ImageSize, height_width, shortest, text_of
from training.data.finding import find_images, labels_below
from training.data.images import MODES, read_header, read_pixels
from training.data.labels import FILE_NAME, Factor, label_array, read_label_file
from training.start_grid import start_grid

_REMEDY = 'convert the images with dataset_tool.py'


class ImageFolderDataset:
    """All images below a folder or in a .zip file, sorted by name. A map-style dataset for torch's DataLoader.

    training/data/finding.py decides which files are images; `left_out` (reason -> names) has the others. Images are rotated
    upright by their EXIF data. Item i is `(image, label)`: uint8 [C, H, W] with values 0..255, and float32 [label_dim].

    path: folder or ZIP file.
    resolution: check that the images have this (height, width), or width and height if it is one number.
    use_labels: read `dataset.json`; without it label_dim is 0.
    max_size: take a random subset of that many images (chosen by random_seed, kept in the order of names).
    xflip: append a mirrored copy of every image, which doubles the length.

    Raises UserError, naming the file, if the path, an image or `dataset.json` is invalid. Images other than the first are checked
    when they are fetched, and by `validate()`.
    """

    def __init__(self, path: str, resolution: ImageSize | None = None, use_labels: bool = False, max_size: int | None = None,
                 xflip: bool = False, random_seed: int = 0):
        self.path = str(path)
        self._archive = open_archive(path)
        self._names, self.left_out = find_images(self._archive)
        self._use_labels = use_labels
        self._label_cache: np.ndarray | None = None
        self._content_cache: np.ndarray | None = None
        self._factor_cache: np.ndarray | None = None

        # Which image item i shows, and whether mirrored.
        self._raw_idx = np.arange(len(self._names))
        if max_size is not None and max_size < len(self._names):
            if max_size < 1:
                raise UserError(f'{path}: a subset of {max_size} images was asked for; ask for at least 1')
            np.random.RandomState(random_seed).shuffle(self._raw_idx)
            self._raw_idx = np.sort(self._raw_idx[:max_size])
        self._xflip = np.zeros(len(self._raw_idx), dtype=bool)
        if xflip:
            self._raw_idx = np.tile(self._raw_idx, 2)
            self._xflip = np.concatenate([self._xflip, ~self._xflip])

        self._image_shape: list[int] | None = None
        self._image_shape = list(self._load(0).shape)
        _, height, width = self._image_shape
        if resolution is not None and height_width(resolution) != (height, width):
            raise UserError(f'{path}: Image files do not match the specified resolution {text_of(resolution)}, being '
                            f'{width}x{height}; {_REMEDY} --resolution={text_of(resolution)}')

    def __getstate__(self) -> dict:
        # Workers read them again if necessary.
        return {**self.__dict__, '_label_cache': None, '_content_cache': None, '_factor_cache': None}

    def all_images(self, xflip: bool | None = None) -> ImageFolderDataset:
        """The dataset of all images of the archive, without max_size. xflip: with mirrored copies; None for no change."""
        xflip = bool(self._xflip.any()) if xflip is None else xflip
        if len(self) == len(self._names) * (1 + xflip) and self._xflip.any() == xflip:
            return self
        return ImageFolderDataset(self.path, use_labels=self._use_labels, xflip=xflip)

    def identity(self) -> str:
        """Hex digest that identifies these images and their order, mirrored ones included. It does not depend on the labels."""
        digest = hashlib.sha256(self._archive.fingerprint(self._names).encode())
        digest.update(np.asarray(self._raw_idx, np.int64).tobytes() + self._xflip.tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the ZIP file; the next access opens it again."""
        self._archive.close()

    # Items.

    def __len__(self) -> int:
        return len(self._raw_idx)

    def __getitem__(self, idx: int) -> tuple[np.ndarray, np.ndarray]:
        image = self._load(self._raw_idx[idx])
        if self._xflip[idx]:
            image = image[:, :, ::-1]
        return image.copy(), self.get_label(idx)

    def get_label(self, idx: int) -> np.ndarray:
        """The conditioning vector of item `idx`: float32 [label_dim]; one-hot if the file has class numbers."""
        label = self._labels()[self._raw_idx[idx]]
        if self.has_onehot_labels:
            return (np.arange(self.label_dim) == label).astype(np.float32)
        return label.copy()

    def get_details(self, idx: int) -> EasyDict:
        """The origin of item `idx`: raw_idx (position among all images), xflip (bool), raw_label (as in the file)."""
        raw_idx = int(self._raw_idx[idx])
        return EasyDict(raw_idx=raw_idx, xflip=bool(self._xflip[idx]), raw_label=self._labels()[raw_idx].copy())

    def _load(self, raw_idx: int) -> np.ndarray:
        name = self._names[raw_idx]
        where = self._archive.where(name)
        pixels, mode = read_pixels(self._archive.read(name), where)
        self._check_mode(mode, where)
        image = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # [H, W(, C)] -> [C, H, W]
        if self._image_shape is not None and list(image.shape) != self._image_shape:
            raise UserError(f'{where}: its shape {list(image.shape)} differs from {self._image_shape} of the first image; '
                            f'{_REMEDY}')
        return image

    @staticmethod
    def _check_mode(mode: str, where: str) -> None:
        if mode not in MODES.values():
            raise UserError(f'{where}: images must be RGB or greyscale, with alpha or without, of 8 bits per channel, not of '
                            f'mode {mode}; {_REMEDY}')

    # Labels.

    def _labels(self) -> np.ndarray:
        """The labels of all images of the archive: int64 [N], or float32 [N, label_dim]."""
        if self._label_cache is None:
            labels = read_label_file(self._archive).labels if self._use_labels else None
            below = labels_below(self._archive, self._names) if self._use_labels and labels is None else None
            if below is not None:
                raise UserError(f'{self._archive.where(below)}: labels are read from {FILE_NAME} at the root alone; give the '
                                'folder that it is in')
            if labels is None:
                self._label_cache = np.zeros([len(self._names), 0], dtype=np.float32)
            else:
                self._label_cache = label_array(labels, self._names, self._archive)
            classes = self._label_cache.ndim == 1
            self._label_dim = int(self._label_cache.max()) + 1 if classes else self._label_cache.shape[1]
        return self._label_cache

    @property
    def label_shape(self) -> list[int]:
        """Shape of a label, `[label_dim]`. Class numbers 0..n count as n+1 classes, also in a subset without some."""
        self._labels()
        return [self._label_dim]

    @property
    def label_dim(self) -> int:
        """Length of a label vector; 0 without labels."""
        return self.label_shape[0]

    @property
    def has_labels(self) -> bool:
        """Whether labels are used and the file has any."""
        return self.label_dim > 0

    @property
    def has_onehot_labels(self) -> bool:
        """Whether the labels are class numbers, given out as one-hot vectors."""
        return self._labels().dtype == np.int64

    def get_content(self, idx: int) -> int:
        """The class of what item `idx` shows, 0..content_dim - 1, such as its digit. Raises UserError if there is none."""
        if self.content_dim == 0:
            raise UserError(f'{self.path}: has no content labels; paint a labelled source with dataset_tool.py --domains')
        return int(self._contents()[self._raw_idx[idx]])

    @property
    def content_dim(self) -> int:
        """Number of content classes, also in a subset without some; 0 if the dataset has none. Not for conditioning."""
        contents = self._contents()
        return int(contents.max()) + 1 if len(contents) else 0

    def _contents(self) -> np.ndarray:
        """The content classes of all images of the archive: int64 [N]; [0] without content."""
        if self._content_cache is None:
            content = read_label_file(self._archive).content
            self._content_cache = (np.zeros([0], dtype=np.int64) if content is None else
                                   label_array(content, self._names, self._archive, kind='content'))
        return self._content_cache

    @property
    def factor_names(self) -> list[Factor] | None:
        """Descriptions of the factors of the images; None if they have none."""
        return read_label_file(self._archive).factor_names

    def get_factors(self, idx: int) -> np.ndarray:
        """The values of `factor_names` from which item `idx` was rendered: float32 [K]. Not for mirrored copies. Raises UserError
        if an image has none."""
        if self._factor_cache is None:
            self._factor_cache = label_array(read_label_file(self._archive).factors or {}, self._names, self._archive, 'factor')
        return self._factor_cache[self._raw_idx[idx]].copy()

    def empty_classes(self) -> list[int]:
        """The classes below the largest label that no image has; empty if the labels are vectors."""
        if not self.has_onehot_labels:
            return []
        labels = self._labels()[self._raw_idx]
        return np.setdiff1d(np.arange(self.label_dim), labels).tolist()

    @property
    def domains(self) -> list[str] | None:
        """Names of the labels 0, 1, ... as `dataset.json` gives them; None if it does not."""
        return read_label_file(self._archive).domains

    # Images.

    @property
    def names(self) -> list[str]:
        """Names of all image files of the archive, in their order."""
        return self._names

    @property
    def name(self) -> str:
        """Name of the folder or file, without its last extension."""
        return Path(self.path).absolute().stem

    @property
    def image_shape(self) -> list[int]:
        """`[C, H, W]` of every image."""
        return list(self._image_shape)

    @property
    def num_channels(self) -> int:
        """1 (greyscale), 2 (greyscale and alpha), 3 (RGB) or 4 (RGBA)."""
        return self._image_shape[0]

    @property
    def resolution(self) -> int | tuple[int, int]:
        """(height, width) of every image; one number if they are square."""
        return shortest(self._image_shape[1:])

    def validate(self, progress: Callable[[list[str]], Any] | None = None) -> None:
        """Check the headers of all image files and `dataset.json` before a training run starts.

        Every file must be an image of 8 bits with the size and channels of the first one. Networks must support this size
        (training.start_grid). If labels are used, every image needs one. Raises UserError for the first violation.

        progress: wraps the list of file names, e.g. `tqdm`.
        """
        read_label_file(self._archive)  # report a corrupt file even if labels are not used
        _, height, width = self._image_shape
        try:
            start_grid(self.resolution)
        except ValueError as err:
            raise UserError(f'{self.path}: {err}; {_REMEDY} --resolution=WxH --transform=center-crop') from err
        self._labels()
        first_mode = MODES[self.num_channels]
        for name in progress(self._names) if progress else self._names:
            where = self._archive.where(name)
            with self._archive.open(name) as f:
                header = read_header(f, where)
            self._check_mode(header.mode, where)
            if (header.width, header.height, header.mode) != (width, height, first_mode):
                raise UserError(f'{where}: {header.width}x{header.height} {header.mode} differs from the first image, '
                                f'{width}x{height} {first_mode}; {_REMEDY}')
