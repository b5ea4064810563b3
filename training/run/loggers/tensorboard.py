"""TensorBoard's event files."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np


class TensorBoardLogger:
    """Scalars and images by thousands of images seen, with the time of day.

    start_nimg: images at which the run begins. Points of an earlier run in this directory at later kimg are hidden, so its curves
    continue.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int):
        from torch.utils.tensorboard import SummaryWriter  # half a second to import
        threading.excepthook = _without_full_disks
        # Hides everything from purge_step on. The tick that ended at start_nimg stays visible.
        purge_step = start_nimg // 1000 + 1 if start_nimg else None
        self._writer = SummaryWriter(str(run_dir), purge_step=purge_step)

    def scalars(self, values: Mapping[str, float], cur_nimg: int) -> None:
        """One point for each name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=cur_nimg // 1000)
        self._writer.flush()

    def image(self, name: str, pixels: np.ndarray, cur_nimg: int) -> None:
        """pixels: uint8 [H, W, C], C = 1 or 3."""
        self._writer.add_image(name, pixels, global_step=cur_nimg // 1000, dataformats='HWC')
        self._writer.flush()

    def alert(self, rule: str, text: str, cur_nimg: int) -> None:
        """Something is wrong with the run."""
        self._writer.add_text(f'Health/{rule}', text, global_step=cur_nimg // 1000)

    def close(self) -> None:
        self._writer.close()


def _without_full_disks(args: threading.ExceptHookArgs) -> None:
    """Print the error that ended a thread, except a write error of an event writer: the next call here raises that."""
    if not (issubclass(args.exc_type, OSError) and type(args.thread).__name__ == '_AsyncWriterThread'):
        threading.__excepthook__(args)
