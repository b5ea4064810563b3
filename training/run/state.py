"""What a run has to remember beside its networks to go on as if it had never stopped.

Random numbers need no memory: they are keyed by (seed, images seen, worker), and so are the order of the dataset and the position
in it. The moving average of the weights is in the network snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from dnnlib.util import UserError
from torch_utils import distributed
from training.augmentation.ada import AdaController
from training.losses import Phase

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a run has come: images seen, number of the tick that it is in, and images seen when that began."""

    cur_nimg: int = 0
    tick: int = 0
    tick_start_nimg: int = 0


class TrainingState:
    """Takes down and restores the optimisers, the buffers of loss terms, and what ADA has collected.

    networks: {'G': ..., 'D': ...}. Optimisers are kept by the names of the parameters, so that a run whose networks
    differ in parts can take over the rest.
    """

    def __init__(self, networks: Mapping[str, nn.Module], phases: Sequence[Phase], ada: AdaController | None):
        self._networks, self._phases, self._ada = networks, phases, ada

    def take(self, progress: Progress) -> dict[str, Any]:
        """What is to be saved, for all workers, who must call it together: plain values, and the tensors themselves."""
        return {
            'format': FORMAT,
            'progress': asdict(progress),
            'optimizers': {net: self._by_name(net, optimizer) for net, optimizer in self._optimizers().items()},
            'terms': {key: dict(term.state_dict()) for key, term in self._terms().items()},
            'ada': None if self._ada is None else self._ada.state_dict(),
        }

    def restore(self, source: str) -> tuple[Progress, list[str]]:
        """Read it from a path, in all workers together; only the first looks at the file. Returns the progress, and what it did
        not hold: those parts start anew.

        Raises UserError if the file can't be read or does not fit.
        """
        saved = distributed.broadcast_from_rank0(lambda: _read(source))
        try:
            if saved['format'] != FORMAT:
                raise ValueError(f'its format is {saved["format"]}')
            missing = [f'optimiser of {net}.{name}' for net, optimizer in self._optimizers().items()
                       for name in self._restore_optimizer(net, optimizer, saved['optimizers'][net])]
            for key, term in self._terms().items():
                buffers = saved['terms'].get(key, {})
                if term.state_dict().keys() == buffers.keys():
                    term.load_state_dict(buffers)
                else:
                    missing.append(f'loss term {key}')
            if self._ada is not None and saved['ada'] is not None:
                self._ada.load_state_dict(saved['ada'])
            elif self._ada is not None:
                missing.append('statistics of ADA')
            return Progress(**saved['progress']), missing
        except Exception as err:  # what is in a file can be anything
            raise _unreadable(source, err) from err

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {phase.net: phase.optimizer for phase in self._phases}

    def _terms(self) -> dict[str, nn.Module]:
        return {f'{term.net}/{term.name}': term for phase in self._phases for term in phase.terms}

    def _names(self, net: str) -> list[str]:
        """Of the parameters, in the optimiser's order."""
        return [name for name, _ in self._networks[net].named_parameters()]

    def _by_name(self, net: str, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
        """Those of parameters that never had a gradient are empty."""
        states = optimizer.state_dict()['state']
        return {name: states.get(i, {}) for i, name in enumerate(self._names(net))}

    def _restore_optimizer(self, net: str, optimizer: torch.optim.Optimizer, saved: dict[str, dict]) -> list[str]:
        """Returns the names of parameters whose state is missing or of another shape, while there is some."""
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


def _read(source: str) -> dict:
    try:
        return torch.load(source, map_location='cpu', weights_only=True)
    except Exception as err:  # a damaged file can make the reader raise anything
        raise _unreadable(source, err) from err


def _unreadable(source: str, err: Exception) -> UserError:
    return UserError(f'{source}: not a readable training state ({" ".join(str(err).split())[:200]}); move it away to go on from '
                     'the network snapshot with fresh optimisers')


def tensors_in(value: Any, name: str) -> dict[str, torch.Tensor]:
    """All tensors in nested dicts, by name."""
    if torch.is_tensor(value):
        return {name: value}
    items = value.items() if isinstance(value, Mapping) else ()
    return {key: tensor for k, v in items for key, tensor in tensors_in(v, f'{name}.{k}').items()}
