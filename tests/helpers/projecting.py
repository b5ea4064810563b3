"""generate.py project in a folder of its own, for its tests."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch

from helpers import drawing
from training.sampling.projection.similarity import Features

QUICK = '--num-steps=2', '--save-video=0'


class Quick(Features):
    """Pixels as features: what takes long, but does not matter for going on."""

    def __init__(self, kind, device, detector_path=None):
        self.kind, self.net = kind, torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.net.weight)

    def __call__(self, images):
        return images.flatten(1)


def enter(folder, monkeypatch):
    """Work in a folder with target.png, and with a cache without weights for LPIPS."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(folder / 'cache'))
    picture(20, 16).save('target.png')


def picture(width, height, mode='RGB'):
    """Smooth, and different everywhere."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), 255 - 120 * (x + y) / (width + height)], axis=2)
    return PIL.Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def run(network, *args, outdir='out', target='target.png'):
    """stdout of a successful run."""
    status, out, err = drawing.run('project', f'--network={network}', '--device=cpu', f'--target={target}', f'--outdir={outdir}',
                                   *args)
    assert (status, err) == (0, '')
    return out


def written(outdir='out'):
    return sorted(path.name for path in Path(outdir).iterdir())


def npz(outdir='out'):
    return Path(outdir, 'projected_w.npz').read_bytes()
