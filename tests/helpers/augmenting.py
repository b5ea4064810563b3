"""Augmentation pipes for tests."""

from training.augmentation.pipe import AugmentPipe
from training.augmentation.presets import AUGPIPES


def make_pipe(preset='', p=1.0, **kwargs):
    """A pipe of strength p: a preset, or the transforms in kwargs."""
    pipe = AugmentPipe(**AUGPIPES.get(preset, {}), **kwargs)
    pipe.p.fill_(p)
    return pipe
