"""The published name of datasets; training/data/dataset.py has the code."""

from training.data.dataset import ImageFolderDataset

__all__ = ['ImageFolderDataset']
