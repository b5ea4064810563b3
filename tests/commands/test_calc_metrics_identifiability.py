"""From dataset_tool.py --source=synthetic to calc_metrics.py --metrics=identifiability, from the command line."""

import json

import numpy as np
import pytest
import torch
from helpers import background
from helpers.dataset_making import tool

from training.networks import Discriminator, Generator
from training.snapshots.file import save_network_snapshot


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A network of 4 latents, whose discriminator has 8 features, and so is no encoder; and a dataset."""
    folder = tmp_path_factory.mktemp('run')
    torch.manual_seed(0)
    common = dict(c_dim=3, img_resolution=8, img_channels=3)
    G = Generator(z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=1, cond_mode='flow', i_dim=2),
                  synthesis_kwargs=dict(channel_base=32, channel_max=4), **common)
    D = Discriminator(channel_base=64, channel_max=8, mapping_kwargs=dict(num_layers=1), **common)
    save_network_snapshot(folder / 'network-snapshot-000001.pkl', dict(G=G, G_ema=G, D=D), {}, 0)
    tool('--source=synthetic', '--domains=3', '--max-images=210', '--resolution=8', '--workers=1',
         f'--dest={folder / "data.zip"}')
    return folder


def run(folder, *args, data='data.zip'):
    return background.run('calc_metrics', f'--network={folder / "network-snapshot-000001.pkl"}', f'--data={folder / data}',
                          '--device=cpu', '--ops=torch', '--verbose=0', *args)


def test_results_and_a_figure_are_written(folder):
    done = run(folder, '--metrics=identifiability', '--num=200', f'--outdir={folder / "out"}')
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / 'out' / 'metric-identifiability200.jsonl').read_text())
    found = record['results']
    assert next(iter(found)) == 'mcc_strong' and {'mig', 'mig_random', 'mig_pca', 'mig_shuffled', 'code_r2'} < found.keys()
    assert all(np.isfinite(value) for value in found.values() if value is not None)
    assert 'identifiability200: codes by a regression on its samples' in done.stdout
    assert (folder / 'out' / 'identifiability200-network-snapshot-000001.png').stat().st_size > 5000


@pytest.mark.slow
def test_of_glyphs_only_classes_are_known(folder):
    tool('--source=glyphs', '--chars=greek', '--paired', '--resolution=8', '--mode=rgb', '--workers=1',
         f'--dest={folder / "greek.zip"}')
    done = run(folder, '--metrics=identifiability', '--num=200', f'--outdir={folder / "glyphs"}', data='greek.zip')
    assert done.returncode == 0, done.stderr
    assert 'no mcc_..., which is of numbers and circles: category, marks, typeface are classes' in done.stdout
    found = json.loads((folder / 'glyphs' / 'metric-identifiability200.jsonl').read_text())['results']
    assert all(value is None for name, value in found.items() if name.startswith('mcc'))
    assert all(np.isfinite(value) for name, value in found.items() if name.startswith(('r2', 'sap', 'mig')))
    assert found['r2_content_from_content_shuffled'] < 0.1


def test_what_is_wrong_is_one_line(folder):
    done = run(folder, '--metrics=identifiability')
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].endswith(
        'has 210 images, but identifiability takes 2000; ask for --metrics=identifiability210, or make one with dataset_tool.py '
        '--source=synthetic --max-images=2000')
