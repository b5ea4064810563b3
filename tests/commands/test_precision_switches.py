"""Every command that computes goes through devices.start first: one place decides about TF32, reduced precision and cuDNN."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import drawing
from helpers.projecting import picture
from helpers.small_runs import config, write_domains

import calc_metrics
import generate
from torch_utils import devices
from training.snapshots.tool.export import command as export
from training.training_loop import training_loop

ROOT = Path(__file__).parents[2]
GENERATE = dict(images=['--seeds=0', '--outdir=out'], mix=['--rows=0', '--cols=1', '--styles=coarse', '--outdir=out'],
                video=['--seeds=0-3', '--output=a.gif'], domains=['--outdir=out'],
                project=['--target=target.png', '--outdir=out'], translate=['--images=target.png', '--outdir=out'],
                traverse=['--outdir=out'], explore=[])


class Reached(Exception):
    pass


@pytest.fixture(autouse=True)
def stops(tmp_path, monkeypatch):
    """A folder with target.png, where devices.configure ends the command."""
    monkeypatch.chdir(tmp_path)
    picture(20, 16).save('target.png')

    def configure(device, cudnn_benchmark=False, allow_tf32=False):
        assert device.type == 'cpu' and not allow_tf32
        raise Reached
    monkeypatch.setattr(devices, 'configure', configure)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return drawing.save_network(tmp_path_factory.mktemp('net') / 'net.pkl', 2, resolution=8, cond_mode='flow', i_dim=4)


def outcome(command, *args):
    return CliRunner().invoke(command, [*map(str, args), '--device=cpu']).exception


@pytest.mark.parametrize('name', generate.COMMANDS)
def test_sampling(name, network, monkeypatch):
    monkeypatch.setattr('training.sampling.commands.explore.import_page', lambda: None)
    assert isinstance(outcome(generate.main, name, f'--network={network}', *GENERATE[name]), Reached)


def test_metrics(network, monkeypatch):
    monkeypatch.setattr(calc_metrics, 'check_detector', lambda *_: None)
    assert isinstance(outcome(calc_metrics.main, f'--network={network}', '--metrics=ppl2_wend_1k', '--gpus=1'), Reached)


def test_export(network):
    assert isinstance(outcome(export, f'--network={network}', '--outdir=out'), Reached)


def test_training(tmp_path):
    with pytest.raises(Reached):
        training_loop(config(write_domains(tmp_path / 'data.zip'), tmp_path / 'run'))


def test_nothing_else_sets_them():
    folders = [ROOT / name for name in ('training', 'metrics', 'torch_utils')]
    for path in [*ROOT.glob('*.py'), *(path for folder in folders for path in folder.rglob('*.py'))]:
        if path.name != 'devices.py':
            assert not re.search(r'backends\.cud|set_float32_matmul', path.read_text()), path
