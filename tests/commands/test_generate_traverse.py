"""`generate.py traverse`: which coordinates, how far they move, what the heat map and the numbers show, errors."""

import itertools

import numpy as np
import pytest
import torch
from helpers import drawing
from helpers.drawing import assert_close, assert_refused, cells_of, draw, own_mean, seed_latent

from training.sampling import captioned_grid as grid
from training.sampling import drawing as common
from training.sampling.axes import Coordinates, Directions
from training.sampling.commands import traverse

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Two domains, 8x8, RGB. Of six style coordinates, 4, 0 and 3 live, in this order of importance."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', 2, resolution=8, cond_mode='flow', i_dim=6,
                                importance=[0.8, -2.0, 0.05, 0.2, 1.5, -0.01])


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Two domains by an MLP each, 8x8, greyscale, a single living style coordinate."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'mlp.pkl', 2, resolution=8, channels=1, cond_mode='mlp', i_dim=3,
                                importance=[0.0, 0.0, 1.0])


@pytest.fixture(scope='module')
def concat(tmp_path_factory):
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'concat.pkl', 2, resolution=8)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'plain.pkl', 0, resolution=8)


def picture(network, *args, seed=0, outdir='out'):
    result = draw('traverse', network, *args, outdir=outdir)
    assert list(result) == [f'traverse-seed{seed:04d}.png']
    return result[f'traverse-seed{seed:04d}.png']


def cells(network, rows, steps, *args, **kwargs):
    """[rows, steps, H, W, C] images and [rows, H, W, C] heat maps of a picture without captions."""
    result = cells_of(picture(network, '--labels=0', *args, **kwargs), rows, steps + 1)
    return result[:, :-1], result[:, -1]


class Moved:
    """x(t) = the image of seed's latent whose coordinate j was moved by t, by the book."""

    def __init__(self, network, seed, domain, psi=1, w_mean=None):
        self.G = drawing.load(network)
        self.label = drawing.one_hot(self.G, domain) if self.G.c_dim else torch.zeros(1, 0)
        self.u = self.G.mapping.latent(seed_latent(seed), self.label)
        self.psi, self.w_mean = psi, (own_mean(self.G, domain) if w_mean is None and psi != 1 else w_mean)

    def ws(self, j, t):
        u = self.u.clone()
        u[0, j] = u[0, j] + t
        ws = self.G.mapping.map_latent(u)
        return ws if self.psi == 1 else self.w_mean + self.psi * (ws - self.w_mean)

    def pixels(self, j, t):
        return drawing.pixels(self.G, self.ws(j, t))

    def jacobian(self, j):
        """|dx/du_j| [C, H, W] by reverse-mode differentiation, twice: v J is linear in v, and its gradient is J."""
        t = torch.zeros([], requires_grad=True)
        image = self.G.synthesis(self.ws(j, t), noise_mode='const')
        v = torch.zeros_like(image, requires_grad=True)
        product, = torch.autograd.grad(image, t, v, create_graph=True)
        return torch.autograd.grad(product, v)[0][0].abs()

    def heat_map(self, j):
        strength = self.jacobian(j).mean(dim=0)
        return np.rint((strength / strength.max() * 255).numpy())[:, :, None]


def assert_shows(network, images, maps, coordinates, shifts, seed=0, domain=0, **kwargs):
    moved = Moved(network, seed, domain, **kwargs)
    for (row, j), (column, shift) in itertools.product(enumerate(coordinates), enumerate(shifts)):
        assert_close(images[row, column], moved.pixels(j, shift))
    for row, j in enumerate(coordinates):
        assert_close(maps[row], np.broadcast_to(moved.heat_map(j), maps[row].shape))


# Images and heat maps.

