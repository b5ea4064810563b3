"""A small StackedMNIST: digits of Pillow's font in the three channels; and a generator that draws them, as it is told."""

import functools
import io
import json
import zipfile

import numpy as np
import PIL.Image
import PIL.ImageDraw
import torch
from torch import nn

SIZE = 16


@functools.cache
def digit(value):
    """uint8 [SIZE, SIZE]."""
    image = PIL.Image.new('L', (SIZE, SIZE))
    PIL.ImageDraw.Draw(image).text((SIZE / 2, SIZE / 2), str(value), fill=255, anchor='mm', font_size=16)
    return np.array(image)


def stack(label, noise=None):
    """uint8 [3, SIZE, SIZE]: the digits of a label 0..999, each a little moved and blurred by noise (a RandomState)."""
    channels = [digit(int(d)) for d in f'{label:03d}']
    if noise is not None:
        channels = [np.roll(channel, noise.randint(-1, 2, 2), axis=(0, 1)) * (0.7 + 0.3 * noise.rand()) for channel in channels]
    return np.stack(channels).astype(np.uint8)


def write_stacks(path, count=150, labels=True, seed=0):
    """A ZIP of stacks of random digits. labels: True, False, or 'vectors'."""
    noise = np.random.RandomState(seed)
    values = [int(v) for v in noise.randint(0, 1000, count)]
    values[0] = 999
    with zipfile.ZipFile(path, 'w') as z:
        for i, value in enumerate(values):
            buffer = io.BytesIO()
            PIL.Image.fromarray(stack(value, noise).transpose(1, 2, 0)).save(buffer, 'png')
            z.writestr(f'{i:08d}.png', buffer.getvalue())
        given = [[v / 2, 1.0] for v in values] if labels == 'vectors' else values
        z.writestr('dataset.json', json.dumps({'labels': [[f'{i:08d}.png', v] for i, v in enumerate(given)] if labels else None}))
    return str(path)


class Stacker(nn.Module):
    """An unconditional generator that draws the stack of label(z), and records the labels. z: float [3], ~ N(0, 1)."""

    z_dim, c_dim, img_channels, img_resolution = 3, 0, 3, SIZE

    def __init__(self, label=lambda z: int(''.join(str(int(torch.special.ndtr(value) * 10)) for value in z))):
        super().__init__()
        self.label, self.drawn = label, []

    def forward(self, z, c, **kwargs):
        self.drawn += [self.label(row) for row in z]
        images = np.stack([stack(label) for label in self.drawn[len(self.drawn) - len(z):]])
        return (torch.from_numpy(images).float() - 127.5) / 127.5
