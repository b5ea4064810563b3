"""Metrics of a run's snapshots while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from dnnlib.util import EasyDict, UserError, construct_class_by_name
from metrics.context import Context
from metrics.registry import calc_metric
from metrics.report import save_figure
from torch_utils import distributed
from training.monitor import Monitor


class Evaluation:
    """Computes c.metrics as calc_metrics.py does by default, without disturbing the run's random numbers.

    networks: G_ema and D are evaluated as they are. What does not depend on them is computed for the first snapshot only.
    Where several workers train, all call `evaluate`, and the first one computes.
    """

    def __init__(self, c: EasyDict, networks: Mapping[str, nn.Module], device: torch.device, monitor: Monitor):
        self._names, self._monitor = list(c.metrics), monitor
        self._wait = distributed.waiting_room() if self._names else lambda: None
        data_kwargs = {**c.training_set_kwargs, 'use_labels': True, 'xflip': False}
        dataset = construct_class_by_name(**data_kwargs) if self._names else None
        self._context = Context(networks['G_ema'], dataset, device, D=networks['D'])

    def evaluate(self, network_pkl: Path, cur_nimg: int) -> None:
        """Evaluate what was just saved as network_pkl: a line in metric-<name>.jsonl, a picture, points for the loggers.

        A metric that can't be computed for this run is told once, and left out from then on. Raises OSError if the files
        can't be written.
        """
        for name in list(self._names) if distributed.is_first() else ():
            try:
                result, record = calc_metric(name, self._context)
            except UserError as err:
                self._names.remove(name)
                self._monitor.print(f'Error: --metrics={name} is left out from now on: {err}')
                continue
            self._monitor.metric(record, network_pkl.name, cur_nimg)
            figure = save_figure(result, network_pkl.with_name(f'{name}-{network_pkl.stem}.png'))
            if figure is not None:
                self._monitor.image(f'metrics/{name}', figure, cur_nimg)
        self._wait()
