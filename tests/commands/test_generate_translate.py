"""`generate.py translate`: which image is drawn from which latent in which domain, refinement, the overview, errors."""

import functools
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import drawing
from helpers.drawing import assert_close

from metrics.domains import inversion
from training.data.images import encode_png
from training.sampling import captioned_grid as grid
from training.snapshots.file import load_network_snapshot, save_network_snapshot

LABELS = [2, 0, 1, 1, 2, 0] * 3  # of 18 images, more than are shown, and than are drawn at once
ONE_HOT = torch.eye(3)
load = functools.lru_cache(load_network_snapshot)

pytestmark = pytest.mark.usefixtures('in_tmp_path')


def save_network(path, c_dim=3, z_dim=16, **kwargs):
    """Its discriminator has 16 features; G is not G_ema."""
    snapshot = load_network_snapshot(str(drawing.save_network(path, c_dim, z_dim=z_dim, **kwargs)))
    snapshot.G.synthesis.b8.torgb.weight.mul_(-1)
    save_network_snapshot(path, snapshot, {}, 0)
    return str(path)


@pytest.fixture(scope='module')
def flow(tmp_path_factory):
    """Three domains, 16x16, RGB, moved by a flow."""
    return save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', cond_mode='flow', i_dim=4)


def picture(i, size=16, channels=3):
    """[H, W, C]: four patches of different colours, and some noise."""
    rng = np.random.RandomState(i)
    patches = rng.randint(0, 200, [2, 2, channels]).repeat(size // 2, axis=0).repeat(size // 2, axis=1)
    return (patches + rng.randint(0, 56, patches.shape)).astype(np.uint8)


def write_dataset(path, labels, count=3, **kwargs):
    with zipfile.ZipFile(path, 'w') as f:
        for i in range(count):
            f.writestr(f'{i:02d}.png', encode_png(picture(i, **kwargs).squeeze()))
        if labels is not None:
            f.writestr('dataset.json', json.dumps({'labels': [[f'{i:02d}.png', label] for i, label in enumerate(labels)]}))
    return str(path)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data') / 'images.zip', LABELS, len(LABELS))


def find(network, i, **kwargs):
    """Image i as x [1, C, H, W], and its latent."""
    x = torch.from_numpy(picture(i, **kwargs).transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
    D = load(network).D
    return x, D(x, drawing.one_hot(D, 0), return_latent=True)[1]


def expected(network, code, domain, **kwargs):
    G = load(network).G_ema
    return drawing.pixels(G, G.mapping(code, drawing.one_hot(G, domain)), **kwargs)


def translated(network, images, classes, targets, *args, outdir='out', **kwargs):
    """{(number, domain): pixels} of a run from images of these classes to these domains, which its overview must show."""
    files = drawing.draw('translate', network, f'--images={images}', '--by=encoder', *args, outdir=outdir)
    overview = files.pop('translations.png')
    names = {(i, k): f'img{i:05d}-class{k}.png' for i, k in itertools.product(range(len(classes)), targets)}
    assert sorted(files) == sorted(names.values())
    result = {key: files[name] for key, name in names.items()}
    captions = grid.Captions(['image', 'rebuilt', *(f'to {k}' for k in targets)],
                             [(str(i), str(k)) for i, k in enumerate(classes[:16])], ('', 'domain'))
    rows = [[picture(i, **kwargs), result[i, k] if k in targets else expected(network, find(network, i, **kwargs)[1], k),
             *(result[i, target] for target in targets)] for i, k in enumerate(classes[:16])]
    assert_close(overview, grid.assemble(np.array(rows), captions))
    return result


def test_images_are_drawn_from_the_latents_that_the_discriminator_finds_in_each_alone(flow, images):
    result = translated(flow, images, LABELS, [0, 1, 2], '--max-images=18')
    for (i, k), pixels in result.items():
        assert_close(pixels, expected(flow, find(flow, i)[1], k))
    assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.combinations(result.values(), 2)) > 4


@pytest.mark.parametrize('args', [(), ('--steps=2',), ('--noise-mode=random', '--steps=2')])
def test_an_image_does_not_depend_on_the_others(flow, images, args):
    many = translated(flow, images, LABELS, [0, 1, 2], '--max_images=18', *args, outdir='many')
    few = translated(flow, images, LABELS[:2], [0, 1, 2], '--max-images=2', *args, outdir='few')
    for name, pixels in few.items():
        assert_close(pixels, many[name])


def test_it_says_how_well_latents_are_found(flow, images, monkeypatch):
    args = ('translate', f'--network={flow}', f'--images={images}', '--max-images=1', '--device=cpu', '--outdir=out',
            '--by=encoder')
    status, out, _ = drawing.run(*args)
    told = [line for line in out.splitlines() if line.startswith('warn: so much that it hardly finds latents')]
    assert status == 0 and len(told) == 1  # this discriminator was never trained

    def find_all(D, x, c):
        return torch.cat([drawing.seed_latent(seed, 16) for seed in range(len(x))])

    monkeypatch.setattr(inversion, 'encode', find_all)
    status, out, _ = drawing.run(*args)
    assert 'Images that the network drew itself are rebuilt with 0% of the error of any other image' in out and 'warn' not in out


@pytest.mark.parametrize('option', ['--source-class=1', '--source_class=1'])
def test_one_domain_to_one_domain(flow, images, option):
    data = write_dataset('unlabelled.zip', None)
    for (i, _), pixels in translated(flow, data, [1, 1, 1], [2], option, '--class=2').items():
        assert_close(pixels, expected(flow, find(flow, i)[1], 2))
    translated(flow, images, [1] * 16, [0, 1, 2], option, outdir='labelled')  # of which there are 18, with other labels


def test_greyscale_images(tmp_path):
    grey = save_network(tmp_path / 'grey.pkl', 2, resolution=8, channels=1)
    shape = dict(size=8, channels=1)
    data = write_dataset('grey.zip', [1, 0, 1], **shape)
    for (i, k), pixels in translated(grey, data, [1, 0, 1], [0, 1], **shape).items():
        assert_close(pixels, expected(grey, find(grey, i, **shape)[1], k))


def test_noise_modes(flow, images):
    const, none, random, again = (
        translated(flow, images, LABELS[:2], [0, 1, 2], '--max-images=2', f'--noise{dash}mode={mode}', outdir=f'{mode}{dash}')
        for mode, dash in (('const', '-'), ('none', '_'), ('random', '-'), ('random', '_')))
    for i, k in none:
        assert_close(none[i, k], expected(flow, find(flow, i)[1], k, noise_mode='none'))
        assert_close(random[i, k], again[i, k])
        assert min(np.abs(random[i, k].astype(int) - other[i, k]).mean() for other in (const, none)) > 2
    noise = [random[i, 0].astype(int) - none[i, 0] for i in range(2)]
    assert np.abs(noise[0] - noise[1]).mean() > 2


# Refinement.

def test_refinement_lowers_the_error_and_makes_no_image_worse(flow, monkeypatch):
    G, c = load(flow).G_ema, ONE_HOT[LABELS[:4]]
    x, code = (torch.cat(tensors) for tensors in zip(*(find(flow, i) for i in range(4)), strict=True))
    x[2] = G(code[2:3], c[2:3], noise_mode='none')
    code[2] += 1e-5  # fits already: whatever Adam does makes it worse

    def errors(steps):
        z = inversion.refine(G, code.clone(), x, c, steps, 'none')
        assert torch.equal(z[2], code[2]) and not z.requires_grad
        assert steps > 0 or torch.equal(z, code)
        return (G(z, c, noise_mode='none') - x).square().mean(dim=(1, 2, 3))[[0, 1, 3]]

    before = errors(0)
    assert (errors(1) <= before).all() and (errors(1) < before).any() and (errors(20) < 0.99 * before).all()
    monkeypatch.setattr(inversion, 'REFINING_RATE', 3)  # far too large: errors go up and down, and the best is kept
    assert (torch.stack([errors(steps) for steps in range(12)]).diff(dim=0) < 1e-6).all()


def test_steps_refine_what_is_drawn(flow, images):
    plain, refined = (translated(flow, images, LABELS[:3], [0, 1, 2], '--max-images=3', f'--steps={steps}', outdir=f'{steps}')
                      for steps in (0, 10))
    for i, k in plain:
        x, code = find(flow, i)
        assert_close(plain[i, k], expected(flow, code, k))
        code = inversion.refine(load(flow).G_ema, code, x, ONE_HOT[LABELS[i]][None], 10, 'const')
        assert_close(refined[i, k], expected(flow, code, k))
        assert np.abs(refined[i, k].astype(int) - plain[i, k]).max() > 4


# Errors.

def assert_refused(status, text, network, images, *args):
    """As drawing has it, and in one line, with nothing written."""
    before = sorted(Path().rglob('*'))
    drawing.assert_refused(status, text, 'translate', network, f'--images={images}', *args)
    result = drawing.run('translate', f'--network={network}', f'--images={images}', *args, '--device=cpu', '--outdir=refused')
    assert result[2].count('\n') == 1 and sorted(Path().rglob('*')) == before


def test_networks_that_cannot_translate_are_refused(images):
    for c_dim in (0, 1):
        text = 'net.pkl: cannot translate, having 1 domain(s); train with --cond=1'
        assert_refused(1, text, save_network('net.pkl', c_dim), images)
    text = ('net.pkl: this network cannot encode images: its discriminator finds 16 numbers, but latents have 8; train with '
            '--method=clr-gan, alone or beside another; or train an encoder for it, with python -m training.encoder; or find '
            'latents by optimisation, with --by=projection')
    assert_refused(1, text, save_network('net.pkl', 3, 8), images, '--by=encoder')
    Path('text.pkl').write_text('hello')
    assert_refused(1, 'text.pkl: not a readable network snapshot', 'text.pkl', images)
    assert_refused(1, 'gone.pkl: no such file', 'gone.pkl', images)


def test_wrong_options_are_refused(flow, images):
    for name, value in itertools.product(('--class', '--source-class', '--source_class'), (-1, 3)):
        assert_refused(2, f'{name.replace("_", "-")} must be between 0 and 2', flow, images, f'{name}={value}')
    for option in ('--max-images=0', '--max_images=x', '--steps=-1', '--noise-mode=loud', '--class=x'):
        drawing.assert_refused(2, option.partition('=')[0].replace('_', '-'), 'translate', flow, f'--images={images}', option)
    drawing.assert_refused(2, '--images', 'translate', flow)


def test_images_that_do_not_fit_are_refused(flow):
    assert_refused(1, 'gone.zip: no such file', flow, 'gone.zip')
    for size, channels in ((8, 3), (16, 1)):
        data = write_dataset('other.zip', [0, 1, 2], size=size, channels=channels)
        assert_refused(1, f'other.zip: images are [{channels}, {size}, {size}], but the network draws [3, 16, 16]', flow, data)
    for labels, found in ((None, 'no labels'), ([0, 1, 1], '2 classes'), ([0, 3, 1], '4 classes'),
                          (ONE_HOT.tolist(), 'labels of 3 numbers')):
        data = write_dataset('images.zip', labels)
        assert_refused(2, f'images.zip has {found}, but this network has 3 domains; say with --source-class', flow, data)
