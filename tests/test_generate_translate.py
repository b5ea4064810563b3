"""`generate.py translate`: which image is drawn from which latent in which domain, refinement, the overview, errors."""

import functools
import itertools
import json
import zipfile
from pathlib import Path

import drawing
import numpy as np
import pytest
import torch
from drawing import assert_close, draw

from training.images import encode_png
from training.sampling import grid, translate
from training.snapshot import load_network_snapshot, save_network_snapshot

LABELS = [2, 0, 1, 1, 2, 0] * 3  # of 18 images, more than are shown, and than are drawn at once


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save_network(path, c_dim=3, z_dim=16, **kwargs):
    """Its discriminator has 16 features; G is not G_ema."""
    snapshot = load_network_snapshot(str(drawing.save_network(path, c_dim, z_dim=z_dim, **kwargs)))
    snapshot.G.synthesis.b8.torgb.weight.mul_(-1)
    save_network_snapshot(path, snapshot, {}, 0)
    return path


@pytest.fixture(scope='module')
def flow(tmp_path_factory):
    """Three domains, 16x16, RGB, moved by a flow."""
    return save_network(tmp_path_factory.mktemp('net') / 'flow.pkl', cond_mode='flow', i_dim=4)


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Two classes, 8x8, greyscale, label joined to z."""
    return save_network(tmp_path_factory.mktemp('net') / 'grey.pkl', 2, resolution=8, channels=1)


def picture(i, resolution=16, channels=3):
    """[H, W, C]; of each number another contrast."""
    return np.random.RandomState(i).randint(0, 256 - 12 * i, [resolution, resolution, channels], dtype=np.uint8)


def write_dataset(path, labels=None, count=None, **kwargs):
    count = len(labels) if count is None else count
    with zipfile.ZipFile(path, 'w') as f:
        for i in range(count):
            f.writestr(f'{i:02d}.png', encode_png(picture(i, **kwargs).squeeze()))
        if labels is not None:
            f.writestr('dataset.json', json.dumps({'labels': [[f'{i:02d}.png', label] for i, label in enumerate(labels)]}))
    return str(path)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Images of three domains."""
    return write_dataset(tmp_path_factory.mktemp('data') / 'images.zip', LABELS)


load = functools.lru_cache(load_network_snapshot)


def as_tensor(i, **kwargs):
    return torch.from_numpy(picture(i, **kwargs).transpose(2, 0, 1)[None] / np.float32(127.5) - 1)


def encode(network, x):
    return load(str(network)).D(x, drawing.one_hot(drawing.load(network), 0), return_latent=True)[1].detach()


def expected(network, code, domain, **kwargs):
    G = drawing.load(network)
    return drawing.pixels(G, G.mapping(code, drawing.one_hot(G, domain)), **kwargs)


def translated(network, images, *args, outdir='out'):
    """The files {(image, domain): pixels} and the overview, of a run."""
    result = draw('translate', network, f'--images={images}', *args, outdir=outdir)
    overview = result.pop('translations.png')
    files = {(i, k): result.pop(f'img{i:05d}-class{k}.png') for i, k in itertools.product(range(20), range(3))
             if f'img{i:05d}-class{k}.png' in result}
    assert not result
    return files, overview


def overview_of(rows, classes, targets):
    captions = grid.Captions(['image', 'rebuilt', *(f'to {k}' for k in targets)],
                             [(str(i), str(k)) for i, k in enumerate(classes)], ('', 'domain'))
    return grid.assemble(np.array(rows), captions)


# What is drawn.

def test_images_are_drawn_from_the_latents_that_the_discriminator_finds_in_each_alone(flow, images):
    files, overview = translated(flow, images, '--max-images=18')
    assert list(files) == list(itertools.product(range(18), range(3)))
    for (i, k), pixels in files.items():
        assert_close(pixels, expected(flow, encode(flow, as_tensor(i)), k))
    assert min(np.abs(a.astype(int) - b).max() for a, b in itertools.combinations(files.values(), 2)) > 2
    # The overview: sixteen images, as they are, rebuilt in the domains that dataset.json names, and translated.
    rows = [[picture(i), files[i, LABELS[i]], *(files[i, k] for k in range(3))] for i in range(16)]
    np.testing.assert_array_equal(overview, overview_of(rows, LABELS[:16], range(3)))


