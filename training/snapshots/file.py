"""Network snapshots: writing and reading.

`network-snapshot-<kimg>.pkl` is a pickle of one dict with the published keys training_set_kwargs, G, D, G_ema,
augment_pipe, and `progress`. Networks are inert records (torch_utils.persistence): reading one runs no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import nn

from dnnlib import seal
from dnnlib.files import atomic_open
from dnnlib.util import EasyDict, UserError, open_url
from torch_utils import persistence, safe_pickle
from training.augmentation.pipe import AugmentPipe
from training.snapshots import classes as own_classes
from training.snapshots import hub
from training.snapshots.published import convert as published
from training.snapshots.published import tensorflow
from training.snapshots.published.convert import NETWORKS

# Errors that a malicious file can cause in a conversion.
_UNFIT = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def save_network_snapshot(path: str | Path, modules: Mapping[str, nn.Module | None], training_set_kwargs: Mapping,
                          cur_nimg: int, half: bool = False) -> None:
    """Write a snapshot as write_network_snapshot does to a path, atomically, with its checksum."""
    with atomic_open(path, 'w+b') as f:
        write_network_snapshot(f, modules, training_set_kwargs, cur_nimg, half)
        seal.seal(f)


def write_network_snapshot(file: BinaryIO, modules: Mapping[str, nn.Module | None], training_set_kwargs: Mapping,
                           cur_nimg: int, half: bool = False) -> None:
    """Write modules G, D, G_ema and, if there is one, augment_pipe as they are now. cur_nimg: images seen so far. half: with
    weights rounded to float16. If G and G_ema are the same module, the file has its weights once."""
    pipe = modules.get('augment_pipe')
    snapshot = {'training_set_kwargs': dict(training_set_kwargs)}
    records = {module: persistence.to_record(module, own_classes.record_name(module), half)
               for module in dict.fromkeys(modules[name] for name in NETWORKS)}
    snapshot |= {name: records[modules[name]] for name in NETWORKS}
    snapshot |= {'augment_pipe': None if pipe is None else persistence.to_record(pipe), 'progress': {'cur_nimg': cur_nimg}}
    persistence.dump(snapshot, file)


def load_network_snapshot(source: str, only: tuple[str, ...] = tuple(NETWORKS), force_fp16: bool = False,
                          classes: Iterable[type] = (), verified: bool = False) -> EasyDict:
    """Read a snapshot from a path or URL: one of this project, or a published one (StyleGAN2-ADA, StyleGAN3's StyleGAN2
    configurations, i-StyleGAN, CG-GAN, CLR-GAN; StyleGAN2 and StyleGAN2-ADA of TensorFlow). Nothing in it is executed.

    force_fp16: run the four highest resolutions in half precision on CUDA, regardless of the training; not for exported
    generators or networks of the user. classes: allowed classes of the user, beside those of --classes. verified: the caller has
    just verified the checksum, so it is not verified again.
    Returns the networks named in `only`, in eval mode, without gradients, on the CPU, and
      training_set_kwargs  options of the dataset, dict or None: information only
      cur_nimg             images seen, None if the file does not tell
      augment_pipe         module or None;  augment_p: its strength, float or None
      origin               which program wrote it: 'this project', 'StyleGAN2-ADA', ...
    Raises UserError if the file is missing, corrupt, or not such a snapshot. Other errors, such as too little memory, keep their
    own exception.
    """
    if hub.is_export(source):  # it has only G_ema
        return hub.load_export(source, only, classes)
    intact = None
    try:
        with open_url(source) as f:
            intact = True if verified else seal.check_seal(f)[0]
            if intact is False:
                raise persistence.RecordError('it is damaged: its checksum does not fit')
            document, plain = _read(f)
        if type(document) is tuple:
            loaded = tensorflow.convert(document, only, force_fp16)
        elif type(document) is not dict:
            raise persistence.RecordError('it lacks networks')
        elif missing := [name for name in only if name not in document]:
            raise persistence.RecordError(f'it lacks networks: {", ".join(missing)}')
        else:
            loaded = _own(source, document, only, force_fp16, classes) if plain else published.convert(document, only, force_fp16)
    except persistence.RecordError as err:
        raise UserError(f'{source}: not a readable network snapshot ({err}); '
                        'pass a network-snapshot-*.pkl written by train.py, or a published one') from err
    except UserError:
        raise
    except (OSError, *_UNFIT) as err:
        if intact and not isinstance(err, OSError):  # an intact file of this project: the fault is in the code
            raise
        raise UserError(f'{source}: not a readable network snapshot (it is damaged: {type(err).__name__}); '
                        'pass a network-snapshot-*.pkl written by train.py, or a published one') from err
    return EasyDict({'cur_nimg': None, **loaded})


def _read(file: BinaryIO) -> tuple[Any, bool]:
    """The content of a pickle, and whether it has only plain values, like those of this project, which need no names."""
    try:
        return persistence.load(file), True
    except safe_pickle.UnknownName:
        file.seek(0)
        return safe_pickle.load(file, published.names), False


def _own(source: str, document: dict, only: tuple[str, ...], force_fp16: bool, classes: Iterable[type]) -> EasyDict:
    loaded = EasyDict()
    for name in only:
        record = document[name]
        if not isinstance(record, dict):
            raise persistence.RecordError('it holds no network record of this version')
        cls = own_classes.find(source, name, record.get('class_name'), classes)
        ours = cls is NETWORKS[name]
        if force_fp16 and ours and isinstance(record.get('init_kwargs'), dict):
            record = {**record, 'init_kwargs': published.with_fp16(cls.__name__, record['init_kwargs'])}
        loaded[name] = persistence.from_record(record, {record['class_name']: cls}, trusted=not ours)
        own_classes.check(name, loaded[name])
    if 'progress' in document:
        progress = document['progress']
        if not isinstance(progress, dict) or type(progress.get('cur_nimg')) is not int or progress['cur_nimg'] < 0:
            raise persistence.RecordError('its progress is damaged')
        loaded.cur_nimg = progress['cur_nimg']
    pipe = document.get('augment_pipe')
    if pipe is not None:
        pipe = persistence.from_record(pipe, {'AugmentPipe': AugmentPipe})
    loaded |= dict(training_set_kwargs=document.get('training_set_kwargs'), augment_pipe=pipe,
                   augment_p=None if pipe is None else float(pipe.p), origin='this project')
    return loaded
