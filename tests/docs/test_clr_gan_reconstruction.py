"""docs/experiments/clr-gan/reconstruction.py: relative errors of seen and unseen images."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch

PROGRAM = Path(__file__).parents[2] / 'docs' / 'experiments' / 'clr-gan' / 'reconstruction.py'


class Encoder(torch.nn.Module):
    """A discriminator whose code is the image itself."""

    def forward(self, x, c, return_latent):
        return None, x


class Generator(torch.nn.Module):
    """Draws its code, with this error."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, z, c, noise_mode):
        return z + self.error


@pytest.fixture
def folder(tmp_path):
    """120 images whose values, as numbers of [-1, 1], have some deviation in each pixel."""
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    (tmp_path / 'data').mkdir()
    for i, image in enumerate(images):
        PIL.Image.fromarray(image).save(tmp_path / 'data' / f'{i:03d}.png')
    return tmp_path


def run(monkeypatch, folder, kwargs, error, *options):
    namespace = runpy.run_path(str(PROGRAM))
    snapshot = SimpleNamespace(G_ema=Generator(error), D=Encoder(), training_set_kwargs=kwargs)
    monkeypatch.setitem(namespace['measure'].__globals__, 'load_network_snapshot', lambda path, only: snapshot)
    monkeypatch.setattr('sys.argv', ['reconstruction.py', f'--data={folder / "data"}', '--device=cpu', '--verbose=0',
                                     f'--network={folder / "network-snapshot-000060.pkl"}', *options])
    namespace['main']()
    return [json.loads(line) for line in (folder / 'metric-reconstruction.jsonl').read_text().splitlines()]


def test_errors_are_relative_to_the_mean_image(folder, monkeypatch):
    x = np.stack([np.asarray(PIL.Image.open(path)) for path in sorted((folder / 'data').iterdir())]) / 127.5 - 1
    expected = 0.1 ** 2 / x.var(axis=0).mean()
    line, = run(monkeypatch, folder, dict(max_size=120), 0.1)
    assert line['snapshot_pkl'] == 'network-snapshot-000060.pkl'
    assert line['results'] == {'reconstruction': pytest.approx(expected, rel=1e-5)}


def test_unseen_images_are_those_outside_the_subset(folder, monkeypatch):
    subset = dict(max_size=60, random_seed=1)
    line, = run(monkeypatch, folder, subset, 0.0)
    assert line['results'] == {'reconstruction': 0, 'reconstruction_unseen': 0}
    assert len(run(monkeypatch, folder, subset, 0.0, '--missing-only')) == 1
    assert len(run(monkeypatch, folder, subset, 0.0)) == 2