@pytest.mark.parametrize('args', [(), ('--steps=2',), ('--noise-mode=random', '--steps=2')])
def test_an_image_does_not_depend_on_the_others(flow, images, args):
    many, _ = translated(flow, images, '--max_images=18', *args, outdir='many')
    few, overview = translated(flow, images, '--max-images=2', *args, outdir='few')
    assert list(few) == list(itertools.product(range(2), range(3)))
    for name, pixels in few.items():
        assert_close(pixels, many[name])
    rows = [[picture(i), few[i, LABELS[i]], *(few[i, k] for k in range(3))] for i in range(2)]
    np.testing.assert_array_equal(overview, overview_of(rows, LABELS[:2], range(3)))


def test_sixteen_images_are_translated_if_not_told_otherwise(flow, images):
    assert len(translated(flow, images, '--class=0')[0]) == 16


@pytest.mark.parametrize('option', ['--source-class=1', '--source_class=1'])
def test_one_domain_to_one_domain(flow, option):
    data = write_dataset('unlabelled.zip', count=3)
    files, overview = translated(flow, data, option, '--class=2')
    assert list(files) == [(0, 2), (1, 2), (2, 2)]
    codes = [encode(flow, as_tensor(i)) for i in range(3)]
    for i, code in enumerate(codes):
        assert_close(files[i, 2], expected(flow, code, 2))
    rows = [[picture(i), expected(flow, code, 1), files[i, 2]] for i, code in enumerate(codes)]
    assert_close(overview, overview_of(rows, [1] * 3, [2]))


def test_the_domain_that_is_named_counts_more_than_labels(flow, images):
    files, overview = translated(flow, images, '--source-class=0', '--max-images=2')
    rows = [[picture(i), files[i, 0], *(files[i, k] for k in range(3))] for i in range(2)]
    np.testing.assert_array_equal(overview, overview_of(rows, [0, 0], range(3)))


def test_greyscale_images(grey):
    data = write_dataset('grey.zip', [1, 0], resolution=8, channels=1)
    files, overview = translated(grey, data)
    for i, k in itertools.product(range(2), range(2)):
        assert_close(files[i, k], expected(grey, encode(grey, as_tensor(i, resolution=8, channels=1)), k))
    rows = [[picture(i, 8, 1), files[i, 1 - i], files[i, 0], files[i, 1]] for i in range(2)]
    np.testing.assert_array_equal(overview, overview_of(rows, [1, 0], range(2)))


def test_noise_modes(flow, images):
    const, _ = translated(flow, images, '--max-images=2', outdir='const')
    none, _ = translated(flow, images, '--max-images=2', '--noise_mode=none', outdir='none')
    for (i, k), pixels in none.items():
        assert_close(pixels, expected(flow, encode(flow, as_tensor(i)), k, noise_mode='none'))
    # Random noise differs between images, and is the same each time.
    random, overview = translated(flow, images, '--max-images=2', '--noise-mode=random', outdir='random')
    again = translated(flow, images, '--max-images=2', '--noise-mode=random', outdir='again')[1]
    np.testing.assert_array_equal(overview, again)
    assert min(np.abs(random[name].astype(int) - other[name]).mean() for name in random for other in (const, none)) > 2
    noise = [random[i, 0].astype(int) - none[i, 0] for i in range(2)]
    assert np.abs(noise[0] - noise[1]).mean() > 2


# Refinement.

def error(G, code, x, c, noise_mode='const'):
    return (G(code, c, noise_mode=noise_mode) - x).square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize('noise_mode', ['const', 'none'])
def test_refinement_lowers_the_error_and_makes_no_image_worse(flow, noise_mode):
    G = drawing.load(flow)
    x = torch.cat([as_tensor(i) for i in range(4)])
    c = torch.eye(3)[LABELS[:4]]
    code = torch.cat([encode(flow, x[i:i + 1]) for i in range(4)])
    code[2] += 1e-4
    x[2] = G(code[2:3] - 1e-4, c[2:3], noise_mode=noise_mode)  # fits already: whatever Adam does makes it worse
    before, others = error(G, code, x, c, noise_mode), [0, 1, 3]
    assert torch.equal(translate.refine(G, code, x, c, 0, noise_mode), code)
    for steps, factor in ((1, 1 - 1e-6), (20, 0.99)):
        z = translate.refine(G, code.clone(), x, c, steps, noise_mode)
        after = error(G, z, x, c, noise_mode)
        assert torch.equal(z[2], code[2]) and not z.requires_grad
        assert (after[others] < factor * before[others]).all()


