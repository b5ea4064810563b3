"""The interface of datasets. A class of the user needs nothing else.

training.data.plain.PlainDataset implements it for images that can be indexed by number.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Dataset(Protocol):
    """Item i is (image uint8 [C, H, W], label float32 [label_dim]). A map-style dataset for torch's DataLoader.

    Its constructor takes path, resolution, use_labels, max_size, xflip and random_seed by name. name: for the run directory.
    image_shape: [C, H, W]. resolution: (H, W), or one number if they are equal. label_shape: [label_dim], 0 without labels.
    domains: names of the labels, or None. content_dim: number of content classes, or 0.
    """

    path: str
    name: str
    resolution: int | tuple[int, int]
    num_channels: int
    image_shape: list[int]
    label_shape: list[int]
    label_dim: int
    has_labels: bool
    has_onehot_labels: bool
    domains: list[str] | None
    content_dim: int

    def __len__(self) -> int:
        """Items, mirrored ones included."""

    def __getitem__(self, idx: int) -> tuple[np.ndarray, np.ndarray]:
        """(image, label) of an item."""

    def get_label(self, idx: int) -> np.ndarray:
        """The label of an item alone, without reading its image."""

    def get_details(self, idx: int) -> Any:
        """An object with raw_idx (position among all images), xflip (bool) and raw_label (a class number, or a vector)."""

    def all_images(self, xflip: bool | None) -> Dataset:
        """The dataset without max_size, for metrics. xflip: with mirrored copies; None for no change."""

    def identity(self) -> str:
        """A text that identifies the images and their order. Metrics cache features under it."""

    def validate(self) -> None:
        """Raise UserError if an image or label is unusable: before training starts."""
