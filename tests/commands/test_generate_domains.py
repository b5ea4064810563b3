"""`generate.py domains`: which image stands where, truncation towards each domain's own mean, captions, errors."""

import itertools
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing
from helpers.drawing import assert_close, assert_refused, cells_of, draw, own_mean, seed_latent

from training.sampling import captioned_grid as grid
from training.sampling import drawing as common

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def flow(tmp_path_factory):
    """Three domains, 16x16, RGB, moved by a flow."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', 3, cond_mode='flow', i_dim=4)


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Two classes, 8x8, greyscale, label joined to z."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'grey.pkl', 2, resolution=8, channels=1)


def picture(network, *args, outdir='out'):
    result = draw('domains', network, *args, outdir=outdir)
    assert list(result) == ['domains.png']
    return result['domains.png']


def expected(network, seed, domain, psi=1, w_mean=None, **kwargs):
    G = drawing.load(network)
    ws = G.mapping(seed_latent(seed), drawing.one_hot(G, domain))
    if psi != 1:
        w_mean = own_mean(G, domain) if w_mean is None else w_mean
        ws = w_mean + psi * (ws - w_mean)
    return drawing.pixels(G, ws, **kwargs)


def write_dataset(path, content):
    with zipfile.ZipFile(path, 'w') as f:
        with f.open('0.png', 'w') as image:
            PIL.Image.new('RGB', (4, 4)).save(image, format='PNG')
        f.writestr('dataset.json', json.dumps(content))
    return path


# Which image stands where.

def test_a_row_is_a_seed_and_a_column_a_domain(flow):
    result = picture(flow)
    assert result.shape == (8 * 16, 3 * 16, 3)
    cells = cells_of(result, 8, 3)
    for seed, domain in itertools.product(range(8), range(3)):
        assert_close(cells[seed, domain], expected(flow, seed, domain))
    everything = [cell for row in cells for cell in row]
    assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.combinations(everything, 2)) > 4


def test_rows_and_columns_can_be_exchanged(flow):
    by_column = cells_of(picture(flow, '--seeds=0-5', '--layout=columns', outdir='a'), 6, 3)
    by_row = cells_of(picture(flow, '--seeds=0-5', '--layout=rows', outdir='b'), 3, 6)
    assert_close(by_row, by_column.swapaxes(0, 1))


def test_seeds_and_domains_keep_the_order_in_which_they_are_given(flow):
    cells = cells_of(picture(flow, '--seeds=70000,1,5', '--domains=2,0'), 3, 2)
    for (row, seed), (column, domain) in itertools.product(enumerate([70_000, 1, 5]), enumerate([2, 0])):
        assert_close(cells[row, column], expected(flow, seed, domain))


def test_greyscale_networks_draw_greyscale_pictures(grey):
    cells = cells_of(picture(grey, '--seeds=3,4'), 2, 2)
    assert cells.shape == (2, 2, 8, 8, 1)
    for (row, seed), domain in itertools.product(enumerate([3, 4]), range(2)):
        assert_close(cells[row, domain], expected(grey, seed, domain))


def test_an_image_does_not_depend_on_the_others(flow):
    cells = cells_of(picture(flow, '--seeds=0-9', outdir='all'), 10, 3)
    alone = picture(flow, '--seeds=7', '--domains=1', outdir='alone')
    assert_close(alone, cells[7, 1])


def test_noise_modes(flow):
    none = cells_of(picture(flow, '--seeds=4,2', '--noise_mode=none', outdir='none'), 2, 3)
    assert_close(none[1, 2], expected(flow, 2, 2, noise_mode='none'))
    # Random noise belongs to the seed: the same in every domain, and as `generate.py images` has it.
    random = cells_of(picture(flow, '--seeds=4,2', '--noise-mode=random', outdir='random'), 2, 3)
    for domain in range(3):
        images = draw('images', flow, '--seeds=2', f'--class={domain}', '--noise-mode=random', outdir=f'{domain}')
        np.testing.assert_array_equal(random[1, domain], images['seed0002.png'])
    assert np.abs(random[1].astype(int) - none[1]).mean() > 2
    mean_images = cells_of(picture(flow, '--seeds=4,2', '--noise-mode=random', '--trunc=0', outdir='means'), 2, 3)
    assert np.abs(mean_images[0].astype(int) - mean_images[1]).mean() > 2  # the noise is all that differs between seeds


# Truncation.

@pytest.mark.parametrize('psi', [0.5, -1])
def test_images_are_truncated_towards_the_mean_of_their_own_domain(flow, psi):
    cells = cells_of(picture(flow, '--seeds=0-5', f'--trunc={psi}'), 6, 3)
    for seed, domain in itertools.product(range(6), range(3)):
        assert_close(cells[seed, domain], expected(flow, seed, domain, psi))
    w_avg = drawing.load(flow).mapping.w_avg
    assert np.abs(cells[0, 0].astype(int) - expected(flow, 0, 0, psi, w_avg)).mean() > 2
    assert np.abs(cells[0, 0].astype(int) - expected(flow, 0, 0, psi, own_mean(drawing.load(flow), 1))).max() > 2


def test_full_truncation_leaves_one_image_for_each_domain(flow):
    cells = cells_of(picture(flow, '--seeds=0-2', '--trunc=0', '--domains=1,0'), 3, 2)
    assert_close(cells[0], cells[1])
    assert_close(cells[0], cells[2])
    assert np.abs(cells[0, 0].astype(int) - cells[0, 1]).max() > 2


def test_the_mean_of_a_domain(flow):
    G = drawing.load(flow)
    means = [common.domain_w_mean(G, drawing.one_hot(G, domain)) for domain in range(3)]
    for domain, mean in enumerate(means):
        assert mean.shape == (8,) and mean.dtype == torch.float32
        torch.testing.assert_close(mean, own_mean(G, domain), rtol=1e-4, atol=1e-5)
        assert torch.equal(mean, common.domain_w_mean(G, drawing.one_hot(G, domain)))
    assert (means[0] - means[1]).abs().max() > 1e-2
    z = torch.from_numpy(np.random.RandomState(5).randn(1500, 8)).float()
    w = G.mapping(z, drawing.one_hot(G, 2).repeat(1500, 1))[:, 0]
    torch.testing.assert_close(common.domain_w_mean(G, drawing.one_hot(G, 2), num_latents=1500, seed=5), w.mean(dim=0))


def test_without_truncation_no_mean_is_sought(flow, monkeypatch):
    def must_not_run(*_):
        raise AssertionError

    monkeypatch.setattr(common, 'domain_w_mean', must_not_run)
    picture(flow, '--seeds=0', '--trunc=1')
    with pytest.raises(AssertionError):
        drawing.run('domains', f'--network={flow}', '--outdir=out', '--trunc=0.9')


# Captions.

def test_captions_stand_in_margins_around_the_same_pixels(flow):
    plain = picture(flow, '--seeds=0-3', outdir='plain')
    labelled = picture(flow, '--seeds=0-3', '--labels=1', outdir='labelled')
    margin_y, margin_x = (np.array(labelled.shape) - plain.shape)[:2]
    assert margin_y >= 10 and margin_x >= 10
    np.testing.assert_array_equal(labelled[margin_y:, margin_x:], plain)
    strips = np.split(labelled[margin_y:, :margin_x], 4)
    headings = np.split(labelled[:margin_y, margin_x:], 3, axis=1)
    for text in (labelled[:margin_y, :margin_x], *strips, *headings):
        assert text.min() < 100 and np.median(text) == 255
    for texts in (strips, headings):
        assert len({text.tobytes() for text in texts}) == len(texts)


def test_captions_name_the_seeds_and_domains_of_their_rows_and_columns(flow):
    def margins(*args):
        result = picture(flow, '--labels=1', *args)
        top, left = result.shape[0] - 32, result.shape[1] - 32
        return [strip.tobytes() for strip in (*np.split(result[top:, :left], 2), *np.split(result[:top, left:], 2, axis=1))]

    first, second, left, right = margins('--seeds=1,0', '--domains=0,1')
    assert margins('--seeds=0,1', '--domains=1,0') == [second, first, right, left]
    assert first != second and left != right
    # Here rows are domains, and say so in the corner, which makes the margin wider.
    exchanged = margins('--seeds=1,0', '--domains=0,1', '--layout=rows')
    assert exchanged[2:] == [right, left] and len(exchanged[0]) > len(first)


@pytest.mark.parametrize('layout', ['columns', 'rows'])
def test_every_caption_stands_at_its_own_images(flow, layout):
    data = write_dataset('named.zip', {'domains': ['', 'i', 'aa']})
    result = picture(flow, '--seeds=1,44', '--labels=1', f'--layout={layout}', f'--data={data}')[:, :, 0]
    rows, columns = (2, 3) if layout == 'columns' else (3, 2)
    top, left = result.shape[0] - 16 * rows, result.shape[1] - 16 * columns
    for texts in (np.split(result[top:, :left], rows), np.split(result[:top, left:], columns, axis=1)):
        ink = [int((255 - text.astype(int)).sum()) for text in texts]
        assert ink == sorted(set(ink)) and (ink[0] == 0) == (len(ink) == 3)


def test_small_images_get_space_for_their_captions(grey):
    plain = cells_of(picture(grey, '--seeds=0-1', outdir='plain'), 2, 2)
    labelled = picture(grey, '--seeds=0-1', '--labels=1', outdir='labelled')
    windows = np.lib.stride_tricks.sliding_window_view(labelled[:, :, 0], (8, 8))
    places = [[np.argwhere((windows == cell[:, :, 0]).all(axis=(2, 3))).tolist() for cell in row] for row in plain]
    assert all(len(place) == 1 for row in places for place in row)
    ys = [{row[0][0][0], row[1][0][0]} for row in places]
    assert all(len(y) == 1 for y in ys) and min(ys[1]) - min(ys[0]) >= 10
    assert places[0][0][0][1] == places[1][0][0][1] and places[0][1][0][1] - places[0][0][0][1] >= 8


def test_domains_are_named_by_the_dataset_that_is_given(flow):
    args = '--seeds=0', '--labels=1', '--layout=rows'
    numbered = picture(flow, *args, outdir='a')
    write_dataset('same.zip', {'domains': ['0', '1', '2']})
    np.testing.assert_array_equal(picture(flow, *args, '--data=same.zip', outdir='b'), numbered)
    write_dataset('named.zip', {'domains': ['0', 'landscapes in winter', '2']})
    named = picture(flow, *args, '--data=named.zip', outdir='c')
    assert named.shape[0] == numbered.shape[0] and named.shape[1] > numbered.shape[1] + 30


def test_odd_names_of_domains_do_no_harm(flow):
    odd = write_dataset('odd.zip', {'domains': ['a\nb', '', 'x' * 10_000]})
    tidy = write_dataset('tidy.zip', {'domains': ['a b', '', 'x' * 24]})
    args = '--seeds=0', '--labels=1', '--layout=rows'
    odd, tidy = (picture(flow, *args, f'--data={data}', outdir=f'{data}-out') for data in (odd, tidy))
    np.testing.assert_array_equal(odd, tidy)


def test_a_path_in_the_snapshot_is_not_opened(tmp_path):
    data = write_dataset(tmp_path / 'named.zip', {'domains': ['landscapes in winter', 'b']})
    told, untold = (drawing.save_network(tmp_path / name, 2, training_set_kwargs=kwargs)
                    for name, kwargs in (('told.pkl', dict(path=str(data))), ('untold.pkl', {})))
    args = '--seeds=0', '--labels=1', '--layout=rows'
    np.testing.assert_array_equal(picture(told, *args, outdir='a'), picture(untold, *args, outdir='b'))


# As the published sample.py.

def test_a_network_alone_makes_twenty_pictures_of_two_latents(flow):
    assert drawing.run('domains', str(flow), '--device=cpu')[0] == 0
    assert sorted(path.name for path in Path('results/transgan_faces').iterdir()) == sorted(f'faces{i}.jpg' for i in range(20))
    with PIL.Image.open('results/transgan_faces/faces3.jpg') as image:
        assert image.format == 'JPEG' and image.size == (3 * 16, 2 * 16)
        cells = cells_of(np.asarray(image).astype(int), 2, 3)
    for row, domain in itertools.product(range(2), range(3)):
        assert np.abs(cells[row, domain] - expected(flow, 6 + row, domain, 0.7)).mean() < 4  # but for JPEG


def test_pictures_of_so_many_seeds_each(flow):
    whole = picture(flow, '--seeds=0-4', outdir='whole')
    assert drawing.run('domains', str(flow), '--seeds=0-4', '--rows=3', '--trunc=1', '--outdir=parts', '--device=cpu')[0] == 0
    parts = [np.asarray(PIL.Image.open(f'parts/faces{i}.jpg')).astype(int) for i in range(2)]
    assert [len(part) for part in parts] == [48, 32] and len(os.listdir('parts')) == 2
    assert np.abs(np.concatenate(parts) - whole).mean() < 4


def test_the_network_is_given_once(flow):
    assert_refused(2, 'give the network once', 'domains', flow, str(flow))
    assert "Missing option '--network'" in drawing.run('domains', '--outdir=x')[2]
    assert "Missing option '--outdir'" in drawing.run('domains', f'--network={flow}')[2]


# Errors.

def test_wrong_options_are_refused(flow):
    for domains in ('3', '0,3', '-1'):
        assert_refused(2, '--domains must be between 0 and 2', 'domains', flow, f'--domains={domains}')
    for seeds in ('-1', '4294967296'):
        assert_refused(2, '--seeds must be between 0 and 4294967295', 'domains', flow, f'--seeds={seeds}')
    for psi in ('nan', 'inf'):
        assert_refused(2, '--trunc must be a finite number', 'domains', flow, f'--trunc={psi}')
    assert_refused(2, '--layout', 'domains', flow, '--layout=diagonal')
    assert_refused(2, '--data can only be specified with --labels=1', 'domains', flow, '--data=x.zip')


def test_a_network_without_domains_is_refused(tmp_path):
    network = drawing.save_network(tmp_path / 'plain.pkl', 0)
    assert_refused(1, 'plain.pkl: has no domains', 'domains', network)


@pytest.mark.parametrize('content', [{}, {'domains': ['a', 'b']}, {'domains': list('abcd')}])
def test_a_dataset_of_other_domains_is_refused(flow, content):
    data = write_dataset('other.zip', content)
    assert_refused(1, 'other.zip: its dataset.json names', 'domains', flow, '--labels=1', f'--data={data}')


def test_a_dataset_that_cannot_be_read_is_named(flow):
    assert_refused(1, 'gone.zip: no such file', 'domains', flow, '--labels=1', '--data=gone.zip')


def test_a_picture_that_nothing_could_open_is_refused(flow, monkeypatch):
    monkeypatch.setattr(grid, 'MOST_PIXELS', 16 * 16 * 3 * 4)
    picture(flow, '--seeds=0-3')
    assert_refused(2, 'ask for fewer --seeds or --domains', 'domains', flow, '--seeds=0-4')
