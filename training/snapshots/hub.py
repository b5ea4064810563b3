"""Generators as a folder for a model hub: weights as safetensors, everything else as JSON.

    model.safetensors   the state dict of G_ema
    config.json         class, constructor arguments, and where it comes from
    README.md           the model card
    samples.png         what it draws

Neither file can hold code. The constructor is one of ours, which creates no more numbers than the weights have, or that of a
class that the user chose.
"""

from __future__ import annotations

import json
import posixpath
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from dnnlib.download import is_url
from dnnlib.util import EasyDict, UserError, open_url
from torch_utils import persistence
from training.snapshots import classes as own_classes

FORMAT, VERSION = 'style-based-gan-generator', 1
CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
DATA_KEYS = ('class_name', 'resolution', 'use_labels', 'max_size', 'xflip', 'random_seed')


def is_export(source: str) -> bool:
    """Whether a path or URL is that of an exported generator: a folder with config.json, or one of the two files."""
    path = _local(source)
    if path is None:
        return posixpath.basename(urllib.parse.urlparse(str(source)).path) in (CONFIG, WEIGHTS)
    return path.name in (CONFIG, WEIGHTS) or (path / CONFIG).is_file() or (path / WEIGHTS).is_file()


def load_export(source: str, only: tuple[str, ...], classes: Iterable[type] = ()) -> EasyDict:
    """Read an exported generator from a folder, or from the path or URL of one of its two files.

    Returns what training.snapshot.load_network_snapshot does, and `config`, all of config.json. Raises UserError if a
    file is missing or damaged, they don't fit each other, or `only` names G or D.
    """
    missing = ' and '.join(name for name in only if name != 'G_ema')
    if missing:
        raise UserError(f'{source}: an exported generator is G_ema alone, without {missing}; '
                        'pass the network-snapshot-*.pkl that it was exported from')
    try:
        config = _read_config(_sibling(source, CONFIG))
        with open_url(_sibling(source, WEIGHTS)) as f:
            state = safetensors.torch.load(f.read())
        cls = own_classes.find(source, 'G_ema', config.get('class_name'), classes)
        G = persistence.build(cls, config['init_kwargs'], state, trusted=cls is not own_classes.NETWORKS['G_ema'])
        own_classes.check('G_ema', G)
    except (persistence.RecordError, safetensors.SafetensorError) as err:
        raise UserError(f'{source}: not a readable exported generator ({" ".join(str(err).split())}); '
                        'copy or export it again') from err
    return EasyDict(G_ema=G, training_set_kwargs=config['training_set_kwargs'], cur_nimg=config['cur_nimg'], config=config,
                    augment_pipe=None, augment_p=None, origin='exported generator of this project')


def weights(G: nn.Module) -> bytes:
    """The content of model.safetensors."""
    state = {name: t.detach().cpu().contiguous() for name, t in G.state_dict().items()}
    return safetensors.torch.save(state, metadata={'format': 'pt'})


def make_config(G: nn.Module, cur_nimg: int | None, training_set_kwargs: Mapping | None, **facts: Any) -> dict:
    """The content of config.json. cur_nimg: images seen, None if not known. facts: for people and other tools."""
    record = persistence.to_record(G, own_classes.record_name(G))
    return {
        'format': FORMAT, 'format_version': VERSION, 'class_name': record['class_name'], 'init_kwargs': record['init_kwargs'],
        'cur_nimg': cur_nimg, 'training_set_kwargs': public_data_kwargs(training_set_kwargs), **facts,
    }


def public_data_kwargs(kwargs: Mapping | None) -> dict | None:
    """The public facts about a dataset: the name of its folder or file, without the folders of this machine."""
    if not isinstance(kwargs, Mapping):
        return None
    public: dict[str, Any] = {k: v for k, v in kwargs.items()
                              if k in DATA_KEYS and (v is None or isinstance(v, (str, int, float)))}
    size = kwargs.get('resolution')
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int for side in size):  # height and width
        public['resolution'] = list(size)
    path = kwargs.get('path')
    if isinstance(path, str):
        public['path'] = PurePath(path.replace('\\', '/')).name
    return public


def _read_config(source: str) -> dict:
    try:
        with open_url(source) as f:
            config = json.loads(f.read().decode('utf-8'))
    except (ValueError, RecursionError) as err:
        raise persistence.RecordError(f'{CONFIG} is not valid JSON') from err
    if not isinstance(config, dict) or config.get('format') != FORMAT:
        raise persistence.RecordError(f'{CONFIG} is that of something else')
    if config.get('format_version') != VERSION:
        raise persistence.RecordError(f'{CONFIG} is of version {config.get("format_version")!r}, and this is version {VERSION}')
    nimg = config.get('cur_nimg', -1)
    if nimg is not None and (type(nimg) is not int or nimg < 0):
        raise persistence.RecordError(f'{CONFIG} lacks cur_nimg')
    if not isinstance(config.get('init_kwargs'), dict):
        raise persistence.RecordError(f'{CONFIG} names an unknown or damaged network')
    config['training_set_kwargs'] = public_data_kwargs(config.get('training_set_kwargs'))
    return config


def _local(source: str) -> Path | None:
    """The path of a local source; None for an http(s) URL."""
    if is_url(source):
        return None
    if str(source).startswith('file:'):
        return Path(urllib.request.url2pathname(urllib.parse.urlparse(str(source)).path))
    return Path(source)


def _sibling(source: str, name: str) -> str:
    """The path or URL of one of the files."""
    path = _local(source)
    if path is not None:
        return str((path if path.is_dir() else path.parent) / name)
    parts = urllib.parse.urlsplit(str(source))
    return parts._replace(path=posixpath.join(posixpath.dirname(parts.path), name)).geturl()