def test_living_style_coordinates_are_moved_the_most_important_first(network):
    shifts = [-2, -4 / 3, -2 / 3, 0, 2 / 3, 4 / 3, 2]
    images, maps = cells(network, 3, 7, '--class=1')
    assert_shows(network, images, maps, [4, 0, 3], shifts, domain=1)
    for row in range(3):  # each row and each step shows something else
        assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.pairwise(images[row])) > 2
        assert maps[row].max() == 255 and maps[row].min() < 128
    assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.combinations(images[:, 0], 2)) > 2
    assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.combinations(maps, 2)) > 2


def test_the_middle_column_is_the_unmoved_image(network):
    images, _ = cells(network, 3, 5, '--class=1', '--steps=5', '--seeds=9', seed=9)
    unmoved = draw('images', network, '--class=1', '--seeds=9', outdir='images')['seed0009.png']
    for row in images:
        assert_close(row[2], unmoved)


def test_span_and_steps(network):
    images, maps = cells(network, 3, 3, '--class=0', '--steps=3', '--span=0.5')
    assert_shows(network, images, maps, [4, 0, 3], [-0.5, 0, 0.5])


def test_rows_limits_how_many(network):
    images, maps = cells(network, 2, 3, '--class=0', '--steps=3', '--rows=2')
    assert_shows(network, images, maps, [4, 0], [-2, 0, 2])


def test_at_most_sixteen_rows_unless_told(tmp_path):
    importance = torch.linspace(1, 2, 20).tolist()
    many = drawing.save_network(tmp_path / 'many.pkl', 2, resolution=8, z_dim=24, cond_mode='flow', i_dim=20,
                                importance=importance)
    args = '--class=0', '--steps=3', '--labels=0'
    assert picture(many, *args, outdir='a').shape == (16 * 8, 4 * 8, 3)
    longer = picture(many, *args, '--rows=99', outdir='b')
    assert longer.shape == (20 * 8, 4 * 8, 3)
    chosen = picture(many, *args, f'--coordinates={",".join(map(str, range(19, -1, -1)))}', outdir='c')
    np.testing.assert_array_equal(chosen, longer)


def test_coordinates_of_ones_own_choice(network):
    chosen = [7, 1, 4, 2]  # content, dead with an importance below 0, living, dead
    images, maps = cells(network, 4, 3, '--class=0', '--steps=3', '--coordinates=7,1,4,2')
    assert_shows(network, images, maps, chosen, [-2, 0, 2])


def test_a_single_coordinate_of_a_greyscale_network(grey):
    images, maps = cells(grey, 1, 3, '--class=1', '--steps=3', '--seeds=5', seed=5)
    assert images.shape == (1, 3, 8, 8, 1)
    assert_shows(grey, images, maps, [2], [-2, 0, 2], seed=5, domain=1)


def test_truncation_is_towards_the_mean_of_the_own_domain(network):
    images, maps = cells(network, 3, 3, '--class=1', '--steps=3', '--trunc=0.5')
    assert_shows(network, images, maps, [4, 0, 3], [-2, 0, 2], domain=1, psi=0.5)
    for other in (drawing.load(network).mapping.w_avg, own_mean(drawing.load(network), 0)):
        with pytest.raises(AssertionError):
            assert_close(images[0, 1], Moved(network, 0, 1, 0.5, other).pixels(4, 0))


def test_every_seed_has_its_picture_which_depends_on_nothing_else(network):
    pictures = draw('traverse', network, '--class=0', '--seeds=3,70000', outdir='both')
    assert sorted(pictures) == ['traverse-seed0003.png', 'traverse-seed70000.png']
    np.testing.assert_array_equal(picture(network, '--class=0', '--seeds=70000', seed=70_000), pictures['traverse-seed70000.png'])
    assert not np.array_equal(*pictures.values())


def test_networks_without_style_coordinates_can_be_traversed_too(concat, plain):
    images, maps = cells(concat, 2, 3, '--class=1', '--steps=3', '--coordinates=7,0', outdir='a')
    assert_shows(concat, images, maps, [7, 0], [-2, 0, 2], domain=1)
    images, maps = cells(plain, 1, 3, '--steps=3', '--coordinates=3', '--trunc=0.7', outdir='b')
    assert_shows(plain, images, maps, [3], [-2, 0, 2], psi=0.7)


