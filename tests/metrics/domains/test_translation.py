"""The metric `translation`, with networks of which it is known what they keep."""

import pytest
import torch
from helpers.shapes import SHAPES, draw, write_dataset
from torch import nn

from dnnlib import UserError
from metrics import Context
from metrics.domains.translation import translation
from training.data.dataset import ImageFolderDataset

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'shapes.zip'
    return ImageFolderDataset(write_dataset(path, moves=False), use_labels=True)


class Reader(nn.Module):
    """Finds the shape: codes are one-hot."""

    def __init__(self, latent_dim=8):
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, x, c, return_latent):
        shapes = torch.stack([draw(k, int(u.argmax()), (0, 0)) for u in c for k in range(SHAPES)]).unflatten(0, (-1, SHAPES))
        code = (shapes - x[:, None]).square().sum(dim=(2, 3, 4)).argmin(dim=1)
        return None, nn.functional.one_hot(code, 8).float()


class Drawer(nn.Module):
    z_dim, c_dim, img_channels, img_resolution = 8, 2, 3, 16

    def __init__(self, shape=lambda k, u: k, domain=lambda u: u):
        super().__init__()
        self.shape, self.domain = shape, domain

    def forward(self, z, c, noise_mode, force_fp32=False):
        pairs = zip(z.argmax(dim=1).tolist(), c.argmax(dim=1).tolist(), strict=True)
        return torch.stack([draw(self.shape(k, u), self.domain(u), (0, 0)) for k, u in pairs])


def values(dataset, G, D=None):
    result = translation(Context(G, dataset, CPU, D=D or Reader(), by='encoder'), num_images=48, batch=16)
    return {k: v for k, v in result.values.items() if not k.endswith('test_accuracy')}, result


def test_networks_that_invert_each_other_keep_everything(dataset):
    v, result = values(dataset, Drawer())
    assert v == {'reconstruction_mse': pytest.approx(0, abs=1e-9), 'reconstruction_content': 1, 'translation_content': 1,
                 'translation_domain': 1}
    assert result.arrays['images'].shape == (8, 4, 3, 16, 16) and result.draw().axes


def test_what_is_lost_on_the_way_is_counted_where_it_was_lost(dataset):
    v, _ = values(dataset, Drawer(shape=lambda k, u: (k + u) % SHAPES))  # right in domain 0, wrong in domain 1
    reds = v['reconstruction_content']
    assert 0.3 < reds < 0.7 and v['translation_content'] == pytest.approx(1 - reds) and v['reconstruction_mse'] > 0.01
    v, _ = values(dataset, Drawer(domain=lambda u: 0))  # all in red
    assert v['translation_domain'] == pytest.approx(1 - reds) and v['translation_content'] == 1


def test_without_content_labels(tmp_path):
    data = ImageFolderDataset(write_dataset(tmp_path / 'a.zip', content=False, moves=False), use_labels=True)
    v, _ = values(data, Drawer())
    assert v['translation_content'] is v['reconstruction_content'] is None and v['translation_domain'] == 1


def test_a_code_that_is_no_latent_is_refused(dataset):
    with pytest.raises(UserError, match='finds 5 numbers, but latents have 8; train with --method=clr-gan'):
        values(dataset, Drawer(), Reader(latent_dim=5))
