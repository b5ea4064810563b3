"""`generate.py project`: what it writes, what it takes for a target, errors in one line."""

import importlib.util
import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing
from helpers.drawing import assert_refused
from helpers.projecting import QUICK, Quick, enter, npz, picture, run, written

from training.data.images import converted
from training.sampling import movie
from training.sampling.commands import project
from training.sampling.projection.search import Projection, w_statistics
from training.sampling.projection.similarity import Features
from training.snapshots.file import load_network_snapshot, save_network_snapshot

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Unconditional, 16x16, RGB."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'net.pkl', 0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(project, 'Features', Quick)


@pytest.fixture(scope='module')
def grey(tmp_path_factory):
    """Two classes, 8x8, greyscale."""
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'grey.pkl', 2, resolution=8, channels=1)


def pixels(path):
    with PIL.Image.open(path) as image:
        return np.array(image)


# What it writes.

def test_results_are_those_that_were_published(network):
    out = run(network, '--num-steps=8', '--save-video=1')
    assert written() == ['proj.mp4' if importlib.util.find_spec('imageio_ffmpeg') else 'proj.gif', 'proj.png', 'projected_w.npz',
                         'target.png']
    with np.load('out/projected_w.npz') as arrays:
        assert arrays.files == ['w']
        w = arrays['w']
    assert w.shape == (1, 6, 8) and w.dtype == np.float32 and (w == w[:, :1]).all()
    assert drawing.run('--device=cpu', f'--network={network}', '--projected-w=out/projected_w.npz', '--outdir=again')[0] == 0
    np.testing.assert_array_equal(pixels('out/proj.png'), pixels('again/proj00.png'))
    np.testing.assert_array_equal(pixels('out/proj.png'), drawing.pixels(drawing.load(network), torch.from_numpy(w)))

    lines = out.splitlines()
    assert lines[0] == f'Loading networks from "{network}"...' and 'EfficientNet-Lite0' in lines[1]
    steps = [line for line in lines if line.startswith('step ')]
    assert re.fullmatch(r'step +1/8: dist \d+\.\d{4} +loss \d+\.\d{4} +left \d+s', steps[0])
    assert re.fullmatch(r'step +8/8: dist \d+\.\d{4} +loss \d+\.\d{4} *', steps[-1])
    assert re.fullmatch(r'Elapsed: \d+\.\d s', lines[-2])
    reached, begun = map(float, re.fullmatch(r'Distance of proj.png from target.png by EfficientNet-Lite0: (\d\.\d{4}) '
                                             r'\(of the mean image: (\d\.\d{4})\)', lines[-1]).groups())
    shown = [torch.from_numpy(pixels(f'out/{name}.png')).permute(2, 0, 1)[None] / 127.5 - 1 for name in ('proj', 'target')]
    assert reached == pytest.approx(Features('efficientnet', CPU).distance(*shown), abs=1e-4) and reached < begun


def test_the_video_has_a_frame_for_each_step_beside_the_target(network):
    imageio_ffmpeg = pytest.importorskip('imageio_ffmpeg')
    run(network, '--num-steps=5')
    reader = imageio_ffmpeg.read_frames('out/proj.mp4')
    meta = next(reader)
    shown = [np.frombuffer(frame, np.uint8).reshape(16, 32, 3).astype(float) for frame in reader]
    assert meta['fps'] == 10 and meta['codec'] == 'h264' and len(shown) == 5
    luma = [0.299, 0.587, 0.114]  # colours have half the resolution
    for frame in shown:
        assert np.abs((frame[:, :16] - pixels('out/target.png')) @ luma).mean() < 5
    assert np.abs((shown[-1][:, 16:] - pixels('out/proj.png')) @ luma).mean() < 5 < np.abs(
        (shown[-1][:, 16:] - pixels('out/target.png')) @ luma).mean()


def test_frames_are_drawn_with_the_noise_of_the_network(network):
    G = drawing.load(network)
    target = np.random.RandomState(0).randint(0, 256, (16, 16, 3), dtype=np.uint8)
    p = Projection(G, lambda x: x.flatten(1), project.as_input(target, CPU), torch.zeros(1, 0), 20, seed=0)
    for _ in range(20):
        p.advance()
    frames = list(project.frames(G, p, target))
    assert len(frames) == 20
    for i in (0, 7, 19):
        np.testing.assert_array_equal(frames[i][:, :16], target)
        drawing.assert_close(frames[i][:, 16:], drawing.pixels(G, p.path[i].expand(1, 6, 8)))