# Numbers.

def test_numbers_stand_in_margins_around_the_same_pixels(grey, network):
    unlabelled = cells_of(picture(network, '--class=0', '--labels=0', outdir='a'), 3, 8)
    labelled = picture(network, '--class=0', outdir='b')
    assert labelled.shape[0] >= 3 * 13 + 10 and labelled.shape[1] > 8 * 8 + 100
    windows = np.lib.stride_tricks.sliding_window_view(labelled, (8, 8, 3))[:, :, 0]
    for cell in unlabelled.reshape(-1, 8, 8, 3):
        assert (windows == cell).all(axis=(2, 3, 4)).any()
    assert picture(grey, '--class=0', outdir='c').shape[2] == 1


def test_captions_tell_coordinate_importance_and_effect(network):
    coordinates = Coordinates(drawing.load(network), 'net')
    captions = traverse.make_captions(coordinates, [4, 1, 5, 6], [-1.0, 0.0, 1 / 3], [0.12345, 2.0, 1.0, 1e-7])
    assert captions.columns == ['-1', '0', '+0.33', 'where']
    assert captions.rows == [('4', '1.50', '0.123'), ('1', '-2.00', '2.00'), ('5', '-0.01', '1.00'), ('6', '-', '1.00e-07')]
    assert len(captions.corner) == 3


def test_captions_of_a_network_without_importance(concat):
    assert traverse.make_captions(Coordinates(drawing.load(concat), 'net'), [0], [0.0], [0.5]).rows == [('0', '-', '0.500')]


def test_the_effect_is_the_mean_of_the_exact_jacobian(network):
    moved = Moved(network, 3, 1)
    effects, maps = traverse.effects_of(moved.G, moved.G.mapping.map_latent, moved.u, [4, 7])
    expected = [moved.jacobian(j).mean().item() for j in (4, 7)]
    assert effects == pytest.approx(expected, rel=1e-4) and min(expected) > 1e-4
    assert maps.shape == (2, 8, 8) and maps.dtype == np.uint8


def test_what_has_no_effect_has_a_black_map(network):
    moved = Moved(network, 3, 1)
    effects, maps = traverse.effects_of(moved.G, lambda u: moved.G.mapping.map_latent(0 * u), moved.u, [4])
    assert effects == [0] and maps.max() == 0


@pytest.mark.parametrize('batch', [1, 2, 5])
def test_the_size_of_a_batch_does_not_matter(network, monkeypatch, batch):
    expected, expected_maps = cells(network, 3, 3, '--class=0', '--steps=3', outdir='a')
    monkeypatch.setattr(common, 'BATCH', batch)
    images, maps = cells(network, 3, 3, '--class=0', '--steps=3', outdir='b')
    assert_close(images, expected)
    assert_close(maps, expected_maps)


# Directions of w.

def test_principal_components_of_w_are_moved_by_deviations(plain):
    images, _ = cells(plain, 2, 3, '--steps=3', '--span=1.5', '--directions=pca', '--rows=2')
    G = drawing.load(plain)
    z = torch.from_numpy(np.random.RandomState(0).randn(2000, G.z_dim)).float()
    w = G.mapping(z, torch.zeros(2000, 0))[:, 0].double().numpy()
    _, deviations, directions = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    ws = G.mapping(seed_latent(0), torch.zeros(1, 0))
    for row in range(2):
        direction = directions[row] * np.sign(directions[row][np.abs(directions[row]).argmax()])
        step = torch.from_numpy(1.5 * direction * deviations[row] / np.sqrt(1999)).float()
        for column, shift in enumerate((-1, 0, 1)):
            assert_close(images[row, column], drawing.pixels(G, ws + shift * step))


