"""When a run writes what, counted in images and ticks. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Position:
    """How far a run has come: images seen, the number of its current tick, and the images seen when that tick began."""

    cur_nimg: int = 0
    tick: int = 0
    tick_start_nimg: int = 0


@dataclass(frozen=True)
class Due:
    """The work after an iteration, in this order.

    number: of the tick that the iteration belongs to. tick: print the status line. images: draw the sample grid. snapshot: save
    the networks. evaluation: compute the metrics of that snapshot. end: leave the loop.
    """

    number: int
    tick: bool = False
    images: bool = False
    snapshot: bool = False
    evaluation: bool = False
    end: bool = False


class Schedule:
    """Ticks of c.kimg_per_tick thousand images; every c.image_snapshot_ticks ticks a grid, every c.network_snapshot_ticks ticks a
    snapshot (None: only at the end); the end after c.total_kimg thousand images.

    position: where the run is. Save it in each snapshot: a new Schedule resumes there.
    """

    def __init__(self, c: Mapping[str, Any], position: Position):
        self._total_nimg, self._tick_nimg = c['total_kimg'] * 1000, c['kimg_per_tick'] * 1000
        self._image_ticks, self._network_ticks = c['image_snapshot_ticks'], c['network_snapshot_ticks']
        self.position = position

    @property
    def finished(self) -> bool:
        """Whether the run has seen all of its images."""
        return self.position.cur_nimg >= self._total_nimg

    def after(self, cur_nimg: int, stop: bool, time_to_save: bool) -> Due:
        """The work that is due after `cur_nimg` images.

        stop: end the run here. time_to_save: --snap-minutes have passed since the last snapshot.
        """
        tick, tick_start_nimg = self.position.tick, self.position.tick_start_nimg
        self.position = Position(cur_nimg, tick, tick_start_nimg)
        end = self.finished or stop
        # The first tick is a single batch: problems show immediately.
        full = tick == 0 or cur_nimg >= tick_start_nimg + self._tick_nimg
        if full or self.finished:  # a tick that a stop interrupts continues when the run resumes
            self.position = Position(cur_nimg, tick + 1, cur_nimg)
        if not (full or end):
            return Due(tick, snapshot=time_to_save, evaluation=time_to_save)
        snapshot = end or time_to_save or _is_due(self._network_ticks, tick)
        return Due(tick, tick=True, images=end or _is_due(self._image_ticks, tick), snapshot=snapshot,
                   evaluation=snapshot and (self.finished or not stop),  # a run that must stop does not wait for metrics
                   end=end)


def _is_due(interval: int | None, tick: int) -> bool:
    """Every `interval` ticks; not at tick 0, which has trained on a single batch."""
    return interval is not None and tick > 0 and tick % interval == 0
