"""The pictures that a run draws while it trains: which cells they show, and one PNG for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from dnnlib.channels import NAMES, on_checkerboard
from dnnlib.files import atomic_open
from dnnlib.image_size import ImageSize, height_width
from dnnlib.util import EasyDict
from torch_utils import devices, distributed, training_stats
from training.inputs import GRID
from training.run.probes import variety

WIDTH, HEIGHT = 7680, 4320  # the published limits of the picture, in pixels
SMALL = 16                  # columns and rows of a picture on a slow device
VARIETY = 'Health/variety'
HIGHEST = 16384             # our limit for a grid by domain, which most programs can open


class SampleGrid:
    """The same latents and labels, drawn repeatedly during training. Only rank 0 draws."""

    def __init__(self, c: EasyDict, training_set: Any, z_dim: int, device: torch.device):
        self._shows = distributed.is_rank0()
        if not self._shows:
            return
        self.reconstructs = c.reconstructs
        self.size, items = choose_grid(training_set, c.grid_by_domain, small=devices.is_slow(device))
        images, labels = zip(*(training_set[i] for i in items), strict=True)
        self.reals = np.stack(images)
        devices.seed_everything(c.random_seed, GRID)
        z = torch.randn(len(items), z_dim, device=device)
        if c.grid_by_domain:  # in each block of one row per domain, a column is one latent
            columns, rows = self.size
            block = torch.arange(rows, device=device) // training_set.label_dim * columns
            z = z[(block[:, None] + torch.arange(columns, device=device)).flatten()]
        self.z = z.split(c.batch_gpu)
        self.c = torch.from_numpy(np.stack(labels)).to(device).split(c.batch_gpu)

    def save_first(self, G_ema: torch.nn.Module, run_dir: Path) -> Iterator[tuple[str, Path]]:
        """Write the first pictures, unless they exist. Yields (kind, path) of each."""
        path = run_dir / 'fakes_init.png'
        if not self._shows or path.exists():  # a run that resumes in place has them
            return
        save_image_grid(self.reals, run_dir / 'reals.png', (0, 255), self.size)
        yield 'reals', run_dir / 'reals.png'
        save_image_grid(self._draw(G_ema), path, (-1, 1), self.size)
        yield 'fakes', path

    def _draw(self, G_ema: torch.nn.Module) -> np.ndarray:
        """The generated images: float32 [N, C, H, W], nominally in [-1, 1]."""
        with torch.no_grad():
            return torch.cat([G_ema(z, c, noise_mode='const').cpu() for z, c in zip(self.z, self.c, strict=True)]).numpy()

    def save_snapshot(self, G_ema: torch.nn.Module, D: torch.nn.Module, run_dir: Path, kimg: int) -> Iterator[tuple[str, Path]]:
        """Report the variety of the images after `kimg` thousand images, and write them. Yields (kind, path) of each picture."""
        if not self._shows:
            training_stats.report0(VARIETY, [])  # the name is known on all ranks
            return
        path = run_dir / f'fakes{kimg:06d}.png'
        fakes = self._draw(G_ema)
        # First, because all ranks must know the same names, even if the disk is full.
        training_stats.report0(VARIETY, variety((fakes.clip(-1, 1) + 1) * 127.5, self.reals, torch.cat(self.c).cpu().numpy()))
        save_image_grid(fakes, path, (-1, 1), self.size)
        yield 'fakes', path
        if self.reconstructs:
            path = run_dir / f'recon{kimg:06d}.png'
            self.save_reconstructions(G_ema, D, path)
            yield 'recon', path

    def save_reconstructions(self, G_ema: torch.nn.Module, D: torch.nn.Module, path: Path) -> None:
        """Real images, each with its reconstruction G(E(x), c) to the right (CLR-GAN)."""
        columns, rows = self.size
        width = columns - columns % 2
        chosen = [row * columns + column for row in range(rows) for column in range(width // 2)]
        reals = torch.from_numpy(self.reals[chosen]).to(self.c[0].device).to(torch.float32) / 127.5 - 1
        pairs = []
        for x, c in zip(reals.split(len(self.c[0])), torch.cat(self.c)[chosen].split(len(self.c[0])), strict=True):
            with torch.no_grad():
                reconstructions = G_ema(D(x, c, return_latent=True)[1], c, noise_mode='const')
            pairs.append(torch.stack([x, reconstructions], dim=1).cpu())
        save_image_grid(torch.cat(pairs).flatten(0, 1).numpy(), path, (-1, 1), (width, rows))


def grid_size(resolution: ImageSize, num_domains: int = 0, small: bool = False) -> tuple[int, int]:
    """(columns, rows) of the snapshot grid. num_domains: for the smaller grid by domain; 0 for the usual one.

    small: at most 16 columns and 16 rows, but at least one row per domain. On a CPU, the published 1024 images of 32x32 would
    take five times as long as a training step.
    """
    most = SMALL if small else HIGHEST
    height, width = height_width(resolution)
    if not num_domains:
        return min(int(np.clip(WIDTH // width, 7, 32)), most), min(int(np.clip(HEIGHT // height, 4, 32)), most)
    columns = int(np.clip(768 // width, 7, 32)) * (2 if width < 256 else 1)
    blocks = int(np.clip(432 // height, 4, 32))
    highest = min(HIGHEST // height, most)  # in rows
    return min(columns, most), min(blocks, max(highest // num_domains, 1)) * num_domains


def choose_grid(training_set: Any, by_domain: bool = False, small: bool = False) -> tuple[tuple[int, int], list[int]]:
    """Choose the cells of the snapshot grid: (columns, rows), and the dataset item that each cell shows, row by row.

    Without labels, the items are random. With labels, each row shows one label. Labels follow in ascending order (of their
    entries read backwards), and the next row of the same label continues with the next items. by_domain: use the size of the
    published multi-domain grids, whose rows come in blocks of one row per label.
    small: as in grid_size.
    """
    columns, rows = grid_size(training_set.resolution, training_set.label_dim if by_domain else 0, small)
    rng = np.random.RandomState(0)
    if not training_set.has_labels:
        items = rng.permutation(len(training_set))
        return (columns, rows), [int(items[i % len(items)]) for i in range(columns * rows)]

    groups: dict[tuple, list[int]] = {}
    for i in range(len(training_set)):
        raw_label = np.atleast_1d(training_set.get_details(i).raw_label)
        groups.setdefault(tuple(raw_label[::-1].tolist()), []).append(i)
    labels = sorted(groups)
    for label in labels:
        rng.shuffle(groups[label])
    cells = []
    for row in range(rows):
        group = groups[labels[row % len(labels)]]
        first = row // len(labels) * columns
        cells += [group[(first + column) % len(group)] for column in range(columns)]
    return (columns, rows), cells


def save_image_grid(images: np.ndarray, path: str | Path, value_range: tuple[float, float], grid: tuple[int, int]) -> None:
    """Write images [N, C, H, W] as one PNG of grid = (columns, rows) cells without gaps, atomically; those with alpha on a
    checkerboard.

    value_range: the values that become black and white. Raises ValueError if the cells don't match the images.
    """
    columns, rows = grid
    n, channels, height, width = images.shape
    if n != columns * rows or channels not in NAMES:
        raise ValueError(f'{n} images with {channels} channels do not fill {columns}x{rows} cells of 1 to 4 channels')
    low, high = value_range
    pixels = np.rint((np.asarray(images, dtype=np.float32) - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    pixels = on_checkerboard(pixels.transpose(0, 2, 3, 1))
    pixels = pixels.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    pixels = pixels.reshape(rows * height, columns * width, -1)
    with atomic_open(path) as f:
        PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(f, format='PNG')
