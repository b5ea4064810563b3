"""Networks of the user in snapshots: the names of their classes in files, and the classes that the user allows.

A file never decides what is imported. The user chooses classes first, by --g-class, --d-class or --classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from dnnlib.plugins import classes_in, lacks, load_module, load_object, public_name
from dnnlib.util import OptionError, UserError
from torch_utils.persistence import RecordError, persistent
from training.networks import protocols
from training.snapshots.published.convert import NETWORKS

PROTOCOLS = {'G': protocols.Generator, 'D': protocols.Discriminator, 'G_ema': protocols.Generator}
_chosen: list[type] = []


def choose(names: str | None) -> None:
    """Allow these classes from now on, instead of those chosen before: `package.module.Class` or `path/to/file.py:Class`, or
    several with commas; `path/to/file.py` means all classes in it. Raises OptionError if a class does not exist."""
    chosen = []
    for name in (names or '').split(','):
        name = name.strip()
        try:
            if name.endswith('.py'):
                chosen += classes_in(load_module(name))
            elif name:
                chosen.append(load_object(name))
        except UserError as err:
            raise OptionError(f'--classes: {err}') from err
        if name and not isinstance(chosen[-1] if chosen else None, type):
            raise OptionError(f'--classes={name}: not a class')
    _chosen[:] = [persistent(cls) if issubclass(cls, nn.Module) else cls for cls in chosen]


def record_name(module: nn.Module) -> str:
    """The name of a network's class in files: `Generator` or `Discriminator` for ours, else with the name of its module."""
    cls = type(module)
    return cls.__name__ if cls in NETWORKS.values() else public_name(cls)


def find(source: str, network: str, name: Any, more: Iterable[type] = ()) -> type:
    """The class for the record of `network` ('G', 'D', 'G_ema') that calls its class `name`.

    more: allowed classes beside those of `choose`. Raises RecordError for an invalid name, and UserError for a class that was not
    chosen.
    """
    if name == NETWORKS[network].__name__:
        return NETWORKS[network]
    if not isinstance(name, str) or len(name) > 100 or not re.fullmatch(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)+', name):
        raise RecordError(f'it holds an unknown or damaged network ({str(name)[:100]!r})')
    chosen = _named(name, [*more, *_chosen])
    if chosen is None:
        short = name.rpartition('.')[2]
        raise UserError(f'{source}: its {network} is of class {name}; add --classes=package.module.{short} or --classes=path.py:'
                        f'{short} if you trust that code (train.py: --g-class, --d-class)')
    return chosen


def check(network: str, module: nn.Module) -> nn.Module:
    """The module itself. Raises RecordError if it lacks the interface of 'G', 'D' or 'G_ema'."""
    missing = lacks(module, PROTOCOLS[network])
    if missing:
        raise RecordError(f'its {network}, a {type(module).__name__}, lacks {", ".join(missing)}')
    return module


def chosen_dataset(kwargs: dict, source: str) -> type | None:
    """The class with which to open the dataset of a snapshot, as chosen by --classes; None for ImageFolderDataset.

    kwargs: training_set_kwargs of the snapshot. Its class_name is only compared. Raises UserError if it names a class of the
    user, and no dataset class was chosen.
    """
    datasets = [cls for cls in _chosen if not issubclass(cls, nn.Module)]
    name = kwargs.get('class_name')
    if len(datasets) > 1:
        datasets = [cls for cls in datasets if isinstance(name, str) and cls.__name__ == re.split('[.:]', name)[-1]][:1]
    if not datasets and isinstance(name, str) and not name.startswith('training.'):
        short = ascii(re.split('[.:]', name)[-1])[1:-1][:100]
        raise UserError(f'{source}: it was trained on a dataset of class {short}; add --classes=package.module.{short} or '
                        f'--classes=path.py:{short} if you trust that code')
    return datasets[0] if datasets else None


def _named(name: str, classes: list[type]) -> type | None:
    """The class with this full name, or else the only one with this name without its module, because its file may have moved."""
    exact = [cls for cls in classes if public_name(cls) == name]
    alike = {cls for cls in classes if cls.__name__ == name.rpartition('.')[2]}
    return exact[0] if exact else alike.pop() if len(alike) == 1 else None
