"""The metric `jacobian`: exact columns, which coordinates are looked at, and what is said of them."""

import numpy as np
import pytest
import torch
from torch import nn

from metrics import Context
from metrics.domains.jacobian import jacobian
from metrics.domains.sparsity import gini, hoyer
from training.networks import Generator

CPU = torch.device('cpu')


def network(seed=0, c_dim=2, z_dim=6, **mapping):
    torch.manual_seed(seed)
    mapping = dict(num_layers=2, **(mapping or dict(cond_mode='flow', i_dim=3)))
    G = Generator(z_dim=z_dim, c_dim=c_dim, w_dim=8, img_resolution=8, img_channels=3, mapping_kwargs=mapping,
                  synthesis_kwargs=dict(channel_base=64)).eval().requires_grad_(False)
    for name, p in G.named_parameters():
        if name.endswith('noise_strength'):  # so that other than constant noise would show
            p.fill_(0.5)
    return G


class Linear(nn.Module):
    """A generator whose image is A·u, u = z: column j of its Jacobian is row j of `rows` [z_dim, n], as an image [1, 1, n]."""

    def __init__(self, rows, num_style):
        super().__init__()
        self.rows = torch.tensor(rows, dtype=torch.float32)
        self.z_dim, self.c_dim = len(rows), 0
        self.mapping = self.synthesis = self
        self.mask = torch.arange(self.z_dim) < num_style

    def style_mask(self):
        return self.mask

    def latent(self, z, c):
        return z

    def map_latent(self, u):
        return u

    def forward(self, u, **kwargs):
        return (u @ self.rows)[:, None, None]


def test_columns_agree_with_autograd():
    G, context = network(), Context(network(), None, CPU, seed=3)
    G.mapping.importance[0, 1] = context.G.mapping.importance[0, 1] = 0.05  # a pruned coordinate, which is content
    result = jacobian(context, num_latents=4, batch=5)
    assert result.arrays['style_indices'].tolist() == [0, 2] and result.arrays['content_indices'].tolist() == [1, 3, 4, 5]

    u = G.mapping.latent(context.latents(4, 0), torch.eye(2)[[0, 1, 0, 1]])

    def render(row):
        return G.synthesis(G.mapping.map_latent(row), noise_mode='const')

    full = torch.stack([torch.autograd.functional.jacobian(render, row[None])[0, ..., 0, :] for row in u])  # [4, C, H, W, 6]
    columns = full.flatten(1, 3).movedim(2, 0)                                                             # [6, 4, CHW]
    for kind, indices in ('style', [0, 2]), ('content', [1, 3, 4, 5]):
        these, v = columns[indices], result.values
        expected = {'dims': len(indices), 'l1': these.abs().mean(), 'hoyer': hoyer(these).mean(), 'gini': gini(these).mean(),
                    'dead': 0}
        for key, number in expected.items():
            assert v[f'{kind}_{key}'] == pytest.approx(float(number), rel=1e-4), (kind, key)
        np.testing.assert_allclose(result.arrays[f'{kind}_l1'], these.abs().mean(dim=(1, 2)), rtol=1e-4)
        np.testing.assert_allclose(result.arrays[f'{kind}_hoyer'], hoyer(these).mean(dim=1), rtol=1e-4)
    l1 = columns[[0, 2]].abs().mean(dim=(1, 2))
    assert result.values['style_l1_gini'] == pytest.approx(float(gini(l1)), rel=1e-4)
    assert result.values['style_l1_hoyer'] == pytest.approx(float(hoyer(l1)), rel=1e-3)


def test_values_by_hand_and_dead_coordinates():
    rows = [[0, 0, 8, 0], [0, 0, 0, 0], [1, 1, 1, 1], [2, -2, 0, 0], [0, 0, 0, 0], [1e-8, 0, 0, 0]]
    result = jacobian(Context(Linear(rows, num_style=3), None, CPU), num_latents=2)
    assert result.values == pytest.approx({
        'style_dims': 3, 'style_l1': (2 + 0 + 1) / 3, 'style_hoyer': (1 + 0) / 2, 'style_gini': (3 / 4 + 0) / 2, 'style_dead': 1,
        'style_l1_hoyer': (3 ** 0.5 - 3 / 5 ** 0.5) / (3 ** 0.5 - 1), 'style_l1_gini': (-2 * 0 + 0 * 1 + 2 * 2) / (3 * 3),
        'content_dims': 3, 'content_l1': 1 / 3, 'content_hoyer': 2 - 2 ** 0.5, 'content_gini': 1 / 2, 'content_dead': 2})
    np.testing.assert_allclose(result.arrays['style_hoyer'], [1, np.nan, 0], atol=1e-6)


