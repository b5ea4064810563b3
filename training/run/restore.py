"""Resuming from the files of a run: what fits is restored, what is new is initialised, and both are printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from dnnlib.image_size import text_of
from dnnlib.util import EasyDict, UserError
from torch_utils import distributed
from torch_utils.misc import copy_params_and_buffers
from training.run.partial import listed, transfer_partially
from training.run.resume import stamp_of
from training.run.schedule import Position
from training.run.state import TrainingState
from training.snapshots.file import NETWORKS, load_network_snapshot


def restore_networks(c: EasyDict, networks: Mapping[str, nn.Module], augment_pipe: nn.Module | None,
                     snapshot: EasyDict | None = None) -> Position:
    """Copy the weights of c.resume_pkl, if set, into `networks`. With adaptive augmentation, also copy the strength into the
    pipe. Returns the position: images seen by c.resume_nimg, else by the file, else by its name.

    snapshot: its content, if already read.
    Raises UserError if the snapshot can't be read, or a network has nothing in common with its namesake in it, or, unless
    c.resume_partial is set, they have tensors of one name and different shapes.
    """
    if c.resume_pkl is None:
        return Position()
    print(f'Resuming from "{c.resume_pkl}"')
    snapshot = snapshot or read_snapshot(c, networks)
    if c.get('resume_partial'):
        transfer_partially(c.resume_pkl, {name: snapshot[name] for name in NETWORKS}, networks)
    else:
        for name in NETWORKS:
            _restore(c, name, snapshot[name], networks[name])
    if c.resume_nimg != 0 and c.ada_target is not None and snapshot.augment_p is not None:
        augment_pipe.p.fill_(snapshot.augment_p)
        print(f'Augmentation resumes at p = {snapshot.augment_p:.3f}')
    cur_nimg = next(n for n in (c.resume_nimg, snapshot.cur_nimg, _nimg_in_name(c.resume_pkl), 0) if n is not None)
    return Position(cur_nimg, tick_start_nimg=cur_nimg)


def _restore(c: EasyDict, name: str, source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one network. Print which tensors are new and which are unused. Raises UserError if they do not fit."""
    remedy = f'or take what fits: --transfer=partial --resume={c.resume_pkl}'
    try:
        new = copy_params_and_buffers(source, target)
    except ValueError as err:
        if source.c_dim != target.c_dim:
            raise UserError(f'{c.resume_pkl}: its {name} does not fit this run: it takes {_labels(source.c_dim)}, but the '
                            f'run has {_labels(target.c_dim)}; use the --cond and dataset that it was trained with, '
                            f'{remedy}') from err
        if source.img_resolution != target.img_resolution:
            raise UserError(f'{c.resume_pkl}: its {name} does not fit this run: it is for images of '
                            f'{text_of(source.img_resolution)}, but those of the run are {text_of(target.img_resolution)}; '
                            f'use a dataset of its size, {remedy}') from err
        raise UserError(f'{c.resume_pkl}: its {name} does not fit this run ({err}); '
                        f'use the options and dataset layout that it was trained with, {remedy}') from err
    wanted = target.state_dict().keys()
    if len(new) == len(wanted):
        raise UserError(f'{c.resume_pkl}: its {name} has nothing in common with that of this run')
    unused = [key for key in source.state_dict() if key not in wanted]
    print(f'{name}: {len(wanted) - len(new)} tensors restored' + listed('; new: ', new) + listed('; not used: ', unused))


def read_snapshot(c: EasyDict, networks: Mapping[str, nn.Module]) -> EasyDict:
    """The content of c.resume_pkl. A file that was verified when it was chosen (c.resume_stamp) is not hashed again.

    networks: their classes may be in the snapshot, too. Raises UserError if it can't be read.
    """
    stamp = stamp_of(c.resume_pkl)
    return load_network_snapshot(c.resume_pkl, classes=[type(net) for net in networks.values()],
                                 verified=stamp is not None and stamp == c.get('resume_stamp'))


def share_networks(networks: Mapping[str, nn.Module | None], position: Position) -> Position:
    """Give all ranks the weights and the position of rank 0."""
    distributed.broadcast_tensors([t for net in networks.values() if net is not None for t in net.state_dict().values()])
    return distributed.broadcast_object(position)


def restore_state(c: EasyDict, state: TrainingState, position: Position) -> Position:
    """Restore the optimisers and everything else from c.resume_state, if set. Returns the position at which to continue."""
    if c.resume_state is None:
        if c.resume_pkl is not None:
            print('Optimisers start fresh: there is no training state with this snapshot' if c.resume_nimg != 0 else
                  'Optimisers and counters start fresh: transfer learning')
        return position
    restored, missing = state.restore(c.resume_state)
    print(f'Optimisers and counters restored from "{c.resume_state}"' + listed('; starting fresh: ', missing))
    return position if c.resume_nimg is not None else restored


def _nimg_in_name(source: str) -> int | None:
    """Images seen by a published snapshot. Only its name tells."""
    match = re.search(r'network-snapshot-(\d{1,9})\.pkl$', str(source))
    return int(match[1]) * 1000 if match else None


def _labels(c_dim: int) -> str:
    return f'labels of {c_dim} classes or numbers' if c_dim else 'no labels'
