"""Saving a run: pairs of files that are complete or absent. A run continues if they cannot be written."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dnnlib.files import atomic_open
from dnnlib.seal import seal
from dnnlib.util import UserError
from torch_utils import distributed
from training.networks.power_average import PowerAverages
from training.run.resume import state_of, state_paths
from training.run.schedule import Position
from training.run.state import TrainingState, tensors_in
from training.snapshots.averages import averages_path, save_averages
from training.snapshots.file import write_network_snapshot


class Checkpoints:
    """Writes network-snapshot-<kimg>.pkl and training-state-<kimg>.pt. Keeps all snapshots and the newest `keep` states.

    modules: G, D, G_ema and augment_pipe (or None), as they are when `save` is called. averages: saved beside each snapshot as
    weight-averages-<kimg>.pt; None for none. say: prints what could not be saved. All ranks call `save`, and rank 0 writes.
    """

    def __init__(self, run_dir: str | Path, keep: int, modules: Mapping[str, Any], training_set_kwargs: Mapping,
                 state: TrainingState, say: Callable[[str], None], averages: PowerAverages | None = None):
        self._run_dir, self._keep, self._say = Path(run_dir), keep, say
        self._modules, self._training_set_kwargs, self._state = modules, training_set_kwargs, state
        self._averages = averages
        self.saved_at = time.monotonic()  # when the last snapshot was complete
        self.longest_save = 0.0           # seconds

    def save(self, position: Position) -> Path | None:
        """Write a pair. Returns the path of the network snapshot, or None if it could not be written. Then an error was printed,
        and older pairs are unchanged. Raises UserError if weights differ between ranks."""
        start = time.monotonic()
        state = self._state.take(position)
        self._check_ranks_agree(state)
        network_pkl = self._network_pkl(position.cur_nimg // 1000)
        with self.surviving(network_pkl.name) as attempt:
            if distributed.is_rank0():
                self._save_pair(network_pkl, position.cur_nimg, state)
        succeeded = distributed.broadcast_object(attempt.succeeded)
        self.saved_at = time.monotonic()
        self.longest_save = max(self.longest_save, self.saved_at - start)
        return network_pkl if succeeded else None

    def _check_ranks_agree(self, state: Mapping[str, Any]) -> None:
        modules = {name: module.state_dict() for name, module in self._modules.items() if module is not None}
        difference = distributed.first_difference(tensors_in({**modules, **state}, 'run'))
        if difference is not None:
            raise UserError(f'{difference}, differs from rank 0: a fault of the hardware or of the program. Nothing is saved; '
                            f'resume from the previous snapshot with --resume={self._run_dir}')

    def _network_pkl(self, kimg: int) -> Path:
        return self._run_dir / f'network-snapshot-{kimg:06d}.pkl'

    def _save_pair(self, network_pkl: Path, cur_nimg: int, state: Mapping[str, Any]) -> None:
        if self._averages is not None:  # first, so a pair always has its averages
            save_averages(averages_path(network_pkl), self._averages, cur_nimg)
        state_file, previous = state_paths(network_pkl)
        if state_of(network_pkl) == state_file:  # an older pair of this name stays valid until the new one is complete
            os.replace(state_file, previous)
        try:
            # The network snapshot is renamed last. That completes the pair.
            with atomic_open(network_pkl, 'w+b') as f:
                write_network_snapshot(f, self._modules, self._training_set_kwargs, cur_nimg)
                digest = seal(f)
                with atomic_open(state_file, 'w+b') as g:
                    torch.save(dict(state), g)
                    seal(g, belongs_to=digest, zipped=True)
        except BaseException:
            if state_of(network_pkl) == previous:
                os.replace(previous, state_file)
            elif state_of(network_pkl) is None:  # a state without its snapshot is useless
                state_file.unlink(missing_ok=True)
            raise
        self._prune(cur_nimg // 1000)

    def _prune(self, newest: int) -> None:
        """Remove all training states except the newest ones up to the one just saved. Later ones belong to a corrupt pair that
        the run skipped. Give a state that could not be renamed after a failed save its usual name."""
        found = [(int(m[1]), m[2] is not None, path) for path in self._run_dir.glob('training-state-*.pt')
                 if (m := re.fullmatch(r'training-state-(\d+)(\.previous)?', path.stem))]
        kept = sorted({kimg for kimg, _, _ in found if kimg <= newest})[-self._keep:]
        for kimg, replaced, path in found:
            if kimg not in kept or (replaced and state_of(self._network_pkl(kimg)) != path):
                path.unlink(missing_ok=True)
            elif replaced:
                os.replace(path, state_paths(self._network_pkl(kimg))[0])

    @contextlib.contextmanager
    def surviving(self, what: str) -> Iterator[Attempt]:
        """If a file cannot be written (full disk, read-only directory), print an error and continue."""
        attempt = Attempt()
        try:
            yield attempt
            attempt.succeeded = True
        except (OSError, RuntimeError) as err:
            cause = err
            while cause is not None and not isinstance(cause, OSError):  # torch.save replaces the OSError of a full disk
                cause = cause.__context__
            if cause is None and 'inline_container' not in str(err):  # torch's own file writer
                raise
            self._tell(what, getattr(cause, 'strerror', None) or err)

    def _tell(self, what: str, reason: object) -> None:
        self._say(f'Error: {self._run_dir / what} could not be saved ({reason}); training continues; older files are unchanged; '
                  'make room, or make the directory writable')


class Attempt:
    """Whether something was saved."""

    succeeded = False