def test_the_best_of_all_latents_on_the_way_is_kept(flow, monkeypatch):
    monkeypatch.setattr(translate, 'LEARNING_RATE', 3)  # far too large: the error goes up and down
    G, x, c = drawing.load(flow), torch.cat([as_tensor(i) for i in range(3)]), torch.eye(3)
    code = torch.cat([encode(flow, x[i:i + 1]) for i in range(3)])
    errors = torch.stack([error(G, translate.refine(G, code, x, c, steps, 'const'), x, c) for steps in range(12)])
    assert (errors.diff(dim=0) <= 1e-6).all() and (errors.diff(dim=0)[:, :].abs() < 1e-6).any()


def test_steps_refine_what_is_drawn(flow, images):
    files, overview = translated(flow, images, '--max-images=3', '--steps=10', outdir='refined')
    plain, _ = translated(flow, images, '--max-images=3', '--steps=0', outdir='plain')
    for i in range(3):
        c, x = torch.eye(3)[LABELS[i]][None], as_tensor(i)
        code = translate.refine(drawing.load(flow), encode(flow, x), x, c, 10, 'const')
        for k in range(3):
            assert_close(files[i, k], expected(flow, code, k))
            assert_close(plain[i, k], expected(flow, encode(flow, x), k))
        assert np.abs(files[i, LABELS[i]].astype(int) - plain[i, LABELS[i]]).max() > 2
    rows = [[picture(i), files[i, LABELS[i]], *(files[i, k] for k in range(3))] for i in range(3)]
    np.testing.assert_array_equal(overview, overview_of(rows, LABELS[:3], range(3)))


# Errors.

def assert_refused(status, text, network, images, *args):
    """As drawing has it, and always in one line, with no file written."""
    args = 'translate', network, f'--images={images}', *args
    before = sorted(Path().rglob('*'))
    drawing.assert_refused(status, text, *args)
    assert drawing.run(args[0], f'--network={network}', *args[2:], '--outdir=refused')[2].count('\n') == 1
    assert sorted(Path().rglob('*')) == before


def test_networks_that_cannot_translate_are_refused(images, tmp_path):
    for c_dim, z_dim, domains in ((0, 16, 1), (1, 16, 1), (3, 8, 3)):
        network = save_network(tmp_path / 'net.pkl', c_dim, z_dim)
        text = f'net.pkl: cannot translate, having {domains} domain(s), latents of {z_dim} numbers and a discriminator with 16 '
        assert_refused(1, text, network, images)


def test_networks_that_cannot_be_read_are_named(images):
    Path('text.pkl').write_text('hello')
    assert_refused(1, 'text.pkl: not a readable network snapshot', 'text.pkl', images)
    assert_refused(1, 'gone.pkl: no such file', 'gone.pkl', images)


def test_domains_that_the_network_lacks_are_refused(flow, images):
    for name, value in itertools.product(('--class', '--source-class', '--source_class'), (-1, 3)):
        assert_refused(2, f'{name.replace("_", "-")} must be between 0 and 2', flow, images, f'{name}={value}')


def test_images_of_another_shape_are_refused(flow):
    for size, channels in ((8, 3), (16, 1)):
        data = write_dataset('other.zip', [0, 1, 2], resolution=size, channels=channels)
        assert_refused(1, f'other.zip: images are [{channels}, {size}, {size}], but the network draws [3, 16, 16]', flow, data)
    assert_refused(1, 'gone.zip: no such file', flow, 'gone.zip')


@pytest.mark.parametrize('labels, found', [(None, 'no'), ([0, 1, 1], '2'), ([0, 3, 1], '4'), (torch.eye(3).tolist(), '3')])
def test_images_without_a_domain_of_the_network_are_refused(flow, labels, found):
    data = write_dataset('images.zip', labels, count=3)
    assert_refused(2, f'images.zip has {found} domains, but this network has 3; say with --source-class', flow, data)


def test_wrong_options_are_refused(flow, images):
    for option in ('--max-images=0', '--max_images=x', '--steps=-1', '--noise-mode=loud', '--class=x'):
        drawing.assert_refused(2, option.partition('=')[0].replace('_', '-'), 'translate', flow, f'--images={images}', option)
    drawing.assert_refused(2, '--images', 'translate', flow)
