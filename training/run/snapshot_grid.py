"""The pictures that a run writes of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.util import EasyDict
from torch_utils import devices, distributed
from training.inputs import GRID
from training.run.image_grid import choose_grid, save_image_grid


class SnapshotGrid:
    """The same latents and labels, rendered again and again while G_ema learns. Where several workers train, by the first."""

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
        """Write the pictures of the beginning, if they are not there; yields (kind, path) of each."""
        path = run_dir / 'fakes_init.png'
        if not self._shows or path.exists():  # there already if the run goes on in its own directory
            return
        save_image_grid(self.reals, run_dir / 'reals.png', (0, 255), self.size)
        yield 'reals', run_dir / 'reals.png'
        self.save_fakes(G_ema, path)
        yield 'fakes', path

    def save_fakes(self, G_ema: torch.nn.Module, path: Path) -> None:
        with torch.no_grad():
            images = [G_ema(z, c, noise_mode='const').cpu() for z, c in zip(self.z, self.c, strict=True)]
        save_image_grid(torch.cat(images).numpy(), path, (-1, 1), self.size)

    def save_snapshot(self, G_ema: torch.nn.Module, D: torch.nn.Module, run_dir: Path, kimg: int) -> Iterator[tuple[str, Path]]:
        """Write the pictures of this moment; yields (kind, path) of each."""
        if not self._shows:
            return
        path = run_dir / f'fakes{kimg:06d}.png'
        self.save_fakes(G_ema, path)
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
