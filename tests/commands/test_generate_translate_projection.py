"""`generate.py translate --by=projection`: what is drawn from which latent, for networks without an encoder; going on."""

import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import background, drawing
from helpers.drawing import assert_close

from metrics.domains import inversion
from training.data.images import encode_png
from training.sampling.commands import translate
from training.sampling.projection import many
from training.sampling.projection import search_state as state

LABELS = [1, 0, 1, 1, 0]

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Two domains, 8x8, greyscale: of i-StyleGAN, and of a conditional StyleGAN2."""
    folder = tmp_path_factory.mktemp('net')
    small = dict(resolution=8, channels=1, z_dim=6)
    return {mode: str(drawing.save_network(folder / f'{mode}.pkl', 2, cond_mode=mode, i_dim=2, **small))
            for mode in ('flow', 'concat')}


@pytest.fixture(scope='module')
def images(tmp_path_factory, networks):
    """Images that the network with a flow drew."""
    G = drawing.load(networks['flow'])
    path = tmp_path_factory.mktemp('data') / 'images.zip'
    with zipfile.ZipFile(path, 'w') as f:
        for i, label in enumerate(LABELS):
            ws = G.mapping(drawing.seed_latent(100 + i, 6), drawing.one_hot(G, label))
            f.writestr(f'{i}.png', encode_png(drawing.pixels(G, ws)[:, :, 0]))
        f.writestr('dataset.json', json.dumps({'labels': [[f'{i}.png', label] for i, label in enumerate(LABELS)]}))
    return str(path)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(inversion, 'CANDIDATES', 32)


def run(network, images, *args, outdir='out'):
    status, out, err = drawing.run('translate', f'--network={network}', f'--images={images}', f'--outdir={outdir}',
                                   '--device=cpu', *args)
    assert (status, err) == (0, '')
    return out


def read(file):
    with PIL.Image.open(file) as image:
        return np.atleast_3d(np.array(image))


def latents(outdir='out'):
    with np.load(f'{outdir}/latents.npz') as arrays:
        return dict(arrays)


@pytest.mark.parametrize('mode', ['flow', 'concat'])
def test_the_latent_is_kept_and_the_label_changed(networks, images, mode):
    out = run(networks[mode], images, '--steps=3')  # without an encoder: auto is projection
    assert 'Finding latents by projection, in 3 steps' in out and 's per image' in out
    found, G = latents(), drawing.load(networks[mode])
    assert found['by'] == 'projection' and found['classes'].tolist() == LABELS and found['z'].shape == (5, 6)
    errors = []
    for i, (z, label) in enumerate(zip(torch.from_numpy(found['z']), LABELS, strict=True)):
        drawn = [drawing.pixels(G, G.mapping(z[None], drawing.one_hot(G, k))) for k in range(2)]
        for k in range(2):
            assert_close(read(f'out/img{i:05d}-class{k}.png'), drawn[k])
        with zipfile.ZipFile(images) as f, f.open(f'{i}.png') as png:
            errors.append(np.abs(read(png).astype(float) - drawn[label]).mean() / 255)
    np.testing.assert_allclose(found['errors'], errors, atol=0.5 / 255)
    told = [line for line in out.splitlines() if line.startswith('Reconstructions differ')]
    assert len(told) == 1 and f'{found["errors"].mean():.4f}' in told[0]


def test_more_steps_rebuild_better_and_images_do_not_depend_on_each_other(networks, images):
    run(networks['flow'], images, '--steps=2', outdir='few')
    run(networks['flow'], images, '--steps=40', outdir='many')
    assert latents('many')['errors'].mean() < 0.7 * latents('few')['errors'].mean()
    run(networks['flow'], images, '--steps=2', '--max-images=2', outdir='two')
    np.testing.assert_array_equal(latents('two')['z'], latents('few')['z'][:2])
    run(networks['flow'], images, '--steps=2', '--seed=1', outdir='seed')
    assert not np.array_equal(latents('seed')['z'], latents('few')['z'])


def test_an_interrupted_search_goes_on_and_finds_the_same(networks, images, monkeypatch):
    monkeypatch.setattr(translate.drawing, 'batch_size', lambda G, device: 2)
    run(networks['flow'], images, '--steps=2', outdir='whole')
    advance, done = many.ManySearches.advance, []

    class Stop:
        """Asked to stop after the second batch."""

        def __enter__(self):
            done.clear()
            return self

        def __exit__(self, *_):
            pass

        @property
        def requested(self):
            return len(done) == 2

    monkeypatch.setattr(many, 'StopOnSignal', Stop)
    monkeypatch.setattr(many.ManySearches, 'advance', lambda self: done.append(advance(self)) or done[-1])
    for steps in (3, 2):
        out = run(networks['flow'], images, f'--steps={steps}')
        assert 'Stopped after image 4 of 5, which is saved. To continue, repeat the same command' in out
        assert [path.name for path in Path('out').iterdir()] == [state.FILE_NAME]
    assert 'is of another projection (--steps: not the same); starting from the beginning' in out
    out = run(networks['flow'], images, '--steps=2')
    assert 'Resuming after image 4 of 5' in out and done == [1]
    assert sorted(path.name for path in Path('out').iterdir()) == sorted(path.name for path in Path('whole').iterdir())
    for name in ['translations.png', *(f'img{i:05d}-class{k}.png' for i in range(5) for k in range(2))]:
        assert Path('out', name).read_bytes() == Path('whole', name).read_bytes()
    np.testing.assert_array_equal(latents()['z'], latents('whole')['z'])


def test_as_a_program(networks, images):
    args = ['generate', 'translate', f'--network={networks["concat"]}', f'--images={images}',
            '--outdir=out', '--device=cpu', '--steps=1', '--class=0']
    done = background.run(*args, '--by=projection')
    assert (done.returncode, done.stderr) == (0, '')
    assert len(list(Path('out').glob('img*-class0.png'))) == 5 and latents()['by'] == 'projection'
    done = background.run(*args, '--by=encoder')
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'with --by=projection' in done.stderr
