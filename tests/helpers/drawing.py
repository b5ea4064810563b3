"""Tiny networks to draw from, and generate.py as a program in this process, for the tests of its subcommands."""

import functools
from pathlib import Path

import numpy as np
import PIL.Image
import torch

import generate
from helpers.programs import run_program
from training.networks import Discriminator, Generator
from training.snapshots.file import load_network_snapshot, save_network_snapshot


def save_network(path, c_dim, resolution=16, channels=3, z_dim=8, importance=None, training_set_kwargs=None, **mapping_kwargs):
    """A network whose noise shows, and whose images of different latents and labels differ."""
    torch.manual_seed(resolution)
    common = dict(c_dim=c_dim, img_resolution=resolution, img_channels=channels)
    G = Generator(z_dim=z_dim, w_dim=8, mapping_kwargs=dict(num_layers=2, **mapping_kwargs),
                  synthesis_kwargs=dict(channel_base=64), **common)
    with torch.no_grad():
        torch.nn.init.normal_(G.mapping.w_avg)
        for name, p in G.named_parameters():
            if name.endswith('noise_strength'):
                p.fill_(0.5)
            elif name.endswith('torgb.weight'):
                p.mul_(0.4)  # most pixels are neither black nor white
        if importance is not None:
            G.mapping.importance.copy_(torch.tensor([importance]))
    save_network_snapshot(path, dict(G=G, G_ema=G, D=Discriminator(channel_base=64, **common)), training_set_kwargs or {}, 0)
    return path


@functools.lru_cache
def load(network):
    """G_ema of a snapshot that no test changes."""
    return load_network_snapshot(str(network)).G_ema


def run(*args):
    """(exit status, stdout, stderr) of `generate.py <args>`."""
    return run_program(generate.main, *args)


def draw(command, network, *args, outdir='out'):
    """The pictures that a successful run wrote, by file name: uint8 [H, W, C] each."""
    status, _, err = run(command, f'--network={network}', '--device=cpu', f'--outdir={outdir}', *args)
    assert (status, err) == (0, '')
    result = {}
    for path in Path(outdir).glob('*.png'):
        with PIL.Image.open(path) as image:
            assert image.format == 'PNG' and image.mode in ('L', 'RGB')
            result[path.name] = np.atleast_3d(np.array(image))
    return result


def assert_refused(status, text, command, network, *args):
    """A run ends with that status, `text` in its last line, no traceback, and no folder."""
    got, _, err = run(command, f'--network={network}', '--device=cpu', '--outdir=refused', *args)
    assert got == status and text in err.splitlines()[-1] and err.splitlines()[-1].startswith('Error: ')
    assert 'Traceback' not in err and (status == 2 or err.count('\n') == 1)
    assert not Path('refused').exists()


def seed_latent(seed, z_dim=8):
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim)).float()


def one_hot(G, domain):
    return torch.eye(G.c_dim)[domain:domain + 1]


@functools.lru_cache
def own_mean(G, domain):
    """The mean w [w_dim] of 10,000 latents of seed 0 in a domain; of an unconditional network, the one that it tracked."""
    if G.c_dim == 0:
        return G.mapping.w_avg
    z = torch.from_numpy(np.random.RandomState(0).randn(10_000, G.z_dim)).float()
    c = one_hot(G, domain)
    return G.mapping(z, c.repeat(10_000, 1))[:, 0].double().mean(dim=0).float()


def pixels(G, ws, **kwargs):
    """The image [H, W, C] of ws [1, num_ws, w_dim] by the published rule."""
    image = G.synthesis(ws, **{'noise_mode': 'const', **kwargs})[0].detach().numpy()
    return np.clip(image * np.float32(127.5) + np.float32(128), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def assert_close(actual, expected):
    """Equal pixels, but for rounding: the size of a batch may matter that much."""
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected).max() <= 1


def cells_of(picture, rows, columns):
    """A picture without margins [rows * H, columns * W, C] -> [rows, columns, H, W, C]."""
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    assert picture.shape[:2] == (rows * height, columns * width)
    return np.stack([np.split(row, columns, axis=1) for row in np.split(picture, rows)])
