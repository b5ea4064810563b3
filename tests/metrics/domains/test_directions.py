"""The metric `directions`, with a generator that is linear in w, so that all of it is known."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from metrics import Context
from metrics.domains import directions as module
from metrics.domains.classifier import Trained
from metrics.domains.sparsity import hoyer

CPU = torch.device('cpu')
SIZE, GAINS = 8, torch.tensor([1.0, 3.0, 0.5, 2.0])


class Quadrants(nn.Module):
    """x = Σ_j w_j b_j, where b_j is one in a quadrant of the image and 0 elsewhere. w = gains · u, and u = z: two of style.

    The brightness of quadrant 0 tells the domain, that of quadrant 1 the content.
    """

    def __init__(self, importance):
        super().__init__()
        self.z_dim = self.w_dim = 4
        self.c_dim, self.img_channels, self.img_resolution = 2, 1, SIZE
        self.synthesis = Synthesis()
        living = torch.tensor([*(i > 0.1 for i in importance), False, False])
        self.mapping = Mapping(torch.tensor([importance]), living)

    def forward(self, z, c, noise_mode):
        return self.synthesis(self.mapping(z, c), noise_mode)


class Mapping:
    def __init__(self, importance, living):
        self.importance, self.style_mask = importance, lambda: living

    def __call__(self, z, c):
        return self.map_latent(self.latent(z, c))

    def latent(self, z, c):
        return z

    def map_latent(self, u):
        return (u * GAINS)[:, None]


class Synthesis(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Module()
        self.layer.affine = SimpleNamespace(weight=torch.diag(torch.tensor([1.0, 1, 4, 1])), weight_gain=1.0)
        basis = torch.zeros(4, 1, SIZE, SIZE)
        half = SIZE // 2
        for j in range(4):
            basis[j, :, half * (j // 2):half * (j // 2 + 1), half * (j % 2):half * (j % 2 + 1)] = 1
        self.register_buffer('basis', basis)

    def forward(self, ws, noise_mode, force_fp32=False):
        return torch.einsum('nj,jchw->nchw', ws[:, 0], self.basis)


class Judge(nn.Module):
    """Two classes: whether the mean brightness of a quadrant is positive."""

    def __init__(self, column):
        super().__init__()
        self.column, self.weight = column, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        half = x.shape[-1] // 2
        bright = x[:, 0, :half, self.column * half:(self.column + 1) * half].mean(dim=(1, 2))
        return torch.stack([-bright, bright], dim=1)


@pytest.fixture
def measure(monkeypatch):
    """measure(importance, **kwargs): values and arrays. The content judge sees images as they are."""
    monkeypatch.setattr(module, 'check', lambda context: None)
    monkeypatch.setattr(module, 'shape_of', lambda x: x)
    monkeypatch.setattr(module, 'train_judges', lambda context, max_reals: (None, Trained(Judge(0), 1), Trained(Judge(1), 1)))

    def call(importance, content=True, **kwargs):
        if not content:
            monkeypatch.setattr(module, 'train_judges', lambda context, max_reals: (None, Trained(Judge(0), 1), None))
        return module.directions(Context(Quadrants(importance), None, CPU), **{'num_latents': 40, 'batch': 7, **kwargs})
    return call


def test_effects_are_those_of_the_known_jacobian(measure):
    values = measure([0.5, 2.0]).values
    assert values['style_l1'] == pytest.approx((GAINS[0] + GAINS[1]).item() / 2 / 4, rel=1e-5)  # a quadrant is a quarter
    quadrant = torch.zeros(1, SIZE * SIZE)
    quadrant[0, :SIZE * SIZE // 4] = 1
    for kind in ('style', 'pca', 'sefa'):  # all of them move along quadrants
        assert values[f'{kind}_hoyer'] == pytest.approx(hoyer(quadrant).item(), abs=0.05)
    assert values['pca_l1'] == pytest.approx(GAINS.mean().item() / 4, rel=0.05)  # w_j has the deviation of its gain


def test_the_most_important_come_first(measure):
    by_importance = measure([0.5, 2.0], count=1)
    assert by_importance.values['style_l1'] == pytest.approx(GAINS[1].item() / 4, rel=1e-5)
    assert by_importance.values['pca_l1'] == pytest.approx(GAINS[1].item() / 4, rel=0.05)  # the largest variance
    assert by_importance.values['sefa_l1'] == pytest.approx(GAINS[2].item() / 4, rel=0.05)  # the largest weight
    assert by_importance.arrays['style_images'].shape == (1, 3, 1, SIZE, SIZE)


def test_moves_change_the_image_equally_and_only_what_they_should(measure):
    only_domain = measure([2.0, 0.0]).values  # one living coordinate, which is that of quadrant 0
    assert only_domain['style_content_kept'] == 1 and only_domain['style_domain_kept'] < 0.9
    only_content = measure([0.0, 2.0], count=1).values
    assert only_content['style_domain_kept'] == 1 and only_content['style_content_kept'] < 0.9
    assert only_domain['style_change'] == pytest.approx(only_content['style_change'], rel=0.5)  # the weaker one stops at 3 units


def test_what_is_not_there_is_none(measure):
    result = measure([0.0, 0.0], content=False)
    assert {key: value for key, value in result.values.items() if value is None}.keys() == {
        'style_l1', 'style_hoyer', 'style_change', 'style_domain_kept', 'style_content_kept', 'pca_content_kept',
        'sefa_content_kept'}
    assert len(result.notes) == 1 and sorted(result.arrays) == ['pca_images', 'sefa_images']
    assert result.draw().get_axes()


def test_batches_do_not_matter(measure):
    a, b = measure([0.5, 2.0], batch=64).values, measure([0.5, 2.0], batch=3).values
    assert a == pytest.approx(b, rel=1e-5)
