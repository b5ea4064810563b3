"""Images that are no squares, from the dataset to every picture: 16 wide and 12 high."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import drawing, projecting
from helpers.dataset_making import tool
from helpers.drawing import assert_refused, draw
from helpers.programs import run_program
from helpers.small_runs import config, digests, run

import calc_metrics
import train
from training.sampling.commands import project
from training.snapshots.file import load_network_snapshot
from training.snapshots.tool import export, info

SIZE = (12, 16)

pytestmark = pytest.mark.usefixtures('in_tmp_path')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Twenty-four pictures in two domains, dark and bright ones."""
    folder, rng = tmp_path_factory.mktemp('data'), np.random.RandomState(0)
    for i in range(24):
        (folder / 'src' / 'ab'[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.randint(0, 100, (15 + i % 3, 21, 3)).astype(np.uint8) + np.uint8(i % 2 * 120)
        PIL.Image.fromarray(pixels).save(folder / 'src' / 'ab'[i % 2] / f'{i}.png')
    tool('--source', folder / 'src', '--dest', folder / 'wide.zip', '--transform=center-crop', '--resolution=16x12')
    return str(folder / 'wide.zip')


@pytest.fixture(scope='module')
def network(tmp_path_factory, data):
    kwargs = dict(class_name='training.dataset.ImageFolderDataset', path=data, use_labels=True, resolution=list(SIZE))
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'network.pkl', 2, resolution=SIZE, training_set_kwargs=kwargs,
                                cond_mode='flow', i_dim=4, importance=[1.0, 0.5, 0.05, 0.3])


def test_training_with_ada_resumes_bit_for_bit(data, tmp_path, capsys):
    whole, pieces = (config(data, tmp_path / name, network_snapshot_ticks=2, image_snapshot_ticks=2) for name in 'ab')
    for c in (whole, pieces):
        c.update(augment_kwargs=dict(class_name='training.augment.AugmentPipe', rotate90=1, scale=1, rotate=1, xfrac=1, cutout=1),
                 ada_target=-0.5, ada_interval=4, ada_kimg=1, augment_p=0.5)
    assert run(whole)
    assert not run(pieces, steps=7)
    assert run(pieces)
    last = 'network-snapshot-000001.pkl'
    assert digests(whole.run_dir)[last] == digests(pieces.run_dir)[last]
    with PIL.Image.open(Path(whole.run_dir, 'reals.png')) as grid:
        assert grid.width % 16 == 0 and grid.height % 12 == 0 and grid.width > grid.height
    networks = load_network_snapshot(str(Path(whole.run_dir, last)))
    assert networks.G_ema.img_resolution == networks.D.img_resolution == SIZE
    assert networks.G_ema.synthesis.b4.const.shape[1:] == (3, 4) and networks.D.b4.fc.weight.shape[1] == 4 * 3 * 4


def test_a_dry_run_chooses_by_area_and_refuses_other_sizes(data):
    status, out, _ = run_program(train.main, '--outdir=runs', f'--data={data}', '--cond=1', '--dry-run', '--device=cpu')
    assert status == 0 and 'Image resolution:   16x12' in out and not Path('runs').exists()
    options = json.loads(out[out.index('{'):out.rindex('}') + 1])
    assert options['training_set_kwargs']['resolution'] == [12, 16]
    assert options['loss_kwargs']['terms']['D/r1']['weight'] == pytest.approx(0.0002 * 12 * 16 / options['batch_size'] / 2)
    PIL.Image.new('RGB', (25, 18)).save('odd.png')
    Path('odd').mkdir()
    shutil.move('odd.png', 'odd/0.png')
    status, _, err = run_program(train.main, '--outdir=runs', '--data=odd', '--dry-run')
    assert status == 2 and 'odd: images of 25x18 ' in err.splitlines()[-1] and '24x16' in err and 'Traceback' not in err


def test_images_and_contact_sheet(network):
    pictures = draw('images', network, '--seeds=0-2', '--class=all', '--contact-sheet=1')
    assert {image.shape for name, image in pictures.items() if name.startswith('seed')} == {(12, 16, 3)}
    sheet = pictures['contact-sheet.png']
    assert sheet.shape == (3 * 12, 2 * 16, 3)
    np.testing.assert_array_equal(sheet[12:24, 16:], pictures['seed0001-class1.png'])


def test_domains_mixtures_and_traversals(network):
    assert draw('domains', network, '--seeds=0-2', outdir='domains')['domains.png'].shape == (3 * 12, 2 * 16, 3)
    grid = draw('mix', network, '--rows=0,1', '--cols=2', '--styles=b16', '--class=0', outdir='mix')['grid.png']
    assert grid.shape == (3 * 12, 2 * 16, 3)
    traversal, = draw('traverse', network, '--class=0', '--steps=3', '--labels=0', outdir='traverse').values()
    assert traversal.shape == (3 * 12, 4 * 16, 3)


def test_a_movie(network):
    status, _, err = drawing.run('video', f'--network={network}', '--device=cpu', '--output=a.webp', '--seeds=0-3', '--grid=2x1',
                                 '--w-frames=1', '--class=0')
    assert (status, err) == (0, '')
    with PIL.Image.open('a.webp') as movie:
        assert movie.size == (2 * 16, 12) and movie.n_frames == 2


def test_projection_takes_the_shape_of_the_network(network, monkeypatch, tmp_path):
    projecting.enter(tmp_path, monkeypatch)
    monkeypatch.setattr(project, 'Features', projecting.Quick)
    projecting.run(network, *projecting.QUICK, '--class=1')
    with PIL.Image.open('out/target.png') as target, PIL.Image.open('out/proj.png') as proj:
        assert target.size == proj.size == (16, 12)
        pixels = np.asarray(target)
    middle = projecting.picture(20, 16).crop((0, 0, 20, 15)).resize((16, 12), PIL.Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pixels, np.asarray(middle))  # of 16 rows, the last is left out


def test_metrics_and_their_figures(network, data):
    names = 'fd2k_efficientnet_full,domains'
    status, out, err = run_program(calc_metrics.main, f'--network={network}', f'--data={data}', f'--metrics={names}', '--num=8',
                                   '--device=cpu', '--outdir=metrics')
    assert status == 0, err
    assert 'fd8_efficientnet_full' in out and '"domain_test_accuracy": 1.0' in out
    status, _, err = run_program(calc_metrics.main, f'--network={network}', '--metrics=ppl_wend', '--device=cpu')
    assert status != 0 and 'Traceback' not in err


def test_what_the_published_code_cannot_hold_is_refused_and_a_hub_folder_holds_it(network):
    status, _, err = run_program(export.command, f'--network={network}', '--outdir=ada', '--to=stylegan2-ada')
    assert status == 1 and 'Traceback' not in err and not Path('ada').exists()
    status, _, err = run_program(export.command, f'--network={network}', '--outdir=hub', '--device=cpu')
    assert (status, err) == (0, '')
    settings = json.loads(Path('hub/config.json').read_text())
    assert settings['resolution'] == settings['training_set_kwargs']['resolution'] == [12, 16]
    assert '[1, 3, 12, 16]' in Path('hub/README.md').read_text() and '16x12, RGB' in Path('hub/README.md').read_text()
    with PIL.Image.open('hub/samples.png') as picture:
        assert picture.size == (8 * 16, 2 * 12)
    z, c = torch.randn(1, 8), torch.eye(2)[:1]
    images = [load_network_snapshot(source, only=('G_ema',)).G_ema(z, c, noise_mode='const') for source in (str(network), 'hub')]
    assert torch.equal(*images) and images[0].shape == (1, 3, 12, 16)
    status, out, _ = run_program(info.command, '--network=hub')
    assert status == 0 and '16x12, RGB' in out and 'resolution=16x12' in out
    plain = drawing.save_network('plain.pkl', 0, resolution=SIZE)
    status, _, err = run_program(export.command, f'--network={plain}', '--outdir=ada', '--to=stylegan2-ada')
    assert status == 1 and 'its images are 16x12, from a start grid of 4x3' in err and '--to=hub' in err
    assert not Path('ada').exists()


def test_translations_take_images_of_the_same_size(network):
    Path('tall').mkdir()
    PIL.Image.new('RGB', SIZE).save('tall/0.png')
    assert_refused(1, 'images are [3, 16, 12], but the network draws [3, 12, 16]', 'translate', network, '--images=tall',
                   '--source-class=0')
