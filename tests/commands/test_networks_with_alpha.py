"""Networks with alpha through all commands: training, exact resume, pictures, projection, metrics, export; what is refused."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing, small_runs
from helpers.programs import run_program
from helpers.projecting import Quick, picture
from helpers.stand_in import replace_detectors

import calc_metrics
import train
from dnnlib.channels import on_checkerboard
from training.data.images import MODES, encode_png
from training.networks import Generator
from training.sampling.commands import project
from training.sampling.explorer.explorer import Explorer, State
from training.sampling.explorer.explorer import encode_png as encode_shown
from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import main as snapshot_tool


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))


@pytest.fixture(scope='module', params=[2, 4])
def network(request, tmp_path_factory):
    """Two classes, 16x16, with alpha."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'net.pkl', 2, channels=request.param)


def write_images(path, channels, size=16, count=24, labels=True):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(count):
            z.writestr(f'{i}.png', encode_png(rng.integers(0, 256, (size, size, channels), dtype=np.uint8)))
        z.writestr('dataset.json', json.dumps({'labels': [[f'{i}.png', i % 2] for i in range(count)] if labels else None}))
    return str(path)


def opened(path):
    """Mode and pixels of a picture."""
    with PIL.Image.open(path) as image:
        return image.mode, np.array(image)


def run(command, network, *args):
    status, out, err = drawing.run(command, f'--network={network}', '--device=cpu', *args)
    assert (status, err) == (0, '')
    return out


# Pictures.

@pytest.mark.parametrize('suffix', ['png', 'webp'])
def test_images_keep_alpha_and_the_sheet_shows_it(network, suffix):
    G = drawing.load(network)
    run('images', network, '--seeds=0-3', '--class=1', '--contact-sheet=1', f'--format={suffix}', '--noise-mode=const',
        '--outdir=out')
    images = []
    for seed in range(4):
        mode, pixels = opened(f'out/seed000{seed}.{suffix}')
        ws = G.mapping(drawing.seed_latent(seed), drawing.one_hot(G, 1))
        expected = drawing.pixels(G, ws)
        if suffix == 'png' or G.img_channels == 4:
            assert mode == MODES[G.img_channels]
            drawing.assert_close(pixels, expected)
        images.append(expected)
    mode, sheet = opened('out/contact-sheet.png')
    assert mode == ('L' if G.img_channels == 2 else 'RGB')
    shown = drawing.cells_of(np.atleast_3d(sheet), 2, 2).reshape(4, 16, 16, -1)
    drawing.assert_close(shown, on_checkerboard(np.stack(images)))


def test_jpeg_is_refused(network):
    drawing.assert_refused(2, '--format=jpg has no alpha channel', 'images', network, '--seeds=0', '--class=0', '--format=jpg')


def test_pictures_of_many_images_have_no_alpha(network):
    run('mix', network, '--rows=0', '--cols=1', '--styles=0', '--class=0', '--outdir=mix')
    assert opened('mix/0-1.png')[0] == MODES[drawing.load(network).img_channels]
    mode, grid = opened('mix/grid.png')
    assert mode in ('L', 'RGB') and not grid[:16, :16].any()  # the corner stays black
    run('traverse', network, '--seeds=0', '--class=0', '--coordinates=0', '--steps=3', '--labels=0', '--outdir=traverse')
    assert opened('traverse/traverse-seed0000.png')[0] == mode
    run('domains', network, '--seeds=0-1', '--labels=1', '--outdir=domains')
    assert opened('domains/domains.png')[0] == mode
    run('video', network, '--seeds=0-1', '--grid=2x1', '--num-keyframes=1', '--w-frames=2', '--class=0', '--output=v.webp')
    with PIL.Image.open('v.webp') as movie:
        assert movie.mode == 'RGB'


def test_the_explorer_sends_alpha(network):
    G = drawing.load(network)
    explorer = Explorer(G, str(network), ['0', '1'])
    assert 'alpha' in explorer.summary() or 'RGBA' in explorer.summary()
    pixels = explorer.draw(State())
    for at_most in (None, 8):
        with PIL.Image.open(io.BytesIO(encode_shown(pixels, at_most))) as image:
            assert image.mode == MODES[G.img_channels]


# Projection.

def test_projection_has_a_target_with_alpha(network, monkeypatch):
    monkeypatch.setattr(project, 'Features', Quick)
    image = picture(16, 16, 'RGBA')
    image.putalpha(PIL.Image.fromarray(np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))))
    image.save('target.png')
    run('project', network, '--target=target.png', '--num-steps=2', '--save-video=1', '--class=0', '--outdir=out')
    channels = drawing.load(network).img_channels
    for name in ('target', 'proj'):
        assert opened(f'out/{name}.png')[0] == MODES[channels]
    expected = image if channels == 4 else image.convert('LA')
    np.testing.assert_array_equal(opened('out/target.png')[1], np.array(expected))
    picture(16, 16).save('opaque.png')
    run('project', network, '--target=opaque.png', '--num-steps=1', '--save-video=0', '--class=0', '--outdir=opaque')
    assert (opened('opaque/target.png')[1][..., -1] == 255).all()


# Metrics.