def test_without_imageio_ffmpeg_it_is_a_gif(network, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(movie.importlib.util, 'find_spec', lambda name: None if name == 'imageio_ffmpeg' else find_spec(name))
    assert 'warn: MP4 needs imageio-ffmpeg' in run(network, '--num-steps=2')
    assert written() == ['proj.gif', 'proj.png', 'projected_w.npz', 'target.png']
    assert 'warn' not in run(network, *QUICK, outdir='b') and written('b') == ['proj.png', 'projected_w.npz', 'target.png']


def test_an_image_of_the_network_is_found_again(network):
    snapshot = load_network_snapshot(str(network))
    for name, p in snapshot.G_ema.named_parameters():
        if name.endswith('noise_strength'):
            p.zero_()
    save_network_snapshot('smooth.pkl', {name: snapshot[name] for name in ('G', 'D', 'G_ema')}, {}, 0)
    mean, _ = w_statistics(snapshot.G_ema, torch.zeros(1, 0))
    own = mean.lerp(snapshot.G_ema.mapping(drawing.seed_latent(3), torch.zeros(1, 0)), 0.5)
    np.savez('own.npz', w=own.numpy())
    assert drawing.run('--device=cpu', '--network=smooth.pkl', '--projected-w=own.npz', '--outdir=own')[0] == 0
    line = run('smooth.pkl', '--num-steps=60', '--save-video=0', target='own/proj00.png').splitlines()[-1]
    reached, begun = map(float, re.findall(r'\d\.\d{4}', line))
    with np.load('out/projected_w.npz') as arrays:
        found = torch.from_numpy(arrays['w'])
    assert reached < begun / 20 and (found - own).norm() < 0.2 * (mean - own).norm()


def test_lpips_by_weights_from_a_file(network, monkeypatch):
    from metrics.detectors import vgg
    monkeypatch.setattr(vgg, 'WIDE', 4)
    with torch.device('meta'):
        shapes = {name.replace('convs.', 'features.'): p.shape for name, p in vgg.VGG16().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    torch.save({name: torch.randn(shape, generator=generator) / max(shape[1:].numel(), 1) ** 0.5
                for name, shape in shapes.items()}, 'vgg.pth')
    out = run(network, *QUICK, '--detector_path=vgg.pth')
    assert 'Comparing images by LPIPS of VGG16.' in out and 'from target.png by LPIPS of VGG16: ' in out
    assert npz() != (run(network, *QUICK, '--features=efficientnet', outdir='b'), npz('b'))[1]
    Path('vgg.pth').write_bytes(Path('vgg.pth').read_bytes()[:-1000])
    assert_refused(1, 'vgg.pth: ', 'project', network, '--target=target.png', '--detector-path=vgg.pth')


def test_the_published_command_line(network, quick, monkeypatch):
    monkeypatch.setenv('HOME', str(Path.cwd()))
    run(network, '--num_steps', '2', '--save_video', 'false', '--seed', '7', outdir='a')
    run(network, '--num-steps=2', '--save-video=False', '--seed=7', outdir='b', target='~/target.png')
    run(network, *QUICK, outdir='c')
    assert npz('a') == npz('b') != npz('c')


# Classes, greyscale.

def test_latents_begin_at_the_mean_of_the_class(grey, quick):
    G = drawing.load(grey)
    for i in range(2):
        run(grey, '--num-steps=1', '--save-video=0', f'--class={i}', outdir=f'{i}')  # whose learning rate is 0
        mean, _ = w_statistics(G, torch.eye(2)[i:i + 1])
        with np.load(f'{i}/projected_w.npz') as arrays:
            np.testing.assert_array_equal(arrays['w'], mean.expand(1, G.num_ws, 8).numpy())
    assert npz('0') != npz('1')


def test_a_conditional_network_needs_a_class(grey, network):
    text = 'Must specify class label with --class when using a conditional network'
    assert_refused(2, text, 'project', grey, '--target=target.png')
    assert_refused(2, '--class must be between 0 and 1', 'project', grey, '--target=target.png', '--class=2')
    assert 'warn: --class=lbl ignored' in run(network, *QUICK, '--class=3')


def test_a_greyscale_network_gets_a_greyscale_target(grey):
    picture(8, 8).save('small.png')
    run(grey, '--num-steps=3', '--class=0', target='small.png')
    for name in ('target', 'proj'):
        assert pixels(f'out/{name}.png').shape == (8, 8)
    np.testing.assert_array_equal(pixels('out/target.png'), np.array(picture(8, 8, 'L')))


# Targets.

def test_the_square_in_the_middle_is_taken(network, quick):
    run(network, *QUICK)
    np.testing.assert_array_equal(pixels('out/target.png'), np.array(picture(20, 16))[:, 2:18])
    picture(40, 64).save('tall.png')
    run(network, *QUICK, outdir='b', target='tall.png')
    expected = picture(40, 64).crop((0, 12, 40, 52)).resize((16, 16), PIL.Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pixels('b/target.png'), np.array(expected))


def exif(orientation):
    result = PIL.Image.Exif()
    result[0x0112] = orientation
    return result


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif', '.webp'])
def test_photographs_are_turned_upright(orientation, suffix):
    stored = picture(24, 16)
    stored.save('photo' + suffix, exif=exif(orientation), **(dict(quality=100, subsampling=0) if suffix == '.jpg' else
                                                             dict(lossless=True) if suffix == '.webp' else {}))
    x = np.array(stored)
    expected = {1: x, 2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x.transpose(1, 0, 2), 6: x.transpose(1, 0, 2)[:, ::-1],
                7: x[::-1, ::-1].transpose(1, 0, 2), 8: x.transpose(1, 0, 2)[::-1]}[orientation]
    found, alpha = np.split(project.read_picture('photo' + suffix), [3], axis=2)
    assert (alpha == 255).all()
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).max() <= (4 if suffix == '.jpg' else 0)


def transparent():
    image = picture(12, 10, 'RGBA')
    image.putalpha(PIL.Image.fromarray(np.where(np.arange(120).reshape(10, 12) % 2, 255, 0).astype(np.uint8)))
    return image


@pytest.mark.parametrize('name, image, expected', [
    ('grey.png', picture(12, 10, 'L'), picture(12, 10, 'L').convert('RGB')),
    ('palette.gif', picture(12, 10).quantize(16), picture(12, 10).quantize(16).convert('RGB')),
    ('bits.png', picture(12, 10, 'L').point(lambda v: 255 * (v > 150), '1'),
     picture(12, 10, 'L').point(lambda v: 255 * (v > 150)).convert('RGB')),
    ('cmyk.tif', picture(12, 10, 'CMYK'), picture(12, 10, 'CMYK').convert('RGB')),
    ('transparent.png', transparent(),
     PIL.Image.alpha_composite(PIL.Image.new('RGBA', (12, 10), 'white'), transparent()).convert('RGB')),
    ('deep.png', PIL.Image.fromarray(np.arange(120, dtype=np.uint16).reshape(10, 12) * 500),
     PIL.Image.fromarray((np.arange(120).reshape(10, 12) * 500 // 256).astype(np.uint8)).convert('RGB')),
], ids=lambda x: x if isinstance(x, str) else '')
def test_any_kind_of_image_is_taken(name, image, expected):
    image.save(name)
    np.testing.assert_array_equal(converted(project.read_picture(name), 'rgb')[0], np.array(expected))  # as without alpha


def bomb():
    """A PNG of a hundred bytes that would have 10^10 pixels."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 100_000, 100_000, 8, 2, 0, 0, 0)) + \
        chunk(b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b'')


def truncated(suffix):
    buffer = io.BytesIO()
    picture(200, 200).save(buffer, format=suffix)
    return buffer.getvalue()[:len(buffer.getvalue()) // 2]


@pytest.mark.parametrize('data, text', [
    (b'', 'not an image'), (b'hello', 'not an image'), (bomb(), 'too large for an image'),
    (truncated('png'), 'damaged image'), (truncated('jpeg'), 'damaged image')], ids=['empty', 'text', 'bomb', 'png', 'jpeg'])
def test_what_is_no_image_is_named_before_anything_is_computed(network, data, text):
    Path('bad.img').write_bytes(data)
    assert_refused(1, f'bad.img: {text}', 'project', network, '--target=bad.img')


def test_other_errors_come_before_anything_is_made(network, grey):
    assert_refused(1, 'gone.png: no such file', 'project', network, '--target=gone.png')
    Path('folder').mkdir()
    assert_refused(1, 'folder: is a directory', 'project', network, '--target=folder')
    assert_refused(2, "Missing option '--target'", 'project', network)
    target = '--target=target.png'
    assert_refused(2, '--num-steps', 'project', network, target, '--num-steps=0')
    assert_refused(2, '--seed', 'project', network, target, '--seed=-1')
    assert_refused(2, '--features', 'project', network, target, '--features=some')
    assert_refused(2, '--features=lpips needs images of 16x16', 'project', grey, target, '--class=0', '--features=lpips')
    assert_refused(2, '--detector-path can only', 'project', network, target, '--features=efficientnet', '--detector-path=x')
    assert_refused(1, 'gone.pth: no such file', 'project', network, target, '--detector-path=gone.pth')
    assert_refused(1, 'gone.pkl: no such file', 'project', 'gone.pkl', target)
    status, _, err = drawing.run('project', f'--network={network}', '--device=cpu', target, '--outdir=target.png')
    assert status == 1 and err.startswith('Error: --outdir: cannot create target.png (') and err.count('\n') == 1
