"""Datasets, networks and a detector for metrics of domains, of which it is known what comes out."""

import io
import json
import zipfile

import numpy as np
import PIL.Image
import torch
from torch import nn

from metrics import Context
from training.data.dataset import ImageFolderDataset
from training.networks import Discriminator, Generator

CPU = torch.device('cpu')
SIZE = 8


class Cells:
    """Features: the values of 2x2 cells, averaged; maps: the image itself, and those cells; lpips: all values."""

    name, resize, num_features = 'cells', 'published', 12

    def __init__(self, key='cells'):
        self.key, self.seen = key, 0

    def features(self, images):
        assert images.dtype == torch.uint8
        self.seen += len(images)
        return nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(start_dim=1)

    def conv5(self, images):
        assert images.dtype == torch.uint8
        self.seen += len(images)
        return images.float()

    def feature_maps(self, images):
        self.seen += len(images)
        return [images.float() / 255, nn.functional.avg_pool2d(images.float(), 4)]

    def lpips(self, images):
        assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 255
        self.seen += len(images)
        return images.flatten(start_dim=1) / 255


def context(G=None, dataset=None, D=None, net=None, by='encoder', **kwargs):
    net = net or Cells()
    names = [(name, 'published') for name in ('inception', 'vgg16', 'efficientnet', 'alexnet')]
    return Context(G, dataset, CPU, D=D, detectors=dict.fromkeys(names, net), by=by, **kwargs)


def pictures(count, seed=0):
    """Random uint8 [count, 3, SIZE, SIZE], far from 0 and 255."""
    return np.random.default_rng(seed).integers(60, 190, (count, 3, SIZE, SIZE)).astype(np.uint8)


def write_dataset(path, images, labels, content=None, domains=('red', 'green')):
    """A ZIP of uint8 images [N, 3, S, S] with labels [N], and contents if given. Returns it as a dataset."""
    with zipfile.ZipFile(path, 'w') as z:
        names = [f'{i:08d}.png' for i in range(len(images))]
        for name, image in zip(names, images, strict=True):
            buffer = io.BytesIO()
            PIL.Image.fromarray(image.transpose(1, 2, 0)).save(buffer, 'png')
            z.writestr(name, buffer.getvalue())
        fields = {'labels': [[n, int(k)] for n, k in zip(names, labels, strict=True)], 'domains': list(domains)}
        if content is not None:
            fields['content'] = [[n, int(k)] for n, k in zip(names, content, strict=True)]
        z.writestr('dataset.json', json.dumps(fields))
    return ImageFolderDataset(str(path), use_labels=True)


class Mask:
    """Stands for a mapping network: the first i_dim coordinates are style."""

    def __init__(self, z_dim, i_dim):
        self.i_dim, self.mask = i_dim, torch.arange(z_dim) < i_dim

    def style_mask(self):
        return self.mask


class Replay(nn.Module):
    """Draws images[u], uint8 [N, 3, S, S], of domain u one after the other, whatever z is, moved by shift[u]; and again."""

    z_dim, img_channels, img_resolution = 4, 3, SIZE

    def __init__(self, images, shift=(0, 0)):
        super().__init__()
        self.c_dim, self.pictures, self.shift = len(images), images, shift
        self.next = [0] * len(images)

    def forward(self, z, c, noise_mode='const'):
        rows = []
        for u in c.argmax(dim=1).tolist():
            rows.append(self.pictures[u][self.next[u] % len(self.pictures[u])] + float(self.shift[u]))
            self.next[u] += 1
        return (torch.from_numpy(np.stack(rows)).float() - 127.5) / 127.5  # to_uint8 truncates: exact with half a step more


class Painter(nn.Module):
    """An image is its latent: channel k shows z_k / 4 as grey value, brighter by gain[u]. Keeps what it was given."""

    img_channels, img_resolution = 3, SIZE

    def __init__(self, z_dim=6, c_dim=2, i_dim=2, gain=(1.0, 1.0, 1.0), uses=slice(None)):
        super().__init__()
        self.z_dim, self.c_dim, self.mapping = z_dim, c_dim, Mask(z_dim, i_dim)
        self.gain, self.uses, self.given = gain, uses, []

    def forward(self, z, c, noise_mode='const', force_fp32=False):
        self.given.append((z.clone(), c.argmax(dim=1)))
        pixels = torch.zeros(len(z), 3 * SIZE ** 2)
        pixels[:, :self.z_dim] = torch.zeros_like(z).index_copy(1, torch.arange(self.z_dim)[self.uses], z[:, self.uses]) / 6
        gain = torch.tensor([self.gain[u] for u in c.argmax(dim=1)])
        return (pixels * gain[:, None]).reshape(-1, 3, SIZE, SIZE)


class Finder(nn.Module):
    """Finds what Painter drew, in the given order of coordinates and with the given signs."""

    def __init__(self, z_dim=6, order=None, sign=1.0):
        super().__init__()
        self.latent_dim, self.order, self.sign = z_dim, order or list(range(z_dim)), sign
        self.given = []

    def forward(self, x, c, return_latent):
        assert len(x) == 1 and return_latent, 'one image at a time'
        self.given.append((x.clone(), int(c.argmax())))
        return None, self.sign * 6 * x.flatten(start_dim=1)[:, self.order]


def networks(c_dim=2, cond_mode='flow'):
    """Small real ones, with noise inputs that matter, and a discriminator that encodes."""
    torch.manual_seed(0)
    G = Generator(z_dim=4, c_dim=c_dim, w_dim=4, img_resolution=SIZE, img_channels=3, synthesis_kwargs=dict(channel_base=32,
                  channel_max=4), mapping_kwargs=dict(num_layers=1, cond_mode=cond_mode, i_dim=2)).eval()
    D = Discriminator(c_dim=c_dim, img_resolution=SIZE, img_channels=3, channel_base=32, channel_max=4,
                      mapping_kwargs=dict(num_layers=1)).eval()
    with torch.no_grad():
        for name, p in G.named_parameters():
            if name.endswith('noise_strength'):
                p.fill_(0.5)
    return G, D
