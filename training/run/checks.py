"""Checks of everything that a run needs, before anything is created. No torch before check_inputs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from dnnlib.channels import has_alpha
from dnnlib.channels import name as channel_name
from dnnlib.download import is_url
from dnnlib.util import EasyDict, OptionError, UserError, construct_class_by_name
from metrics.detectors import check_detector
from metrics.registry import OFFLINE, find_metric
from torch_utils import torchrun
from training.data.finding import listed, tell_left_out
from training.run.directory import check_place
from training.run.resume import stamp_of
from training.run.same_data import check_same_data, data_digest


class ReadAhead:
    """The snapshot that check_inputs has read, for training in the same process."""

    def __init__(self):
        self._key, self._snapshot = None, None

    def put(self, source: str, snapshot: EasyDict) -> None:
        """Keep the snapshot of this file."""
        self._key, self._snapshot = (source, stamp_of(source)), snapshot

    def take(self, source: str | None) -> EasyDict | None:
        """The snapshot of this file, once; None if it was not read, or the file has changed since."""
        fresh = source is not None and self._key == (source, stamp_of(source))
        snapshot = self._snapshot if fresh else None
        self._key = self._snapshot = None  # its memory is free once it trains
        return snapshot


def tell_data(config: EasyDict, training_set: Any) -> None:
    """Print which files of --data are skipped, whether there is an alpha channel, and which classes have no image."""
    for line in tell_left_out(getattr(training_set, 'left_out', {})):
        print(line)
    if has_alpha(training_set.num_channels):
        print(f'The images are {channel_name(training_set.num_channels)}, and so are those that the network will draw; '
              'dataset_tool.py --mode=rgb or grey leaves alpha out')
    kwargs = config.training_set_kwargs
    if not kwargs['use_labels'] or not hasattr(training_set, 'empty_classes'):
        return
    data = training_set if kwargs['max_size'] == len(training_set) else construct_class_by_name(**kwargs)
    if empty := data.empty_classes():
        print(f'Warning: {len(empty)} of {data.label_dim} classes have no image, and will not be learned: '
              f'{listed([str(label) for label in empty])}')


def tell_missing(config: EasyDict) -> None:
    """Print which of the requested metrics lack their detector. A run itself prints this at its start."""
    for name in config.metrics if config.slow_metrics else ():
        detector = find_metric(name).detector
        try:
            if detector is not None:
                check_detector(detector)
        except UserError as err:
            print(f'Error: --metrics={name} would be left out: {err} (in a run: --metrics={OFFLINE})')


def check_inputs(config: EasyDict, training_set: Any, read_ahead: ReadAhead, goes_on: bool, dry_run: bool) -> int:
    """Check every input before anything is created. Returns the number of images at which the run begins.

    read_ahead: receives the snapshot to resume from. A dry run skips only downloads and compilation.
    Raises UserError for an input that can't be used.
    """
    training_set.validate()
    config.data_digest = data_digest(training_set)
    if goes_on:
        check_same_data(config)
    check_place(Path(config.run_dir))
    from torch_utils import devices
    from torch_utils.ops import backend
    from training.networks.making import make_networks
    from training.run.restore import read_snapshot, restore_networks
    device, cur_nimg = devices.resolve_device(config.device), 0
    if devices.most_ranks(device.type) < config.num_gpus and not torchrun.under_torchrun():
        text = f'--gpus={config.num_gpus}: this machine has {devices.most_ranks(device.type)}'
        if not dry_run:
            raise OptionError(text)
        print(f'Warning: {text}')  # the run may be meant for another one
    if dry_run and is_url(str(config.resume_pkl)):
        print(f'{config.resume_pkl} is not checked: a dry run downloads nothing')
    elif config.resume_pkl is not None:
        with devices.SHAPES_ONLY:
            networks = make_networks(config, construct_class_by_name(**config.training_set_kwargs))
        snapshot = read_snapshot(config, networks)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            cur_nimg = restore_networks(EasyDict(config, ada_target=None), networks, None, snapshot).cur_nimg
        if dry_run and config.resume_partial:
            print(said.getvalue())
        if config.num_gpus == 1 or torchrun.under_torchrun():  # ranks in other processes would not see it
            read_ahead.put(config.resume_pkl, snapshot)
    if config.ops == 'native' or not dry_run:
        backend.prepare(config.ops, device)  # here, once, before ranks start; last, as it may compile
    return cur_nimg
