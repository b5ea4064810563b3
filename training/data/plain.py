"""A dataset for images that can be indexed by number: arrays, memory maps, or a list that reads on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnnlib import EasyDict, UserError
from dnnlib.channels import NAMES
from dnnlib.image_size import ImageSize, height_width, shortest, text_of
from dnnlib.plugins import location, remake


class PlainDataset:
    """A subclass defines `read`. This class adds everything else that training and metrics need.

    path, resolution, use_labels, max_size, xflip, random_seed: as in training.dataset.ImageFolderDataset.
    Raises UserError if the images or labels are not as `read` describes.
    """

    domains, content_dim = None, 0

    def __init__(self, path: str, resolution: ImageSize | None = None, use_labels: bool = False, max_size: int | None = None,
                 xflip: bool = False, random_seed: int = 0):
        self.path, self._use_labels = str(path), use_labels
        self._images, labels = self.read(self.path)
        self._labels = np.asarray(labels) if use_labels and labels is not None else np.zeros([len(self._images), 0])
        if len(self._images) == 0 or len(self._labels) != len(self._images):
            raise UserError(f'{path}: has {len(self._images)} images and {len(self._labels)} labels; each image needs one label')
        self.has_onehot_labels = self._labels.ndim == 1
        if self._labels.ndim > 2 or (self.has_onehot_labels and self._labels.dtype.kind not in 'iu'):
            raise UserError(f'{path}: its labels are {self._labels.dtype} {list(self._labels.shape)}; they must be class numbers '
                            '[N], or vectors [N, label_dim]')
        self.label_dim = int(self._labels.max()) + 1 if self.has_onehot_labels else self._labels.shape[1]
        rows = np.arange(len(self._images))
        if max_size is not None and max_size < len(rows):
            rows = np.sort(np.random.RandomState(random_seed).permutation(rows)[:max_size])
        self._rows = np.tile(rows, 2) if xflip else rows
        self._mirrored = np.arange(len(self._rows)) >= len(rows)
        self.image_shape = list(np.shape(self._images[0]))
        self._check(0)
        self.num_channels, self.resolution = self.image_shape[0], shortest(self.image_shape[1:])
        if resolution is not None and height_width(resolution) != height_width(self.resolution):
            raise UserError(f'{path}: its images are {text_of(self.resolution)}, not {text_of(resolution)}')

    def read(self, path: str) -> tuple[Sequence[np.ndarray], np.ndarray | None]:
        """Images and labels of a path. Images: any sequence of uint8 [C, H, W], C = 1 to 4.
        Labels: class numbers, integers [N]; vectors [N, label_dim]; or None."""
        raise NotImplementedError(f'{type(self).__name__} has no method `read`')

    def __reduce__(self) -> tuple:
        return remake, (location(type(self)), self.__dict__)  # a process that is not forked must import the file first

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, idx: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.asarray(self._images[self._rows[idx]])
        return (image[:, :, ::-1] if self._mirrored[idx] else image).copy(), self.get_label(idx)

    def get_label(self, idx: int) -> np.ndarray:
        """float32 [label_dim]; one-hot if the labels are class numbers."""
        label = self._labels[self._rows[idx]]
        return (np.arange(self.label_dim) == label if self.has_onehot_labels else label).astype(np.float32)

    def get_details(self, idx: int) -> EasyDict:
        """raw_idx (position among all images), xflip (bool) and raw_label (as `read` gives it)."""
        row = int(self._rows[idx])
        return EasyDict(raw_idx=row, xflip=bool(self._mirrored[idx]), raw_label=self._labels[row])

    def empty_classes(self) -> list[int]:
        """The classes below label_dim that no image has; none if the labels are vectors."""
        return np.setdiff1d(np.arange(self.label_dim), self._labels[self._rows]).tolist() if self.has_onehot_labels else []

    def all_images(self, xflip: bool | None = None) -> PlainDataset:
        """The dataset without max_size. xflip: with mirrored copies; None for no change."""
        mirrored = bool(self._mirrored.any()) if xflip is None else xflip
        return type(self)(self.path, use_labels=self._use_labels, xflip=mirrored)

    def identity(self) -> str:
        """Hex digest of the images in their order; it reads all of them."""
        digest = hashlib.sha256(str(self.image_shape).encode())
        for row, mirrored in zip(self._rows, self._mirrored, strict=True):
            digest.update(b'mirrored' if mirrored else np.ascontiguousarray(self._images[row]).tobytes())
        return digest.hexdigest()

    def validate(self) -> None:
        """Check all images. Raises UserError for the first that is not uint8 or has another shape than the first image."""
        for row in range(len(self._images)):
            self._check(row)

    @property
    def name(self) -> str:
        """Name of the file or folder, without its last extension."""
        return Path(self.path).absolute().stem

    @property
    def label_shape(self) -> list[int]:
        """[label_dim]."""
        return [self.label_dim]

    @property
    def has_labels(self) -> bool:
        """Whether labels are used, and there are any."""
        return self.label_dim > 0

    def _check(self, row: int) -> None:
        image, shape = np.asarray(self._images[row]), self.image_shape
        if image.dtype != np.uint8 or list(image.shape) != shape or len(shape) != 3 or shape[0] not in NAMES:
            raise UserError(f'{self.path}: image {row} is {image.dtype} {list(image.shape)}; all must be uint8 [C, H, W] of one '
                            'size, with 1 to 4 channels')
