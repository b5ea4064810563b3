"""What a run tells of itself: progress bar, status lines, stats.jsonl, TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import psutil
from tqdm import tqdm

from dnnlib.util import format_time
from torch_utils import training_stats


class Monitor:
    """Call `progress` after every batch, `tick` after every tick, `close` at the end.

    run_dir: where stats.jsonl and TensorBoard's events go. start_nimg, total_nimg: images at which the run begins
    and ends. The bar appears on a terminal only; elsewhere there are just the status lines.
    """

    def __init__(self, run_dir: str | Path, start_nimg: int, total_nimg: int):
        self.start_time = self._tick_start = self._previous_end = time.time()
        self._tick_nimg, self._total_nimg = start_nimg, total_nimg
        self._collector = training_stats.Collector()
        self._style_lives = True
        self._process = psutil.Process()
        self._stats = open(Path(run_dir, 'stats.jsonl'), 'a', encoding='utf-8')  # noqa: SIM115 (closed by close)
        self._events = _summary_writer(run_dir)
        terminal = sys.__stderr__ is not None and sys.__stderr__.isatty()
        self._bar = tqdm(total=total_nimg, initial=start_nimg, unit='img', file=sys.__stderr__, smoothing=0.1, dynamic_ncols=True,
                         disable=not terminal, leave=False, bar_format='{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} img  '
                         '{rate_fmt}  left {remaining}')

    def progress(self, cur_nimg: int) -> None:
        """Move the bar."""
        self._bar.update(cur_nimg - self._bar.n)

    def print(self, text: str) -> None:
        """Print a line without tearing the bar."""
        self._bar.clear()
        print(text, flush=True)
        self._bar.refresh()

    def end_of_tick(self, tick: int, cur_nimg: int, augment_p: float, gpu_gib: float) -> None:
        """Print the status line of the tick whose last batch was just done."""
        now = time.time()
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
            f'left {format_time(max(left, 0))}',
        ]))
        report('Timing/total_hours', total / 3600)
        report('Timing/total_days', total / 86400)
        self._tick_nimg = cur_nimg
        self._previous_end = now

    def write(self, cur_nimg: int, phase_milliseconds: dict[str, float]) -> None:
        """Write the statistics of the tick to stats.jsonl and TensorBoard; the next tick begins now."""
        for name, milliseconds in phase_milliseconds.items():
            training_stats.report0(f'Timing/{name}', milliseconds)
        self._collector.update()
        stats = self._collector.as_dict()
        for name, values in stats.items():
            if name.endswith('/nonfinite_grads') and values['mean'] > 0:
                self.print(f'warning: {name.split("/")[1]} had gradients that were not finite in this tick; they were zeroed')
        if self._style_lives and stats.get('Progress/style_dims', {'mean': 1})['mean'] == 0:
            self._style_lives = False
            self.print('warning: no style coordinate is left alive (importance above 0.1), so that all domains share all latents '
                       'and there is no Jacobian to make sparse; a smaller --lambda-sparse keeps more of them')
        # Strict JSON has no NaN: what is undefined is null.
        line = {name: {k: v if math.isfinite(v) else None for k, v in values.items()} for name, values in stats.items()}
        self._stats.write(json.dumps({**line, 'timestamp': time.time()}, allow_nan=False) + '\n')
        self._stats.flush()
        for name, values in stats.items():
            self._events.add_scalar(name, values['mean'], global_step=cur_nimg // 1000)
        self._events.flush()
        self._tick_start = time.time()

    def close(self) -> None:
        """Close the files and remove the bar."""
        self._bar.close()
        self._stats.close()
        self._events.close()


def _summary_writer(run_dir: str | Path):
    from torch.utils.tensorboard import SummaryWriter  # half a second to import
    return SummaryWriter(str(run_dir))
