"""The outputs of a run: progress bar, status lines, stats.jsonl, metric-<name>.jsonl, TensorBoard, Weights & Biases."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import psutil
from tqdm import tqdm

from dnnlib.files import must_write
from dnnlib.jsonl import append_line
from dnnlib.util import UserError, format_time
from torch_utils import distributed, training_stats
from training.run.health import Health
from training.run.loggers.jsonl import StatsFile, finite_or_none, keep_lines
from training.run.loggers.tensorboard import TensorBoardLogger
from training.run.loggers.weights_biases import WandbLogger, resolve_mode
from training.run.watch import Watch

LONGEST_SIDE = 2048  # of a picture sent to the loggers, in pixels; the PNG in the run directory is not scaled down


class Monitor:
    """Call `progress` after every batch, `end_of_tick`, `write` and `start_tick` in every tick, `close` at the end.

    run_dir: where everything goes.
    start_nimg, total_nimg: images at which the run begins and ends. Entries of an earlier process for later images are dropped.
    config: the whole configuration (training.config). Its items `wandb` and `resume_pkl` are used here, and Weights & Biases
    shows all items.
    rank: of this process; all ranks call end_of_tick and write, but only rank 0 writes and prints.
    peak_flops: operations per second of the device of a rank, None if unknown.
    The bar appears only on a terminal. Raises UserError if the run directory cannot be written.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int, total_nimg: int, config: Mapping[str, Any] | None = None,
                 rank: int = 0, peak_flops: float | None = None):
        config = config or {}
        self.start_time = self._tick_start = self._previous_end = time.monotonic()  # the time of day may jump
        self._tick_nimg, self._total_nimg = start_nimg, total_nimg
        self._rows, self._peak_flops = config.get('batch_size', 1) // distributed.world_size(), peak_flops
        self._collector = training_stats.Collector()
        self._health = Health(run_dir, start_nimg, config.get('resume_pkl'))
        self._waited = 0.0
        self._watch: Watch | None = None
        self._process = psutil.Process()
        self._run_dir, self._is_first = Path(run_dir), rank == 0
        terminal = self._is_first and sys.__stderr__ is not None and sys.__stderr__.isatty()
        self._bar = tqdm(total=total_nimg, initial=start_nimg, unit='img', file=sys.__stderr__, smoothing=0.1, dynamic_ncols=True,
                         disable=not terminal, leave=False, bar_format='{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} img  '
                         '{rate_fmt}  left {remaining}')
        self._loggers: list[TensorBoardLogger | WandbLogger] = []
        if self._is_first:
            with must_write(run_dir, 'make room, or make the directory writable'):
                for path in self._run_dir.glob('metric-*.jsonl'):
                    keep_lines(path)
                self._stats = StatsFile(run_dir, start_nimg)
                self._watch = Watch(run_dir, start_nimg, config, self.print)
            try:
                self._loggers.append(TensorBoardLogger(run_dir, start_nimg))
            except OSError as err:
                self._tell_off(TensorBoardLogger.__name__, err)
            self._add_wandb(config)

    def _add_wandb(self, config: Mapping[str, Any]) -> None:
        options = config.get('wandb') or {'mode': 'disabled'}
        mode = resolve_mode(options['mode'])
        if mode != 'disabled':
            self._loggers.append(WandbLogger(self._run_dir, {**options, 'mode': mode}, config, self.print))
        elif options['mode'] == 'auto':
            self.print('Weights & Biases: off (`wandb login` or --wandb=offline turns it on)')

    def progress(self, cur_nimg: int) -> None:
        """Move the bar."""
        self._bar.update(cur_nimg - self._bar.n)

    def print(self, text: str) -> None:
        """Print a line without breaking the progress bar; only on rank 0."""
        if not self._is_first:
            return
        self._bar.clear()
        print(text, flush=True)
        self._bar.refresh()

    def end_of_tick(self, tick: int, cur_nimg: int, augment_p: float, gpu_gib: float, flops: float | None = None) -> None:
        """Print the status line of the tick that has just ended. flops: operations of a step in this process, None if not counted
        yet.

        Raises UserError if a loss was NaN or infinite throughout the tick. Nothing more is saved then.
        """
        now = time.monotonic()
        report = training_stats.report0
        images, seconds = cur_nimg - self._tick_nimg, now - self._tick_start
        maintenance = self._tick_start - self._previous_end
        total = now - self.start_time
        cpu_gib = self._process.memory_info().rss / 2 ** 30
        sec_per_kimg = seconds / images * 1e3
        left = (self._total_nimg - cur_nimg) * (now - self._previous_end) / images  # at the pace of this tick and its maintenance
        self.print(' '.join([
            f'tick {report("Progress/tick", tick):<5d}',
            f'kimg {report("Progress/kimg", cur_nimg / 1e3):<8.1f}',
            f'time {format_time(report("Timing/total_sec", total)):<12s}',
            f'sec/tick {report("Timing/sec_per_tick", seconds):<7.1f}',
            f'sec/kimg {report("Timing/sec_per_kimg", sec_per_kimg):<7.2f}',
            f'maintenance {report("Timing/maintenance_sec", maintenance):<6.1f}',
            f'cpumem {report("Resources/cpu_mem_gb", cpu_gib):<6.2f}',
            f'gpumem {report("Resources/peak_gpu_mem_gb", gpu_gib):<6.2f}',
            f'augment {report("Progress/augment", augment_p):.3f}',
            f'img/s {1e3 / sec_per_kimg:<7.1f}',
            *self._arithmetic(flops, images / seconds),
            f'left {format_time(max(left, 0))}',
        ]))
        report('Timing/data_wait_percent', 100 * self._waited / seconds if seconds else 0.0)
        report('Timing/total_hours', total / 3600)
        report('Timing/total_days', total / 86400)
        self._tick_nimg = cur_nimg
        self._previous_end = now
        problem = self._health.check(cur_nimg)
        if problem:
            self.write(cur_nimg, {})
            raise UserError(problem)

    def _arithmetic(self, flops: float | None, images_per_second: float) -> list[str]:
        """The arithmetic speed of all devices together, and its share of their peak."""
        if not flops:
            return []
        report = training_stats.report0
        per_second = flops / self._rows * images_per_second
        parts = [f'gflop/s {report("Timing/gflop_per_sec", per_second / 1e9):<8.1f}']
        if self._peak_flops is not None:
            share = per_second / (self._peak_flops * distributed.world_size())
            parts.append(f'mfu {report("Timing/mfu_percent", 100 * share):<4.1f}%')
        return parts

    def write(self, cur_nimg: int, phase_milliseconds: dict[str, float]) -> None:
        """Write the statistics of the tick to stats.jsonl and the loggers."""
        for name, milliseconds in phase_milliseconds.items():
            training_stats.report0(f'Timing/{name}', milliseconds)
        self._collector.update()
        stats = self._collector.as_dict()
        for name, values in stats.items():
            if name.endswith('/nonfinite_grads') and values['mean'] > 0:
                self.print(f'warning: {name.split("/")[1]} had gradients that were not finite in this tick; they were zeroed')
        if self._is_first:
            try:
                self._stats.write(stats)
            except OSError as err:
                self.print(f'Error: {self._run_dir / "stats.jsonl"} could not be written ({err.strerror}); training continues')
        self._log('scalars', {name: values['mean'] for name, values in stats.items() if values['num']}, cur_nimg)
        for name, text in self._watch.look(stats, cur_nimg).items() if self._watch else ():
            self._log('alert', name, text, cur_nimg)

    @property
    def stopped_by(self) -> str | None:
        """The trouble for which --stop-on stops the run, and what to change. None if there is none, and on ranks other than 0."""
        return self._watch.stopped_by if self._watch else None

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Counts the time inside as waiting for images."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def start_tick(self) -> None:
        """Begin the next tick. The time since the last one is maintenance."""
        self._tick_start, self._waited = time.monotonic(), 0.0

    def image(self, name: str, path: str | Path, cur_nimg: int) -> None:
        """Send a picture, such as a new grid of fakes at `path`, to the loggers; scaled down if necessary."""
        if not self._loggers:
            return
        with PIL.Image.open(path) as image:
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            pixels = np.asarray(image)
        self._log('image', name, pixels.reshape(*pixels.shape[:2], -1), cur_nimg)

    def metric(self, record: Mapping[str, Any], snapshot_pkl: str, cur_nimg: int, seed: int = 0) -> None:
        """Print the record of a metric (metrics.registry.calc_metric: results, metric, total_time, ...), append it to
        metric-<metric>.jsonl in the published form, and log it once as Metrics/<key>.

        snapshot_pkl: the file name of the snapshot that was evaluated. seed: of the metric; in the line if it is not 0.
        """
        if not self._is_first:
            return
        results = finite_or_none(record['results'])
        line = {**record, 'results': results, 'snapshot_pkl': snapshot_pkl, 'timestamp': time.time()}
        line |= {'seed': seed} if seed else {}
        self.print(append_line(self._run_dir / f'metric-{record["metric"]}.jsonl', line))
        self._log('scalars', {f'Metrics/{key}': value for key, value in results.items() if value is not None}, cur_nimg)

    def _log(self, kind: str, *args: Any) -> None:
        """Call this method of all loggers. A logger that cannot write is off from then on."""
        for logger in list(self._loggers):
            try:
                getattr(logger, kind)(*args)
            except OSError as err:
                self._loggers.remove(logger)
                self._tell_off(type(logger).__name__, err)

    def _tell_off(self, logger: str, err: OSError) -> None:
        self.print(f'Error: {logger} cannot write ({err.strerror or err}) and is off from now on; training continues')

    def close(self) -> None:
        """Close the files and remove the bar."""
        self._bar.close()
        if self._is_first:
            self._stats.close()
        for logger in self._loggers:
            with contextlib.suppress(OSError):  # a full disk, which was already reported
                logger.close()