def test_sefa_follows_what_the_layers_amplify(network):
    G = drawing.load(network)
    layers = [m.affine for m in G.synthesis.modules() if hasattr(m, 'affine')]
    A = torch.cat([layer.weight for layer in layers]).double() * layers[0].weight_gain
    directions = Directions(G, 'sefa', drawing.one_hot(G, 1))
    amplified = (A @ (directions.steps.double() / directions.steps.double().norm(dim=1, keepdim=True)).T).square().sum(dim=0)
    assert amplified.tolist() == pytest.approx(sorted(amplified.tolist(), reverse=True))
    assert directions.shares == pytest.approx((amplified / amplified.sum()).tolist()) and len(layers) == 5
    images, maps = cells(network, 3, 3, '--class=1', '--steps=3', '--directions=sefa', '--coordinates=0,2,1')
    assert len({image.tobytes() for image in images[:, 0]}) == 3 and maps.max() == 255


def test_directions_are_named_in_the_margin(network):
    directions = Directions(drawing.load(network), 'pca', drawing.one_hot(drawing.load(network), 0))
    captions = traverse.make_captions(directions, [0, 1], [0.0], [1, 1])
    assert captions.corner == ('component', 'variance', '|dx/du|') and captions.rows[0][1].endswith('%')
    assert_refused(2, '--coordinates must be between 0 and 7', 'traverse', network, '--class=0', '--directions=pca',
                   '--coordinates=8')


# Errors.

@pytest.mark.parametrize('text, args', [
    ('--steps must be odd and at least 3', ['--steps=4']), ('--steps must be odd and at least 3', ['--steps=1']),
    ('--steps must be odd and at least 3', ['--steps=-3']), ('--span must be positive', ['--span=0']),
    ('--span must be positive', ['--span=-1']), ('--span must be a finite number', ['--span=nan']),
    ('--trunc must be a finite number', ['--trunc=inf']), ('--rows must be at least 1', ['--rows=0']),
    ('--rows can only be specified without --coordinates', ['--rows=2', '--coordinates=1']),
    ('--coordinates must be between 0 and 7', ['--coordinates=8']),
    ('--coordinates must be between 0 and 7', ['--coordinates=1,-1']),
    ('--seeds must be between 0 and 4294967295', ['--seeds=4294967296']), ('--class must be between 0 and 1', ['--class=2'])])
def test_wrong_options_are_refused(network, text, args):
    assert_refused(2, text, 'traverse', network, '--class=0', *args)


def test_a_conditional_network_needs_a_class(network):
    assert_refused(2, 'Must specify class label with --class', 'traverse', network)


def test_networks_without_style_coordinates_need_a_choice(concat, plain):
    text = 'has no style coordinates (trained with --cond_mode=concat); choose coordinates of the latent with --coordinates'
    assert_refused(1, f'concat.pkl: {text}', 'traverse', concat, '--class=0')
    assert_refused(1, 'plain.pkl: has no style coordinates (trained without --cond=1); choose', 'traverse', plain)


def test_without_a_living_style_coordinate_there_is_a_remedy(tmp_path):
    dead = drawing.save_network(tmp_path / 'dead.pkl', 2, resolution=8, cond_mode='flow', i_dim=3, importance=[0.1, -3.0, 0.0])
    text = 'dead.pkl: no style coordinate lives (no importance is above 0.1); choose some with --coordinates'
    assert_refused(1, text, 'traverse', dead, '--class=0')
    assert cells(dead, 3, 3, '--class=0', '--steps=3', '--coordinates=0-2')[0].shape == (3, 3, 8, 8, 3)


def test_a_picture_that_nothing_could_open_is_refused(network, monkeypatch):
    monkeypatch.setattr(grid, 'MOST_PIXELS', 8 * 8 * 3 * 8)
    picture(network, '--class=0')
    assert_refused(2, 'ask for fewer --coordinates, --rows or --steps', 'traverse', network, '--class=0', '--steps=9')
