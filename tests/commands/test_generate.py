"""generate.py: the images of seeds and of projected latents, its options, and its errors in one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing

from training.networks import Discriminator, Generator
from training.sampling.drawing import save_image, to_pixels
from training.snapshots.file import load_network_snapshot, save_network_snapshot

ROOT = Path(__file__).parents[2]


def save_network(path, c_dim, resolution, channels):
    """A network whose images use the whole range, and beyond, and whose noise shows."""
    torch.manual_seed(resolution)
    common = dict(c_dim=c_dim, img_resolution=resolution, img_channels=channels)
    G, G_ema = (Generator(z_dim=8, w_dim=8, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64), **common)
                for _ in range(2))
    with torch.no_grad():
        torch.nn.init.normal_(G_ema.mapping.w_avg)
        for name, p in G_ema.named_parameters():
            if name.endswith('noise_strength'):
                p.fill_(0.5)
    save_network_snapshot(path, dict(G=G, G_ema=G_ema, D=Discriminator(channel_base=64, **common)), {}, 0)
    return path


@pytest.fixture(scope='module')
def rgb(tmp_path_factory):
    """Unconditional, 16x16, RGB."""
    return save_network(tmp_path_factory.mktemp('net') / 'rgb.pkl', 0, 16, 3)


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Conditional on 3 classes, 8x8, greyscale."""
    return save_network(tmp_path_factory.mktemp('net') / 'grey.pkl', 3, 8, 1)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(*args): the command as a program, in this process. Gives (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: drawing.run('--device=cpu', *args)


@pytest.fixture
def images(run):
    """images(*args): the pixels that a successful run wrote, by file name."""

    def call(*args, outdir='out'):
        status, _, err = run(*args, f'--outdir={outdir}')
        assert (status, err) == (0, '')
        return read_images(outdir)

    return call


@pytest.fixture
def refused(run):
    """refused(status, text, *args): a run ends with that status, `text` in its last line, and no folder."""

    def call(status, text, *args):
        got, _, err = run(*args, '--outdir=refused')
        assert got == status and text in err.splitlines()[-1] and 'Traceback' not in err
        assert status == 2 or len(err.splitlines()) == 1
        assert err.splitlines()[-1].startswith('Error: ')
        assert not Path('refused').exists()

    return call


def read_images(folder):
    result = {}
    for path in sorted(Path(folder).iterdir()):
        with PIL.Image.open(path) as image:
            assert image.format == 'PNG'
            result[path.name] = np.array(image)
    return result


def expected_pixels(network, seed=None, label=None, psi=1, ws=None, **kwargs):
    """The image by the published rule, [H, W, C]."""
    G = load_network_snapshot(str(network)).G_ema
    if ws is None:
        z = torch.from_numpy(np.random.RandomState(seed).randn(1, G.z_dim))
        c = torch.zeros(1, G.c_dim)
        if label is not None:
            c[0, label] = 1
        ws = G.mapping(z, c, truncation_psi=psi)
    image = G.synthesis(ws, **{'noise_mode': 'const', **kwargs})[0].numpy()
    return np.clip(image * np.float32(127.5) + np.float32(128), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# Images of seeds.

def test_rgb_images_follow_the_published_rule(rgb, images):
    result = images(f'--network={rgb}', '--seeds=0-2,70000,4294967295')
    assert list(result) == ['seed0000.png', 'seed0001.png', 'seed0002.png', 'seed4294967295.png', 'seed70000.png']
    for seed in (0, 1, 2, 70_000, 4_294_967_295):
        np.testing.assert_array_equal(result[f'seed{seed:04d}.png'], expected_pixels(rgb, seed))
    everything = np.stack(list(result.values()))
    assert everything.shape == (5, 16, 16, 3) and {0, 255} < set(everything.ravel().tolist())


def test_greyscale_images_follow_the_published_rule(grey, images):
    result = images(f'--network={grey}', '--seeds=3', '--class=1')
    assert result['seed0003.png'].shape == (8, 8)
    np.testing.assert_array_equal(result['seed0003.png'], expected_pixels(grey, 3, label=1)[:, :, 0])


def test_pixels_are_truncated_and_clipped(tmp_path):
    values = [-2, -1.01, -1, -0.5, -0.0001, 0, 0.0001, 0.5, 0.99, 1, 1.5]
    save_image(to_pixels(torch.tensor(values)[None, None, None])[0], tmp_path / 'x.png')
    with PIL.Image.open(tmp_path / 'x.png') as image:
        assert image.mode == 'L' and np.array(image).tolist() == [[0, 0, 0, 64, 127, 128, 128, 191, 254, 255, 255]]
    save_image(to_pixels(torch.tensor([[[[0.]], [[1.]], [[-1.]]]]))[0], tmp_path / 'y.png')
    with PIL.Image.open(tmp_path / 'y.png') as image:
        assert image.mode == 'RGB' and image.getpixel((0, 0)) == (128, 255, 0)


@pytest.mark.parametrize('mode', ['const', 'random', 'none'])
def test_an_image_depends_on_its_own_seed_only(rgb, images, mode):
    args = f'--network={rgb}', f'--noise-mode={mode}'
    everything = images(*args, '--seeds=5,1,9', outdir='all')
    for seed in (1, 5, 9):
        alone = images(*args, f'--seeds={seed}', outdir=f'alone{seed}')
        assert same(alone, {f'seed{seed:04d}.png': everything[f'seed{seed:04d}.png']})
    assert len({image.tobytes() for image in everything.values()}) == 3


def test_noise_modes_differ(rgb, images):
    const, random, none = (images(f'--network={rgb}', '--seeds=4', f'--noise_mode={mode}', outdir=mode)['seed0004.png']
                           for mode in ('const', 'random', 'none'))
    np.testing.assert_array_equal(const, expected_pixels(rgb, 4))
    np.testing.assert_array_equal(none, expected_pixels(rgb, 4, noise_mode='none'))
    assert not np.array_equal(random, const) and not np.array_equal(random, none) and not np.array_equal(const, none)


@pytest.mark.parametrize('psi', [0.5, 0, -1])
def test_truncation_pulls_towards_the_mean(rgb, images, psi):
    result = images(f'--network={rgb}', '--seeds=4,5', f'--trunc={psi}')
    np.testing.assert_array_equal(result['seed0004.png'], expected_pixels(rgb, 4, psi=psi))
    assert np.array_equal(result['seed0004.png'], result['seed0005.png']) == (psi == 0)
    assert not np.array_equal(result['seed0004.png'], expected_pixels(rgb, 4))


def test_the_moving_average_is_used(rgb, images):
    loaded = load_network_snapshot(str(rgb))
    assert not torch.equal(loaded.G.mapping.fc0.weight, loaded.G_ema.mapping.fc0.weight)
    np.testing.assert_array_equal(images(f'--network={rgb}', '--seeds=0')['seed0000.png'], expected_pixels(rgb, 0))


def test_it_says_what_it_does(rgb, run):
    status, out, err = run(f'--network={rgb}', '--seeds=3,5', '--outdir=a/b')
    assert (status, err) == (0, '') and [p.name for p in sorted(Path('a/b').iterdir())] == ['seed0003.png', 'seed0005.png']
    assert out.splitlines() == [f'Loading networks from "{rgb}"...', 'Generating image for seed 3 (0/2) ...',
                                'Generating image for seed 5 (1/2) ...']


def test_a_network_may_be_a_url(rgb, images):
    assert same(images(f'--network={rgb.as_uri()}', '--seeds=0', outdir='a'), images(f'--network={rgb}', '--seeds=0', outdir='b'))


def test_other_files_in_the_folder_stay(rgb, run):
    Path('out').mkdir()
    Path('out', 'notes.txt').write_text('mine')
    Path('out', 'seed0000.png').write_text('older')
    assert run(f'--network={rgb}', '--seeds=0', '--outdir=out')[0] == 0
    assert sorted(p.name for p in Path('out').iterdir()) == ['notes.txt', 'seed0000.png']
    assert Path('out', 'notes.txt').read_text() == 'mine' and Path('out', 'seed0000.png').read_bytes()[:4] == b'\x89PNG'


# Classes.

def test_a_class_is_a_one_hot_label(grey, images):
    results = [images(f'--network={grey}', '--seeds=0', f'--class={i}', outdir=f'{i}')['seed0000.png'] for i in range(3)]
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, expected_pixels(grey, 0, label=i)[:, :, 0])
    assert len({result.tobytes() for result in results}) == 3


def test_a_conditional_network_needs_a_class(grey, refused):
    refused(2, 'Must specify class label with --class when using a conditional network', f'--network={grey}', '--seeds=0')
    for label in (-1, 3):
        refused(2, '--class must be between 0 and 2', f'--network={grey}', '--seeds=0', f'--class={label}')
    refused(2, '--class', f'--network={grey}', '--seeds=0', '--class=dog')


def test_an_unconditional_network_ignores_the_class(rgb, run):
    status, out, _ = run(f'--network={rgb}', '--seeds=0', '--class=7', '--outdir=a')
    assert status == 0 and 'warn: --class=lbl ignored when running on an unconditional network' in out.splitlines()
    assert 'warn' not in run(f'--network={rgb}', '--seeds=0', '--outdir=b')[1]
    assert same(read_images('a'), read_images('b'))


def test_all_classes(grey, rgb, images, run):
    every = images(f'--network={grey}', '--seeds=5,2', '--class=all', '--noise-mode=random', outdir='every')
    assert list(every) == [f'seed000{seed}-class{k}.png' for seed in (2, 5) for k in range(3)]
    for k in range(3):
        one = images(f'--network={grey}', '--seeds=2', f'--class={k}', '--noise-mode=random', outdir=f'{k}')
        np.testing.assert_array_equal(every[f'seed0002-class{k}.png'], one['seed0002.png'])
    status, out, _ = run(f'--network={rgb}', '--seeds=0', '--class=all', '--outdir=x')
    assert status == 0 and 'warn: --class=lbl ignored' in out and os.listdir('x') == ['seed0000.png']


# Files.

@pytest.mark.parametrize(('suffix', 'name', 'loss'), [('webp', 'WEBP', 0), ('jpg', 'JPEG', 4)])
def test_other_formats(rgb, grey, run, images, suffix, name, loss):
    for network, *args in ((rgb,), (grey, '--class=1')):
        png = images(f'--network={network}', '--seeds=3', *args, outdir='png')['seed0003.png']
        assert run(f'--network={network}', '--seeds=3', f'--format={suffix}', '--outdir=other', *args)[0] == 0
        with PIL.Image.open(f'other/seed0003.{suffix}') as image:
            assert image.format == name
            pixels = np.asarray(image.convert('RGB' if png.ndim == 3 else 'L')).astype(int)
        assert np.abs(pixels - png).mean() <= loss


def test_a_contact_sheet_shows_all(rgb, grey, images):
    result = images(f'--network={rgb}', '--seeds=0-4', '--contact-sheet=1', outdir='rgb')
    cells = drawing.cells_of(result.pop('contact-sheet.png'), 2, 3).reshape(6, 16, 16, 3)
    for cell, image in zip(cells, result.values(), strict=False):
        np.testing.assert_array_equal(cell, image)
    assert (cells[5] == 255).all()
    result = images(f'--network={grey}', '--seeds=0-1', '--class=all', '--contact-sheet=1', outdir='grey')
    cells = drawing.cells_of(result['contact-sheet.png'][:, :, None], 2, 3)
    np.testing.assert_array_equal(cells[1, 2, :, :, 0], result['seed0001-class2.png'])


def test_latents_can_be_saved_and_rendered_again(grey, run, images):
    first = images(f'--network={grey}', '--seeds=7,3', '--class=all', '--trunc=0.5', outdir='first')
    assert run(f'--network={grey}', '--seeds=7,3', '--class=all', '--trunc=0.5', '--save-ws=1', '--outdir=second')[0] == 0
    with np.load('second/ws.npz') as saved:
        assert (saved['w'].shape, saved['w'].dtype) == ((6, 4, 8), np.float32)
        assert saved['seeds'].tolist() == [7, 7, 7, 3, 3, 3] and saved['classes'].tolist() == [0, 1, 2] * 2
    again = images(f'--network={grey}', '--projected-w=second/ws.npz', outdir='again')
    np.testing.assert_array_equal(again['proj05.png'], first['seed0003-class2.png'])
    np.testing.assert_array_equal(again['proj00.png'], first['seed0007-class0.png'])


def test_an_image_does_not_depend_on_how_many_are_rendered_at_once(rgb, images):
    every = images(f'--network={rgb}', '--seeds=0-40', outdir='every')
    for seed in (0, 15, 16, 40):
        name = f'seed{seed:04d}.png'
        np.testing.assert_array_equal(images(f'--network={rgb}', f'--seeds={seed}', outdir=f'{seed}')[name], every[name])


# Projected latents.

def latents(n=2, num_ws=6, w_dim=8):
    return np.random.RandomState(0).randn(n, num_ws, w_dim).astype(np.float32)


@pytest.mark.parametrize('spelling', ['--projected-w', '--projected_w'])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_projected_latents_are_rendered(rgb, images, spelling, dtype):
    np.savez('w.npz', w=latents().astype(dtype), other=3)
    result = images(f'--network={rgb}', f'{spelling}=w.npz')
    assert list(result) == ['proj00.png', 'proj01.png']
    for i, image in enumerate(result.values()):
        np.testing.assert_array_equal(image, expected_pixels(rgb, ws=torch.from_numpy(latents()[i:i + 1])))


def test_projected_latents_need_no_class_and_no_seeds(grey, rgb, run):
    np.savez('grey.npz', w=latents(1, num_ws=4))
    assert run(f'--network={grey}', '--projected-w=grey.npz', '--outdir=a')[0] == 0
    np.savez_compressed('rgb.npz', w=latents(1))
    status, out, _ = run(f'--network={rgb}', '--projected-w=rgb.npz', '--seeds=1', '--outdir=b')
    assert status == 0 and 'warn: --seeds is ignored when using --projected-w' in out.splitlines()
    assert [list(read_images(folder)) for folder in 'ab'] == [['proj00.png'], ['proj00.png']]


@pytest.mark.parametrize('shape', [(1, 5, 8), (1, 6, 9), (6, 8), (1, 1, 6, 8), ()])
def test_projected_latents_of_another_shape_are_refused(rgb, refused, shape, tmp_path):
    np.savez(tmp_path / 'w.npz', w=np.zeros(shape, np.float32))
    refused(1, f'w.npz: w is {list(shape)}, but this network takes [N, 6, 8]', f'--network={rgb}', '--projected-w=w.npz')


def write_truncated_zip(path, make=np.savez):
    make(path, w=latents())
    path.write_bytes(path.read_bytes()[:200])


def write_damaged_zip(path):
    np.savez_compressed(path, w=latents(50))
    data = bytearray(path.read_bytes())
    data[200:220] = b'\xff' * 20
    path.write_bytes(data)


class Evil:
    def __reduce__(self):
        return Path.mkdir, (Path('done'),)


@pytest.mark.parametrize('write', [
    lambda path: np.savez(path, v=latents()), lambda path: np.savez(path, w=np.array(['text'])),
    lambda path: path.write_bytes(b''), lambda path: path.write_text('hello'), lambda path: path.write_bytes(b'PK\x03\x04'),
    write_truncated_zip, write_damaged_zip,
    lambda path: np.save(path.open('wb'), latents()), lambda path: np.savez(path, w=np.array([Evil()], dtype=object)),
    lambda path: np.array([Evil()], dtype=object).dump(path)],
    ids=['no w', 'text', 'empty', 'hello', 'stub', 'truncated', 'damaged', 'npy', 'objects', 'pickle'])
def test_what_is_no_npz_of_latents_is_refused(rgb, refused, write, tmp_path):
    write(tmp_path / 'w.npz')
    refused(1, 'w.npz: not an .npz file with an array "w"', f'--network={rgb}', '--projected-w=w.npz')
    assert not Path('done').exists()


def test_missing_projected_latents_are_named(rgb, refused):
    refused(1, 'gone.npz: no such file', f'--network={rgb}', '--projected-w=gone.npz')


# Errors.

def test_seeds_or_latents_are_needed(rgb, refused):
    refused(2, '--seeds option is required when not using --projected-w', f'--network={rgb}')
    for seeds in ('-1', '4294967296', '0,-5'):
        refused(2, '--seeds must be between 0 and 4294967295', f'--network={rgb}', f'--seeds={seeds}')
    refused(2, 'not a list of numbers', f'--network={rgb}', '--seeds=a')


def test_unknown_values_are_refused(rgb, refused):
    refused(2, '--noise-mode', f'--network={rgb}', '--seeds=0', '--noise-mode=some')
    refused(2, '--trunc', f'--network={rgb}', '--seeds=0', '--trunc=x')
    refused(2, '--device', f'--network={rgb}', '--seeds=0', '--device=tpu')
    refused(2, '--network', '--seeds=0')
    refused(2, '--none-such', f'--network={rgb}', '--seeds=0', '--none-such=1')


def test_an_absent_device_is_named(rgb, refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    refused(2, '--device=cuda is not available here', f'--network={rgb}', '--seeds=0', '--device=cuda')


def test_a_network_with_a_second_label_is_refused(refused, tmp_path):
    network = drawing.save_network(tmp_path / 'labelled.pkl', 0, use_label=1, label_dim=3)
    refused(1, 'labelled.pkl: takes a second label with each latent (use_label)', f'--network={network}', '--seeds=0')


def test_a_network_that_cannot_be_read_is_named(rgb, refused, tmp_path):
    refused(1, 'gone.pkl: no such file', '--network=gone.pkl', '--seeds=0')
    for i, data in enumerate([b'', b'hello', rgb.read_bytes()[:-100]]):
        (tmp_path / f'{i}.pkl').write_bytes(data)
        refused(1, f'{i}.pkl: not a readable network snapshot', f'--network={i}.pkl', '--seeds=0')


def test_an_output_folder_that_cannot_be_made_is_named(rgb, run):
    Path('file').write_text('')
    for outdir in ('file', 'file/out'):
        status, _, err = run(f'--network={rgb}', '--seeds=0', f'--outdir={outdir}')
        assert status == 1 and err.startswith(f'Error: --outdir: cannot create {outdir} (') and err.count('\n') == 1
    assert Path('file').read_text() == ''


def test_a_real_process_ends_with_one_line(tmp_path):
    args = ['--network', tmp_path / 'gone.pkl', '--seeds', '0', '--noise_mode=const', '--outdir', tmp_path / 'out']
    result = subprocess.run([sys.executable, ROOT / 'generate.py', *map(str, args)], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, f'Loading networks from "{tmp_path / "gone.pkl"}"...\n')
    assert result.stderr == f'Error: {tmp_path / "gone.pkl"}: no such file or directory\n'
    assert not (tmp_path / 'out').exists()
