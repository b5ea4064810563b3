"""The datasets of a snapshot: its training images, and the images that metrics compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnnlib.util import EasyDict, OptionError, UserError
from training.data.dataset import ImageFolderDataset
from training.data.held_out import describe, open_eval_data
from training.snapshots.classes import chosen_dataset


def open_datasets(data: str | None, eval_data: str | None, mirror: bool | None, snapshot: EasyDict, network: str,
                  use_labels: bool) -> tuple[Any, Any]:
    """(images to compare with, training images). With --eval-data, the first are its images, and the second are None if they are
    not available. Otherwise both are the same. Raises OptionError, and UserError as open_dataset does."""
    if eval_data is None:
        training_set = open_dataset(data, mirror, snapshot, network, use_labels)
        return training_set, training_set
    stored = _stored(snapshot)
    available = data is not None or (isinstance(stored.get('path'), str) and Path(stored['path']).exists())
    training_set = open_dataset(data, mirror, snapshot, network, use_labels) if available else None
    cls = chosen_dataset(stored, network) or ImageFolderDataset
    xflip = bool(stored.get('xflip')) if mirror is None and data is None else bool(mirror)
    return open_eval_data(cls, eval_data, use_labels, xflip, training_set), training_set


def name_eval_data(path: str) -> str:
    """The name of the images of --eval-data in records (held_out.describe). Raises OptionError if they cannot be opened."""
    return describe(open_eval_data(chosen_dataset({}, path) or ImageFolderDataset, path, use_labels=False, xflip=False))


def open_dataset(path: str | None, mirror: bool | None, snapshot: EasyDict, network: str, use_labels: bool) -> Any:
    """Open --data, or else the dataset of the snapshot with its options, if it still exists. Uses the dataset class of --classes,
    if any. Raises OptionError if that is not possible, and UserError if --classes lacks the class of the snapshot's dataset."""
    stored = _stored(snapshot)
    kwargs: dict[str, Any] = {}
    cls = chosen_dataset({} if path is not None else stored, network) or ImageFolderDataset
    if path is None:
        path = stored.get('path')
        if not isinstance(path, str) or not Path(path).exists():
            raise OptionError('Could not look up dataset options; please specify --data')
        kwargs = {key: stored[key] for key in ('max_size', 'random_seed', 'xflip') if isinstance(stored.get(key), int)}
    if mirror is not None:
        kwargs['xflip'] = mirror
    try:
        return cls(path, use_labels=use_labels, **kwargs)
    except UserError as err:
        raise OptionError(f'--data: {err}') from err


def _stored(snapshot: EasyDict) -> dict[str, Any]:
    """The options of the dataset that are meaningful here. A path in a published file belongs to its author's machine."""
    own = isinstance(snapshot.training_set_kwargs, dict) and snapshot.origin == 'this project'
    return snapshot.training_set_kwargs if own else {}
