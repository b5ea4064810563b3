"""Latents z of many images, found batch by batch. An interrupted search resumes after the last complete batch."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dnnlib.progress import Progress
from dnnlib.signals import StopOnSignal
from dnnlib.util import format_time

TELL_SECONDS, SAVE_SECONDS = 5.0, 15.0

Find = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images [N, C, H, W], labels [N, c_dim] -> z [N, z_dim]


class ManySearches:
    """images: uint8 [N, C, H, W]. labels: float32 [N, c_dim] on the device. find: returns their latents, each independently.
    batch: fixed batch size for find. The last batch is filled up, so an image does not depend on the number of images.

    step: number of images done, of num_steps. z: float32 [N, z_dim] on the device; rows of later images are 0.
    """

    def __init__(self, images: np.ndarray, labels: torch.Tensor, z_dim: int, find: Find, batch: int):
        self.step, self.num_steps = 0, len(images)
        self.z = torch.zeros(len(images), z_dim, device=labels.device)
        self._images, self._labels, self._find, self._batch = images, labels, find, batch

    def advance(self) -> int:
        """Search the next batch. Returns its number of images."""
        part = slice(self.step, min(self.step + self._batch, self.num_steps))
        count = part.stop - part.start
        x, c = as_input(self._images[part], self._labels.device), self._labels[part]
        missing = self._batch - count
        x, c = (torch.cat([t, t[-1:].expand(missing, *t.shape[1:])]) for t in (x, c))
        self.z[part] = self._find(x, c)[:count]
        self.step = part.stop
        return count

    def state_dict(self) -> dict[str, Any]:
        """For search_state."""
        return dict(step=self.step, z=self.z[:self.step].cpu())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state_dict of the same images."""
        self.z[:state['step']] = state['z'].to(self.z.device)
        self.step = state['step']


def search_all(searches: ManySearches, save: Callable[[], None]) -> bool:
    """Search the remaining images and show progress. Save periodically and at the end. Returns False if Ctrl-C or SIGTERM stopped
    it early."""
    save()  # shows immediately whether the file can be written
    begun, start = searches.step, time.monotonic()
    saved = told = start
    with StopOnSignal() as stop, Progress('latents', searches.num_steps - begun, verbose=sys.stderr.isatty()) as progress:
        while searches.step < searches.num_steps and not stop.requested:
            progress.advance(searches.advance())
            now = time.monotonic()
            if now - told >= TELL_SECONDS:
                left = (now - start) / (searches.step - begun) * (searches.num_steps - searches.step)
                progress.tell(f'latents of {searches.step}/{searches.num_steps} images found, left {format_time(left)}')
                told = now
            if now - saved >= SAVE_SECONDS:
                save()
                saved = now
        save()
    return searches.step == searches.num_steps


def as_input(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 [N, C, H, W] -> float32 in [-1, 1], on the device."""
    return torch.from_numpy(images).to(device, torch.float32) / 127.5 - 1


def digest(images: np.ndarray) -> str:
    """Hex digest of images."""
    return hashlib.sha256(str(images.shape).encode() + np.ascontiguousarray(images).tobytes()).hexdigest()
