"""CSDI's orthogonality term: by the equation, unbiased, and at its two ends."""

import pytest
import torch

from training.losses import PhaseBatch
from training.methods import term_class

N, STYLE, CONTENT, PIXELS = 3, 2, 3, 16


class Linear(torch.nn.Module):
    """Images that are a linear function of the latent: `columns` [PIXELS, STYLE + CONTENT] is the Jacobian everywhere."""

    def __init__(self, columns):
        super().__init__()
        self.columns = torch.nn.Parameter(columns)
        self.mapping = self.synthesis = self

    def latent(self, z, c):
        return z

    def map_latent(self, latent, skip_w_avg_update=False):
        assert skip_w_avg_update
        return latent[:, None]

    def style_mask(self):
        return torch.arange(STYLE + CONTENT) < STYLE

    def forward(self, ws):
        return (ws[:, 0] @ self.columns.t()).reshape(-1, 1, 4, 4)


def value(columns, probes=4, n=N, seed=0):
    z = torch.randn(n, STYLE + CONTENT, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = PhaseBatch(Linear(columns), None, z, torch.zeros(n, 0), z, torch.zeros(n, 0))
    torch.manual_seed(seed)
    return term_class('G/orth')(probes=probes, batch_shrink=1)(batch)


def jacobian():
    return torch.randn(PIXELS, STYLE + CONTENT, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_the_mean_over_probes_is_the_definition_without_bias():
    J = jacobian()
    s, c = J[:, :STYLE], J[:, STYLE:]
    exact = ((s.t() @ c).square().sum() / (s.square().sum() * c.square().sum())).item()
    estimate = value(J, probes=16, n=4000).mean().item()
    biased = exact + (exact + 1) / 16  # what pairs of equal probes would add
    assert estimate == pytest.approx(exact, rel=0.1) and biased > 1.3 * exact


def test_zero_for_orthogonal_ranges_and_one_for_the_same_direction():
    q = torch.linalg.qr(jacobian())[0]
    assert abs(value(q, probes=8, n=4000).mean().item()) < 0.01
    same = q[:, :1].repeat(1, STYLE + CONTENT)
    assert value(same, probes=200, n=20).mean().item() == pytest.approx(1, rel=0.1)


def test_strength_does_not_matter_and_no_effect_is_no_trouble():
    J = jacobian()
    torch.testing.assert_close(value(J), value(3 * J), rtol=1e-4, atol=1e-6)
    J[:, :STYLE] = 0
    assert value(J).abs().max() == 0


def test_fewer_samples_and_at_least_two_probes():
    term = term_class('G/orth')(batch_shrink=2)
    assert term.num_rows(8) == 4 and term.num_rows(1) == 1 and term.interval == 4
    with pytest.raises(ValueError, match='two of them'):
        term_class('G/orth')(probes=1)