class Rectified(Linear):
    """The image is A·max(u, 0)."""

    def map_latent(self, u):
        return u.relu()


def test_where_a_coordinate_has_no_effect_it_has_no_sparsity():
    G = Rectified([[1e-5, 0, 0, 0], [1e-5, 1e-5, 0, 0], [1, 2, 3, 4]], num_style=2)
    context = Context(G, None, CPU)
    share = (context.latents(10, 0) > 0).double().mean(dim=0)
    assert share[:2].min() > 0 and share[0] != share[1] and share.max() < 1
    values = jacobian(context, num_latents=10).values
    assert values['style_dead'] == values['content_dead'] == 0 and values['content_gini'] == pytest.approx(1 / 4)
    assert values['style_gini'] == pytest.approx(float((3 / 4 * share[0] + 1 / 2 * share[1]) / (share[0] + share[1])))
    assert values['content_l1'] == pytest.approx(2.5 * float(share[2]))


def test_if_everything_is_dead_sparsity_is_undefined():
    values = jacobian(Context(Linear(np.zeros([4, 5]), num_style=2), None, CPU)).values
    assert (values['style_hoyer'], values['content_gini'], values['style_l1_gini'], values['style_l1']) == (None, None, None, 0)
    assert (values['style_dead'], values['content_dead']) == (2, 2)


def test_of_many_content_coordinates_a_seeded_part_is_looked_at():
    rows = np.diag(np.arange(1, 31))
    first, again, other = (jacobian(Context(Linear(rows, num_style=4), None, CPU, seed), num_latents=1, max_content=5)
                           for seed in (0, 0, 1))
    chosen = first.arrays['content_indices']
    assert len(set(chosen)) == 5 and chosen.min() >= 4 and (np.sort(chosen) == chosen).all()
    assert (chosen == again.arrays['content_indices']).all() and (chosen != other.arrays['content_indices']).any()
    assert first.values['content_dims'] == 26 and first.values['style_dims'] == 4
    np.testing.assert_allclose(first.arrays['content_l1'], (chosen + 1) / 30, rtol=1e-6)
    everything = jacobian(Context(Linear(rows, num_style=4), None, CPU), num_latents=1, max_content=26)
    assert everything.arrays['content_indices'].tolist() == list(range(4, 30))


def pruned():
    G = network()
    G.mapping.importance.zero_()
    return G


@pytest.mark.parametrize('make', [lambda: network(cond_mode='concat'), lambda: network(c_dim=0, cond_mode='concat'), pruned])
def test_without_style_coordinates_only_content_has_values(make):
    result = jacobian(Context(make(), None, CPU), num_latents=2)
    assert result.values.pop('style_dims') == 0
    for key, value in result.values.items():
        assert (value is None) == key.startswith('style_'), key
    assert result.values['content_dims'] == 6 and result.values['content_l1'] > 0
    assert len(result.draw().axes[0].patches) == 6


def test_without_content_coordinates_only_style_has_values():
    result = jacobian(Context(network(cond_mode='mlp', i_dim=6), None, CPU), num_latents=2)
    assert result.values.pop('content_dims') == 0
    for key, value in result.values.items():
        assert (value is None) == key.startswith('content_'), key
    assert len(result.draw().axes[0].patches) == 6


def test_without_a_latent_there_is_nothing_to_say():
    result = jacobian(Context(network(z_dim=0, cond_mode='concat'), None, CPU), num_latents=2)
    assert result.values.pop('style_dims') == result.values.pop('content_dims') == 0
    assert set(result.values.values()) == {None}
    result.draw()


def test_batches_make_no_difference():
    whole, parts = (jacobian(Context(network(), None, CPU), num_latents=3, batch=n).values for n in (1000, 4))
    assert whole == pytest.approx(parts, rel=1e-5)


def test_the_seed_alone_decides_and_nothing_else_is_changed():
    G = network()
    before = {key: value.clone() for key, value in G.state_dict().items()}
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = jacobian(Context(G, None, CPU), num_latents=2).values
    assert torch.equal(torch.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()
    torch.manual_seed(2)
    assert jacobian(Context(G, None, CPU), num_latents=2).values == first
    assert jacobian(Context(G, None, CPU, seed=1), num_latents=2).values != first
    assert all(torch.equal(value, before[key]) for key, value in G.state_dict().items())


def test_the_figure_shows_every_coordinate():
    result = jacobian(Context(network(), None, CPU), num_latents=2)
    bars, points = result.draw().axes
    heights = [bar.get_height() for bar in bars.patches]
    expected = [*sorted(result.arrays['style_l1'])[::-1], *sorted(result.arrays['content_l1'])[::-1]]
    np.testing.assert_allclose(heights, expected)
    assert [len(c.get_offsets()) for c in points.collections] == [3, 3]
