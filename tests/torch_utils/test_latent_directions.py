"""Directions of latent spaces, against cases whose answer is known."""

import pytest
import torch

from torch_utils.latent_directions import principal_directions, sensitive_directions


def rotation(n, seed):
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]


def test_principal_components_of_a_rotated_gaussian():
    axes, deviations = rotation(5, 1), torch.tensor([4.0, 2, 1, 0.5, 0.25], dtype=torch.float64)
    white = torch.randn(200_000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions, variances = principal_directions(white * deviations @ axes.T + 7)
    assert torch.allclose((directions @ axes).abs(), torch.eye(5, dtype=torch.float64), atol=0.02)
    assert torch.allclose(variances, deviations ** 2, rtol=0.02)


def test_what_layers_amplify_comes_first():
    axes = rotation(4, 3)
    gains = torch.tensor([3.0, 2, 1, 0], dtype=torch.float64)
    whole = rotation(6, 4)[:, :4] * gains @ axes.T
    directions, squares = sensitive_directions([whole[:2], whole[2:]])  # the layers of a network, in parts
    assert torch.allclose((directions @ axes).abs(), torch.eye(4, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(squares, gains ** 2, atol=1e-9) and (squares >= 0).all()
    assert torch.allclose((whole @ directions.T).square().sum(dim=0), squares, atol=1e-9)


def test_signs_are_settled():
    samples = torch.randn(30, 3, generator=torch.Generator().manual_seed(5))
    directions, again = principal_directions(samples)[0], principal_directions(-samples)[0]
    assert torch.allclose(directions, again) and (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_one_sample_has_no_components():
    with pytest.raises(ValueError, match='at least two samples'):
        principal_directions(torch.zeros(1, 3))
