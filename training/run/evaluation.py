"""Metrics of a run's snapshots while it trains."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dnnlib.util import EasyDict, UserError, construct_class_by_name, format_time
from metrics.context import Context, Interrupted, Result
from metrics.features.cache import FeatureCache
from metrics.features.together import Together
from metrics.registry import OFFLINE, background_note, calc_metric, check_metric, find_metric
from metrics.report import save_figure
from torch_utils import distributed
from torch_utils.devices import is_slow
from training.data.held_out import describe
from training.run.best import Best
from training.run.monitor import Monitor

T = TypeVar('T')


class Evaluation:
    """Computes c.metrics as calc_metrics.py does by default, without disturbing the run's random numbers.

    networks: G_ema and D are evaluated as they are. Everything that does not depend on them is computed only for the first
    snapshot, and kept in the feature cache. All ranks call `evaluate` and share the work. stop: called periodically; once it is
    true on any rank, the evaluation is aborted.

    A metric that cannot be computed is reported once and then skipped. The detector's weights, which may be downloaded, the data
    and the labels are checked at the start; other errors are found later. Training continues in any case.
    """

    def __init__(self, c: EasyDict, networks: Mapping[str, nn.Module], device: torch.device, monitor: Monitor,
                 stop: Callable[[], bool] | None = None):
        self._monitor, self._names, self._best = monitor, [], None
        self._told: set[str] = set()
        eval_data = None
        if not c.metrics:
            return
        if is_slow(device) and not c.slow_metrics:
            monitor.print(f'Metrics: none; {", ".join(c.metrics)}, the default, would take hours on this device. --metrics='
                          f'{",".join(c.metrics)} asks for it, docs/metrics.md names faster ones, calc_metrics.py computes them '
                          'later')
            return
        try:
            training_set = dataset = construct_class_by_name(**{**c.training_set_kwargs, 'use_labels': True})
            if c.get('eval_set_kwargs') is not None:
                dataset = construct_class_by_name(**c.eval_set_kwargs, use_labels=True)
                eval_data = describe(dataset.all_images(False))
            self._context = Context(networks['G_ema'], dataset, device, c.metric_seed, verbose=True, D=networks['D'],
                                    feature_cache=FeatureCache(), stop=stop,
                                    eval_data=eval_data, training_set=training_set,
                                    by='encoder' if c.reconstructs else 'projection')
        except UserError as err:
            monitor.print(f'Error: there will be no metrics: {err}')
            return
        self._names = list(c.metrics)
        note = background_note(self._names, networks['G_ema'].img_channels)
        if note is not None:
            monitor.print(note)
        for name in list(self._names):
            self._surviving(name, lambda name=name: self._prepare(name))  # type: ignore[misc]  # mypy: lambdas without defaults only
        rated = next((name for name in self._names if find_metric(name).better), None)
        self._best = Best(c.run_dir, rated, eval_data) if rated is not None else None

    def _prepare(self, name: str) -> None:
        """Check the requirements of a metric, and load them."""
        metric = find_metric(name)
        try:
            distributed.broadcast_from_rank0(lambda: check_metric(name, self._context))
        except UserError as err:
            if metric.detector is None or metric.detector == find_metric(OFFLINE).detector:
                raise
            raise UserError(f'{err} (in a run: --metrics={OFFLINE})') from err
        if metric.detector is not None:
            resize = metric.kwargs.get('resize', 'published')
            distributed.patiently(lambda: self._context.detector(metric.detector, resize))  # may be downloaded

    def evaluate(self, network_pkl: Path, cur_nimg: int) -> None:
        """Evaluate the networks just saved as network_pkl. Writes a line in metric-<name>.jsonl, a picture, points for the
        loggers, and best.json if they are the best by the first metric. Raises OSError if the files cannot be written."""
        if not self._names:
            return
        trouble = None
        context = dataclasses.replace(self._context, together=Together(self._names))
        for name in list(self._names):
            self._monitor.print(f'Calculating {name}...')
            start = time.monotonic()
            try:
                found = self._surviving(name, lambda name=name: calc_metric(name, context))  # type: ignore[misc]  # mypy: lambdas without defaults only
            except Interrupted:
                self._monitor.print(f'Stopping, as asked: {name} was given up after {format_time(time.monotonic() - start)}; '
                                    'calc_metrics.py --missing-only computes it later')
                return
            if found is not None and distributed.is_rank0():
                try:
                    self._write(*found, network_pkl, cur_nimg)
                except OSError as err:  # after the other metrics, which all ranks compute together
                    trouble = err
        if trouble is not None:
            raise trouble

    def _write(self, result: Result, record: dict[str, Any], network_pkl: Path, cur_nimg: int) -> None:
        name = record['metric']
        for note in result.notes:
            if note not in self._told:
                self._monitor.print(note)
                self._told.add(note)
        self._monitor.metric(record, network_pkl.name, cur_nimg, self._context.seed)
        if self._best is not None and self._best.metric == name:
            self._best.offer(record, network_pkl.name, cur_nimg)
        figure = save_figure(result, network_pkl.with_name(f'{name}-{network_pkl.stem}.png'))
        if figure is not None:
            self._monitor.image(f'metrics/{name}', figure, cur_nimg)

    def _surviving(self, name: str, compute: Callable[[], T]) -> T | None:
        """The result of `compute`; None if it fails on any rank, which is reported. Raises Interrupted."""
        found = error = None
        try:
            found = compute()
        except Exception as err:  # no error of a metric may end the run
            error = err
        try:
            distributed.agree(error)
        except Interrupted:
            raise
        except Exception as err:
            self._names.remove(name)
            if isinstance(err, UserError):
                text = str(err)
            else:
                text = f'{type(err).__name__}: {err}'
                self._monitor.print(''.join(traceback.format_exception(err)).rstrip())
            self._monitor.print(f'Error: --metrics={name} is left out from now on: {text}')
            return None
        return found
