"""`generate.py video`: which frames there are, keyframes, domains, loops, errors."""

import itertools

import numpy as np
import PIL.Image
import PIL.ImageSequence
import pytest
from helpers import drawing
from helpers.drawing import assert_close, cells_of, own_mean, seed_latent
from scipy.interpolate import interp1d

from training.sampling import captioned_grid as grid
from training.sampling import movie
from training.sampling.commands import video

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def rgb(tmp_path_factory):
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'rgb.pkl', 0)


@pytest.fixture(scope='module')
def flow(tmp_path_factory):
    """Three domains, 16x16."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', 3, cond_mode='flow', i_dim=4)


@pytest.fixture
def frames(monkeypatch):
    """frames(network, *args): the frames that were to be written, uint8 [F, H, W, C], and their rate."""
    written = []
    monkeypatch.setattr(movie, 'write_movie', lambda path, frames, count, fps, megabits: written.append(
        (path, np.stack(list(frames)), count, fps, megabits)))

    def call(network, *args):
        status, _, err = drawing.run('video', f'--network={network}', '--output=a.mp4', '--device=cpu', *args)
        assert (status, err) == (0, '')
        path, images, count, fps, megabits = written.pop()
        assert path.name == 'a.mp4' and len(images) == count and megabits == 12
        return images, fps

    return call


def refused(text, *args, status=2):
    got, _, err = drawing.run('video', '--device=cpu', *args)
    assert got == status and text in err.splitlines()[-1] and 'Traceback' not in err


def image(network, seed, label=None, psi=1):
    G = drawing.load(network)
    ws = G.mapping(seed_latent(seed), None if label is None else drawing.one_hot(G, label))
    mean = G.mapping.w_avg if label is None else own_mean(G, label)
    return drawing.pixels(G, mean + psi * (ws - mean))


def test_keyframes_are_the_images_of_the_seeds_cell_by_cell(rgb, frames):
    images, fps = frames(rgb, '--seeds=0-11', '--grid=3x2', '--w-frames=4')
    assert fps == 60 and images.shape == (8, 32, 48, 3)
    for keyframe in range(2):
        cells = cells_of(images[4 * keyframe], 2, 3).reshape(6, 16, 16, 3)
        for cell in range(6):
            assert_close(cells[cell], image(rgb, 2 * cell + keyframe))


def test_frames_between_are_on_the_published_curve(rgb, frames):
    images, _ = frames(rgb, '--seeds=0-3', '--w-frames=5', '--fps=30')
    G = drawing.load(rgb)
    w = np.concatenate([G.mapping(seed_latent(seed), None)[:, 0].numpy() for seed in range(4)])
    curve = interp1d(np.arange(-8, 12), np.tile(w, [5, 1]), kind='cubic', axis=0)
    for frame in range(20):
        ws = seed_latent(0).new_tensor(curve(frame / 5)).expand(1, G.num_ws, -1)
        assert_close(images[frame], drawing.pixels(G, ws))


@pytest.mark.parametrize('make', [video.loop, video.spherical_loop])
@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_loops_go_through_their_keys_and_close(make, count):
    keys = np.random.RandomState(0).randn(2, count, 5)
    at = make(keys)
    for k in range(count):
        np.testing.assert_allclose(at(k), keys[:, k], atol=1e-9)
    np.testing.assert_allclose(at(count), keys[:, 0], atol=1e-9)
    step = 1e-4
    before, after = (at(0) - at(-step)) / step, (at(step) - at(0)) / step
    np.testing.assert_allclose(before, after, atol=1e-2)


def test_in_z_every_vector_is_about_as_long_as_a_draw(rgb, frames):
    keys = np.random.RandomState(0).randn(3, 4, 64)
    lengths = np.array([np.linalg.norm(video.spherical_loop(keys)(t), axis=-1) for t in np.linspace(0, 4, 41)])
    assert lengths.min() > 6 and lengths.max() < 10
    assert min(np.linalg.norm(video.loop(keys)(t), axis=-1).min() for t in np.linspace(0, 4, 41)) < 6.2
    z, _ = frames(rgb, '--seeds=0-3', '--w-frames=4', '--space=z')
    w, _ = frames(rgb, '--seeds=0-3', '--w-frames=4')
    for k in range(4):
        assert_close(z[4 * k], w[4 * k])
    assert np.abs(z[2].astype(int) - w[2]).max() > 4


def test_of_all_classes_the_rows_are_the_domains_of_the_same_latents(flow, frames):
    images, _ = frames(flow, '--seeds=0-3', '--grid=2x1', '--class=all', '--w-frames=3', '--trunc=0.6')
    assert images.shape == (6, 48, 32, 3)
    cells = cells_of(images[3], 3, 2)
    for domain, column in itertools.product(range(3), range(2)):
        assert_close(cells[domain, column], image(flow, 2 * column + 1, domain, 0.6))
    one, _ = frames(flow, '--seeds=0-3', '--grid=2x1', '--class=1', '--w-frames=3', '--trunc=0.6')
    np.testing.assert_array_equal(one, images[:, 16:32])


def test_morphing_goes_through_the_domains(flow, frames):
    images, _ = frames(flow, '--seeds=4,9', '--grid=1x2', '--morph=1', '--w-frames=4')
    assert images.shape == (12, 32, 16, 3)
    for domain, (row, seed) in itertools.product(range(3), enumerate((4, 9))):
        assert_close(images[4 * domain, 16 * row:16 * row + 16], image(flow, seed, domain))


def test_seeds_are_used_again_or_shuffled(rgb, frames):
    images, _ = frames(rgb, '--seeds=0-2', '--num-keyframes=5', '--w-frames=1')
    for frame, seed in enumerate((0, 1, 2, 0, 1)):
        assert_close(images[frame], image(rgb, seed))
    shuffled, _ = frames(rgb, '--seeds=0-3', '--shuffle-seed=5', '--w-frames=1')
    order = np.arange(4)
    np.random.RandomState(5).shuffle(order)
    for frame, seed in enumerate(order):
        assert_close(shuffled[frame], image(rgb, seed))
    args = '--seeds=0-5', '--num-keyframes=2', '--w-frames=1'
    status, out, _ = drawing.run('video', f'--network={rgb}', '--output=b.mp4', *args)
    assert status == 0 and 'warn: only the first 2 of 6 seeds are used' in out


@pytest.mark.parametrize('suffix', ['gif', 'webp'])
def test_a_movie_is_written(flow, suffix):
    status, out, _ = drawing.run('video', f'--network={flow}', f'--output=new/a.{suffix}', '--seeds=0-1', '--class=0',
                                 '--w-frames=5', '--fps=10', '--device=cpu')
    assert status == 0 and out.splitlines()[-1].endswith(f'a.{suffix}: 10 frames, 1.0 s')
    with PIL.Image.open(f'new/a.{suffix}') as written:
        shown = [np.asarray(frame.convert('L')).astype(int) for frame in PIL.ImageSequence.Iterator(written)]
    assert len(shown) == 10
    differences = [np.abs(shown[5] - PIL.Image.fromarray(image(flow, seed, 0)).convert('L')).mean() for seed in (0, 1)]
    assert differences[1] < min(15, differences[0] / 2)  # colours are coarser


def test_wrong_options_are_refused(rgb, flow, monkeypatch):
    args = f'--network={rgb}', '--output=a.gif'
    refused('Number of input seeds must be divisible by grid W*H', *args, '--seeds=0-4', '--grid=2x1')
    refused("'2by1' is no grid of columns x rows such as 4x2", *args, '--seeds=0', '--grid=2by1')
    refused('is no grid', *args, '--seeds=0', '--grid=0x1')
    refused("Missing option '--seeds'", *args)
    refused('a.avi: a movie is one of *.mp4, *.gif, *.webp', f'--network={rgb}', '--output=a.avi', '--seeds=0')
    refused('--morph=1 can only be specified without', *args, '--seeds=0', '--morph=1', '--class=0')
    refused('has no domains to go through', *args, '--seeds=0', '--morph=1', status=1)
    args = f'--network={flow}', '--output=a.gif'
    refused('Must specify class label with --class', *args, '--seeds=0')
    refused('--grid must be 4x1 with --class=all', *args, '--seeds=0-7', '--class=all', '--grid=4x2')
    monkeypatch.setattr(grid, 'MOST_PIXELS', 500)
    refused('ask for a smaller --grid', *args, '--seeds=0', '--class=all')