def test_detectors_see_white_and_that_is_said_once(network, monkeypatch, tmp_path):
    replace_detectors(monkeypatch, tmp_path / 'cache')
    monkeypatch.setattr(calc_metrics, 'check_detector', lambda name, path=None: None)
    channels = drawing.load(network).img_channels
    data = write_images('data.zip', channels)
    call = lambda *args: run_program(calc_metrics.main, '--device=cpu', *args)  # noqa: E731
    status, out, err = call(f'--network={network}', f'--data={data}', '--metrics=kd20_efficientnet_full,fd20_efficientnet_full',
                            '--num=20')
    assert status == 0, err
    assert out.count('detectors see them on white') == 1
    assert 'on white' not in call(f'--network={network}', f'--data={data}', '--metrics=jacobian')[1]
    other = write_images('other.zip', 7 - channels - 2 * (channels == 2))  # RGB, or grey
    status, _, err = call(f'--network={network}', f'--data={other}', '--metrics=fd20_efficientnet_full', '--num=20')
    assert status == 1 and 'pass the dataset that it was trained on' in err and err.count('\n') == 1
    status, out, err = call(f'--images={data}', f'--data={other}', '--metrics=fd20_efficientnet_full', '--num=20')
    assert status == 0 and 'data.zip: 24 of 24 images have an alpha channel: detectors see them on white' in out, err


# Training.

@pytest.mark.parametrize('channels', [2, 4])
def test_a_run_resumes_exactly(tmp_path, channels):
    data = write_images('data.zip', channels, size=8, count=9)
    augment = dict(class_name='training.augment.AugmentPipe', brightness=1, hue=1, noise=1)
    config = lambda name: small_runs.config(data, tmp_path / name, augment_kwargs=augment, augment_p=0.5)  # noqa: E731
    small_runs.run(config('whole'))
    small_runs.run(config('parts'), steps=7)
    small_runs.run(config('parts'))
    whole, parts = (small_runs.digests(tmp_path / name) for name in ('whole', 'parts'))
    assert whole['network-snapshot-000001.pkl'] == parts['network-snapshot-000001.pkl']
    for name in ('reals.png', 'fakes_init.png'):
        assert opened(tmp_path / 'whole' / name)[0] == ('L' if channels == 2 else 'RGB')
    assert load_network_snapshot(str(tmp_path / 'whole' / 'network-snapshot-000001.pkl')).D.img_channels == channels


def dry_run(*args):
    return run_program(train.main, '--outdir=runs', '--device=cpu', '--metrics=none', '--dry-run', *args)


def test_train_says_that_there_is_alpha(network):
    data = write_images('data.zip', 4)
    status, out, err = dry_run(f'--data={data}')
    assert status == 0 and 'The images are RGBA, and so are those that the network will draw' in out, err
    assert 'The images are' not in dry_run(f'--data={write_images("rgb.zip", 3)}')[1]


def test_a_network_of_other_channels_is_no_place_to_resume(tmp_path):
    network = drawing.save_network(tmp_path / 'rgb.pkl', 0)
    status, _, err = dry_run(f'--data={write_images("data.zip", 4)}', f'--resume={network}', '--cbase=64', '--z-dim=8')
    assert status == 1 and 'rgb.pkl' in err and err.count('\n') == 1 and 'Traceback' not in err
    assert not Path('runs').exists()


# Snapshots.

def test_info_and_the_hub_know_channels(network):
    name = {2: 'greyscale with alpha', 4: 'RGBA'}[drawing.load(network).img_channels]
    assert f'16x16, {name}' in run_program(snapshot_tool, 'info', f'--network={network}')[1]
    status, _, err = run_program(snapshot_tool, 'export', f'--network={network}', '--outdir=hub', '--device=cpu')
    assert status == 0, err
    assert f'16x16, {name}' in Path('hub/README.md').read_text()
    assert opened('hub/samples.png')[0] in ('L', 'RGB')
    run('images', 'hub', '--seeds=0', '--class=0', '--outdir=out')


def test_the_published_format_is_refused(network):
    status, _, err = run_program(snapshot_tool, 'export', f'--network={network}', '--to=stylegan2-ada', '--outdir=out')
    assert status == 1 and 'draws an alpha channel' in err and '--to=hub' in err and err.count('\n') == 1
    assert not Path('out').exists()


def test_five_channels_are_refused(tmp_path):
    network = drawing.save_network(tmp_path / 'five.pkl', 0, channels=5)
    drawing.assert_refused(1, 'draws 5 channels', 'images', network, '--seeds=0')
    Path('five.py').write_text('import numpy as np\nfrom training.data.plain import PlainDataset\n\n\nclass Five(PlainDataset):\n'
                               '    def read(self, path):\n        return np.zeros([4, 5, 8, 8], np.uint8), None\n')
    status, _, err = dry_run('--data=five.py', '--dataset-class=five.py:Five')
    assert status == 2 and 'all must be uint8 [C, H, W] of one size, with 1 to 4 channels' in err and 'Traceback' not in err
    assert isinstance(load_network_snapshot(str(network)).G, Generator)
    assert torch.is_tensor(load_network_snapshot(str(network)).G(torch.zeros(1, 8), None))
