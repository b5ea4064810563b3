"""calc_metrics.py with metrics of domains, from the command line."""

import json

import numpy as np
import pytest
import torch
from helpers import background
from helpers.shapes import write_dataset

from training.networks import Discriminator, Generator
from training.snapshots.file import save_network_snapshot


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    torch.manual_seed(0)
    common = dict(c_dim=2, img_resolution=16, img_channels=3)
    G = Generator(z_dim=4, w_dim=4, mapping_kwargs=dict(num_layers=1, cond_mode='flow', i_dim=2),
                  synthesis_kwargs=dict(channel_base=64, channel_max=4), **common)
    D = Discriminator(channel_base=64, channel_max=4, mapping_kwargs=dict(num_layers=1), **common)
    path = tmp_path_factory.mktemp('run') / 'network-snapshot-000001.pkl'
    save_network_snapshot(path, dict(G=G, G_ema=G, D=D), {}, 0)
    return path


def run(network, data, *args):
    return background.run('calc_metrics', f'--network={network}', f'--data={data}', '--device=cpu', '--ops=torch', '--verbose=0',
                          *args)


def test_results_and_a_figure_are_written(network, tmp_path):
    data = write_dataset(tmp_path / 'shapes.zip', count=30)
    done = run(network, data, '--metrics=mcc', '--num=40', f'--outdir={tmp_path / "out"}')
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / 'out' / 'metric-mcc40.jsonl').read_text())
    assert record['metric'] == 'mcc40' and list(record['results']) == ['mcc40', 'mcc40_same', 'mcc40_style', 'mcc40_content',
                                                                       'mcc40_chance']
    assert all(np.isfinite(value) for value in record['results'].values())
    assert (tmp_path / 'out' / 'mcc40-network-snapshot-000001.png').stat().st_size > 5000


def test_what_is_wrong_is_one_line(network, tmp_path):
    data = write_dataset(tmp_path / 'shapes.zip', count=30, content=False)
    done = run(network, data, '--metrics=jfid5k,fid5k_full_domains', '--detector=efficientnet')
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].endswith(
        '--detector=efficientnet: only the distance by inception is called jfid; ask for --metrics=jfd5k_efficientnet')
