"""TensorBoard's event files."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np


class TensorBoardLogger:
    """Scalars and images by thousands of images seen, with the time of day.

    start_nimg: the images that the run begins at. What an earlier run in this directory wrote for later kimg is hidden,
    so that its curves are continued instead of overlaid.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int):
        from torch.utils.tensorboard import SummaryWriter  # half a second to import
        threading.excepthook = _without_full_disks
        # Everything from purge_step on is hidden; the tick that ended with start_nimg itself stays.
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
    """Print what ended a thread, unless that is one that writes events and could not: the next call here raises it."""
    if not (issubclass(args.exc_type, OSError) and type(args.thread).__name__ == '_AsyncWriterThread'):
        threading.__excepthook__(args)
