"""Network snapshots: what is saved, and how it is read.

`network-snapshot-<kimg>.pkl` is a pickle of one dict with the published keys training_set_kwargs, G, D, G_ema,
augment_pipe, and `progress`. Networks are inert records (torch_utils.persistence): reading one runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from dnnlib.files import atomic_open
from dnnlib.util import EasyDict, UserError, open_url
from torch_utils import persistence
from torch_utils.misc import copy_params_and_buffers
from training import exported
from training.networks import Discriminator, Generator

NETWORKS = {'G': Generator, 'D': Discriminator, 'G_ema': Generator}


def save_network_snapshot(path: str | Path, networks: Mapping[str, nn.Module], training_set_kwargs: Mapping,
                          cur_nimg: int, augment_pipe: nn.Module | None = None) -> None:
    """Write G, D, G_ema and the pipe as they are now, atomically. cur_nimg: images seen so far."""
    snapshot = {'training_set_kwargs': dict(training_set_kwargs)}
    snapshot |= {name: persistence.to_record(networks[name]) for name in NETWORKS}
    snapshot |= {'augment_pipe': None if augment_pipe is None else persistence.to_record(augment_pipe),
                 'progress': {'cur_nimg': cur_nimg}}
    with atomic_open(path) as f:
        persistence.dump(snapshot, f)


def load_network_snapshot(source: str, only: tuple[str, ...] = tuple(NETWORKS)) -> EasyDict:
    """Read a snapshot from a path or URL.

    Returns training_set_kwargs, cur_nimg, and the networks named in `only`, in eval mode, without gradients, on the
    CPU. Raises UserError if the file is missing, damaged, or not a snapshot of this project.
    """
    if exported.is_export(source):  # which has no more than G_ema
        return exported.load_export(source, only)
    try:
        with open_url(source) as f:
            snapshot = persistence.load(f)
        if not isinstance(snapshot, dict) or any(name not in snapshot for name in only):
            raise persistence.RecordError('it lacks networks')
        loaded = EasyDict()
        for name in only:
            expected = NETWORKS[name]
            loaded[name] = persistence.from_record(snapshot[name], {expected.__name__: expected})
        progress = snapshot.get('progress', {'cur_nimg': 0})
        if not isinstance(progress, dict) or type(progress.get('cur_nimg')) is not int or progress['cur_nimg'] < 0:
            raise persistence.RecordError('its progress is damaged')
    except persistence.RecordError as err:
        raise UserError(f'{source}: not a readable network snapshot ({err}); '
                        'pass a network-snapshot-*.pkl written by train.py of this project') from err
    loaded.training_set_kwargs = snapshot.get('training_set_kwargs')
    loaded.cur_nimg = progress['cur_nimg']
    return loaded


def resume_networks(source: str, networks: Mapping[str, nn.Module]) -> int:
    """Copy the weights of a snapshot into `networks`; every tensor must be there and fit. Returns the images seen.

    Raises UserError if the snapshot can't be read or is of networks of another shape.
    """
    snapshot = load_network_snapshot(source)
    for name in NETWORKS:
        try:
            copy_params_and_buffers(snapshot[name], networks[name], require_all=True)
        except ValueError as err:
            raise UserError(f'{source}: its {name} does not fit this run ({err}); '
                            'use the options and dataset layout that it was trained with') from err
    return snapshot.cur_nimg


if __name__ == '__main__':
    from dnnlib import cli
    from training.snapshot_tool import main
    cli.run(main)
