"""The published name of the augmentation pipe; training/augmentation/pipe.py has the code."""

from training.augmentation.pipe import AugmentPipe

__all__ = ['AugmentPipe']
