"""The state that a run needs beside its networks to resume exactly.

Random numbers need no state: they are keyed by (seed, images seen, rank). So are the order of the dataset and the position in it.
The moving average of the weights is in the network snapshot.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from dnnlib.util import UserError
from torch_utils import distributed
from training.augmentation.ada import AdaController
from training.losses import Phase
from training.networks.power_average import PowerAverages
from training.run.schedule import Position

FORMAT = 1


class TrainingState:
    """Collects and restores the optimisers, the buffers of loss terms, ADA's statistics, and averages of the weights.

    networks: {'G': ..., 'D': ...}. Optimiser states are keyed by parameter name, so a run with partly different networks can
    restore the rest. averages: None if the run keeps none.
    """

    def __init__(self, networks: Mapping[str, nn.Module], phases: Sequence[Phase], ada: AdaController | None,
                 averages: PowerAverages | None = None):
        self._networks, self._phases, self._ada, self._averages = networks, phases, ada, averages

    def take(self, position: Position) -> dict[str, Any]:
        """The state of all ranks, which must call this together: plain values, and the tensors themselves."""
        return {
            'format': FORMAT,
            'progress': asdict(position),
            'optimizers': {net: self._by_name(net, optimizer) for net, optimizer in self._optimizers().items()},
            'terms': {key: dict(term.state_dict()) for key, term in self._terms().items()},
            'ada': None if self._ada is None else self._ada.state_dict(),
            **({} if self._averages is None else {'averages': self._averages.state_dict()}),
        }

    def restore(self, source: str) -> tuple[Position, list[str]]:
        """Read the state from a path, on all ranks together; only rank 0 reads the file. Returns the progress, and the missing
        parts, which start fresh.

        Raises UserError if the file can't be read or does not hold a training state.
        """
        saved = distributed.broadcast_from_rank0(lambda: _read(source))
        missing = [f'optimiser of {net}.{name}' for net, optimizer in self._optimizers().items()
                   for name in self._restore_optimizer(net, optimizer, saved['optimizers'].get(net, {}))]
        for key, term in self._terms().items():
            buffers = saved['terms'].get(key, {})
            if _shapes(term.state_dict()) == _shapes(buffers):
                term.load_state_dict(buffers)
            else:
                missing.append(f'loss term {key}')
        if self._ada is not None and saved['ada'] is not None:
            self._ada.load_state_dict(saved['ada'])
        elif self._ada is not None:
            missing.append('statistics of ADA')
        if self._averages is not None and not ('averages' in saved and self._averages.load_state_dict(saved['averages'])):
            missing.append('averages for --post-hoc-ema')
        return Position(**saved['progress']), missing

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {phase.net: phase.optimizer for phase in self._phases}

    def _terms(self) -> dict[str, nn.Module]:
        return {f'{term.net}/{term.name}': term for phase in self._phases for term in phase.terms}

    def _names(self, net: str) -> list[str]:
        """The names of the parameters, in the optimiser's order."""
        return [name for name, _ in self._networks[net].named_parameters()]

    def _by_name(self, net: str, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
        """States of parameters that never had a gradient are empty."""
        states = optimizer.state_dict()['state']
        return {name: states.get(i, {}) for i, name in enumerate(self._names(net))}

    def _restore_optimizer(self, net: str, optimizer: torch.optim.Optimizer, saved: dict[str, dict]) -> list[str]:
        """Returns the names of parameters whose state is missing or has another shape, if there is any state."""
        states, fresh = {}, []
        shapes = {name: p.shape for name, p in self._networks[net].named_parameters()}
        for i, name in enumerate(self._names(net)):
            state = saved.get(name)
            if state is not None and all(t.shape in (shapes[name], torch.Size([])) for t in state.values()):
                states[i] = state
            elif saved:
                fresh.append(name)
        optimizer.load_state_dict({'state': states, 'param_groups': optimizer.state_dict()['param_groups']})
        return fresh


def _read(source: str) -> dict[str, Any]:
    """The result of `take`, from a file. Its content is checked here, so later errors do not come from the file."""
    try:
        saved = torch.load(source, map_location='cpu', weights_only=True)
        _check(saved)
        return saved
    except torch.cuda.OutOfMemoryError:  # a RuntimeError
        raise
    except (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError,
            pickle.UnpicklingError, struct.error, zipfile.BadZipFile) as err:  # of torch.load, which runs on the CPU alone
        raise UserError(f'{source}: not a readable training state ({" ".join(str(err).split())[:200]}); move it away to resume '
                        'from the network snapshot with fresh optimisers') from err


def _check(saved: Any) -> None:
    """Raise ValueError or LookupError unless `saved` has the structure that `take` returns."""
    if type(saved) is not dict or saved.get('format') != FORMAT:
        raise ValueError(f'its format is not {FORMAT}')
    position, ada = saved['progress'], saved['ada']
    if type(position) is not dict or position.keys() != asdict(Position()).keys() or \
            not all(type(n) is int and n >= 0 for n in position.values()):
        raise ValueError('its progress is corrupt')
    optimizers = saved['optimizers']
    if type(optimizers) is not dict or not all(_is_table(net) and all(map(_is_tensors, net.values()))
                                               for net in optimizers.values()):
        raise ValueError('its optimisers are corrupt')
    if not _is_table(saved['terms']) or not all(map(_is_tensors, saved['terms'].values())):
        raise ValueError('its loss terms are corrupt')
    if ada is not None and (not _is_table(ada) or not _is_table(ada.get('pending')) or not all(
            type(moments) is list and all(type(x) is float for x in moments) for moments in ada['pending'].values())):
        raise ValueError('its statistics of ADA are corrupt')
    if 'averages' in saved:
        _check_averages(saved['averages'])


def _check_averages(averages: Any) -> None:
    if not _is_table(averages) or type(averages.get('seen_nimg')) is not int or averages['seen_nimg'] < 0 or \
            not _is_table(averages.get('values')) or not all(map(_is_tensors, averages['values'].values())):
        raise ValueError('its averages are corrupt')


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(type(key) is str for key in value)


def _is_tensors(value: Any) -> bool:
    return _is_table(value) and all(map(torch.is_tensor, value.values()))


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: t.shape for name, t in tensors.items()}


def tensors_in(value: Any, name: str) -> dict[str, torch.Tensor]:
    """All tensors in nested dicts, by name."""
    if torch.is_tensor(value):
        return {name: value}
    items = value.items() if isinstance(value, Mapping) else ()
    return {key: tensor for k, v in items for key, tensor in tensors_in(v, f'{name}.{k}').items()}
