"""`generate.py mix`: which layers come from where, which image stands where, the published files, errors."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers import drawing
from helpers.drawing import assert_close, assert_refused, cells_of, draw, seed_latent

from training.sampling import captioned_grid as grid
from training.sampling import drawing as common
from training.sampling.commands import mix

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def rgb(tmp_path_factory):
    """16x16, RGB, six layers."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'rgb.pkl', 0)


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Two classes, 8x8, greyscale, four layers."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'grey.pkl', 2, resolution=8, channels=1)


def expected(network, row, col, layers, psi=1, label=None):
    G = drawing.load(network)
    c = None if label is None else drawing.one_hot(G, label)
    ws, other = (G.mapping(seed_latent(seed), c, truncation_psi=psi) for seed in (row, col))
    ws[:, layers] = other[:, layers]
    return drawing.pixels(G, ws)


def test_the_published_files_hold_the_published_mixtures(rgb):
    result = draw('mix', rgb, '--rows=1,7', '--cols=3,4,1', '--styles=1-2', '--trunc=0.7')
    pairs = set(itertools.product((1, 7), (3, 4, 1))) | {(seed, seed) for seed in (1, 7, 3, 4)}
    assert set(result) == {f'{row}-{col}.png' for row, col in pairs} | {'grid.png'}
    for row, col in pairs:
        assert_close(result[f'{row}-{col}.png'], expected(rgb, row, col, [1, 2], 0.7))
    cells = cells_of(result['grid.png'], 3, 4)
    assert not cells[0, 0].any()
    for y, x in itertools.product(range(3), range(4)):
        row, col = (None, 1, 7)[y], (None, 3, 4, 1)[x]
        if x or y:
            np.testing.assert_array_equal(cells[y, x], result[f'{row or col}-{col or row}.png'])
    assert np.abs(result['1-3.png'].astype(int) - result['1-1.png']).max() > 4
    assert np.abs(result['1-3.png'].astype(int) - result['3-3.png']).max() > 4


def test_an_unmixed_image_is_that_of_images(grey):
    mixed = draw('mix', grey, '--rows=2', '--cols=5', '--styles=0', '--class=1', '--trunc=0.5', outdir='mix')
    alone = draw('images', grey, '--seeds=2,5', '--class=1', '--trunc=0.5', outdir='images')
    for seed in (2, 5):
        np.testing.assert_array_equal(mixed[f'{seed}-{seed}.png'], alone[f'seed000{seed}.png'])
    assert_close(mixed['2-5.png'], expected(grey, 2, 5, [0], 0.5, label=1))


@pytest.mark.parametrize(('styles', 'layers'), [('coarse', [0, 1, 2]), ('middle', [3, 4, 5]), ('b8', [1, 2]), ('b4,5', [0, 5]),
                                                ('b16,0-1,3', [3, 4, 5, 0, 1]), ('coarse,middle', [0, 1, 2, 3, 4, 5])])
def test_layers_by_name(rgb, styles, layers):
    assert mix.layers_of(drawing.load(rgb), mix.Styles().convert(styles, None, None)) == layers


def test_the_resolution_of_a_layer_is_that_where_its_style_acts_first(rgb):
    G = drawing.load(rgb)
    convs = [layer for block in (G.synthesis.b4, G.synthesis.b8, G.synthesis.b16)
             for layer in (getattr(block, name, None) for name in ('conv0', 'conv1')) if layer is not None]
    assert [common.layer_resolution(G, i) for i in range(6)] == [*(layer.resolution for layer in convs), 16]


def test_layers_that_are_not_there_are_left_out_with_a_word(rgb, grey):
    status, out, err = drawing.run('mix', f'--network={rgb}', '--rows=0', '--cols=1', '--outdir=out', '--device=cpu')
    assert (status, err) == (0, '')
    assert 'warn: --styles names layers after the last of this network, which is 5; they are left out' in out.splitlines()
    assert Path('out/0-1.png').read_bytes() == Path('out/1-1.png').read_bytes()  # all layers there are
    assert_refused(2, '--styles names none of the layers of this network, which are 0-5', 'mix', rgb, '--rows=0', '--cols=1',
                   '--styles=fine')


def test_noise(rgb):
    results = {mode: draw('mix', rgb, '--rows=0', '--cols=1', f'--noise-mode={mode}', outdir=mode)['0-1.png']
               for mode in ('const', 'none', 'random')}
    assert len({image.tobytes() for image in results.values()}) == 3
    again = draw('mix', rgb, '--rows=5,0', '--cols=1', '--noise-mode=random', outdir='again')
    np.testing.assert_array_equal(again['0-1.png'], results['random'])


def test_wrong_options_are_refused(rgb, grey, monkeypatch):
    args = '--rows=0', '--cols=1'
    assert_refused(2, "'wide' is none of a number of a layer", 'mix', rgb, *args, '--styles=wide')
    assert_refused(2, '--rows and --cols must be between 0 and 4294967295', 'mix', rgb, '--rows=-1', '--cols=1')
    assert_refused(2, "Missing option '--rows'", 'mix', rgb, '--cols=1')
    assert_refused(2, '--trunc must be a finite number', 'mix', rgb, *args, '--trunc=nan')
    assert_refused(2, 'Must specify class label with --class', 'mix', grey, *args)
    monkeypatch.setattr(grid, 'MOST_PIXELS', 1000)
    assert_refused(2, 'ask for fewer --rows or --cols', 'mix', rgb, *args)
