"""Coloured shapes whose domain (colour) and content (shape) are known: a dataset of them, and generators that draw them."""

import io
import json
import zipfile

import numpy as np
import PIL.Image
import torch
from torch import nn

SIZE, SHAPES, COLORS = 16, 3, torch.tensor([[1., 0, 0], [0, 1, 0]])


def draw(shape, domain, jitter):
    """One image [3, SIZE, SIZE] in [-1, 1]. jitter: two numbers that move it about, by up to 3 pixels each way."""
    x, y = (5 + round(3 * float(j)) for j in torch.as_tensor(jitter).clamp(-1, 1))
    grey = torch.zeros(SIZE, SIZE)
    box = grey[y:y + 6, x:x + 6]
    if shape == 0:
        box[:, 2:4] = 1
    elif shape == 1:
        box[2:4, :] = 1
    else:
        box[:] = 1
    return COLORS[domain][:, None, None] * grey * 2 - 1


def write_dataset(path, count=120, content=True, labels=True, shapes=SHAPES, moves=True):
    """A ZIP of images: number i is of domain i mod 2 and of shape i mod 3, so that they are independent.

    labels: True, False, or 'vectors' in place of classes."""
    rng = np.random.RandomState(0)
    with zipfile.ZipFile(path, 'w') as z:
        names = [f'00000/img{i:08d}.png' for i in range(count)]
        for i, name in enumerate(names):
            image = draw(i % shapes, i % 2, rng.uniform(-1, 1, 2) * moves)
            buffer = io.BytesIO()
            PIL.Image.fromarray(((image + 1) * 127.5).byte().permute(1, 2, 0).numpy()).save(buffer, 'png')
            z.writestr(name, buffer.getvalue())
        fields = {'labels': [[name, i % 2] for i, name in enumerate(names)] if labels else None, 'domains': ['red', 'green']}
        if labels == 'vectors':
            fields['labels'] = [[name, [1 - i % 2, i % 2]] for i, name in enumerate(names)]
        if content:
            fields['content'] = [[name, i % shapes] for i, name in enumerate(names)]
        z.writestr('dataset.json', json.dumps(fields))
    return str(path)


class Artist(nn.Module):
    """A generator that draws shape `shape(z, u)` in domain `domain(u)`, and records what it drew. z: [N, 8].

    moves: whether z moves the shapes about.
    """

    z_dim, c_dim, img_channels, img_resolution = 8, 2, 3, SIZE

    def __init__(self, shape=lambda z, u: int(z[:SHAPES].argmax()), domain=lambda u: u, moves=True):
        super().__init__()
        self.shape, self.domain, self.moves = shape, domain, moves
        self.drawn = {0: [], 1: []}

    def forward(self, z, c, **kwargs):
        assert kwargs == dict(noise_mode='const') and not torch.is_grad_enabled()
        images = []
        for row, label in zip(z, c, strict=True):
            u = int(label.argmax())
            self.drawn[u].append(self.shape(row, u))
            images.append(draw(self.drawn[u][-1], self.domain(u), torch.tanh(row[6:]) * self.moves))
        return torch.stack(images)
