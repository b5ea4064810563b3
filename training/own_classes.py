"""Networks and datasets of the user: the options of train.py that name them, and their checks.

This module does not import torch. `complete` imports only classes of the user. docs/own-networks.md explains them.
"""

from __future__ import annotations

import inspect
from typing import Any

import click

from dnnlib.channels import NAMES
from dnnlib.image_size import ImageSize, height_width, text_of
from dnnlib.plugins import absolute, lacks, load_object
from dnnlib.util import EasyDict, OptionError, UserError

REGISTERED = {  # option -> short name -> class; the first name is the default
    'g_class': {'stylegan2': 'training.networks.Generator'},
    'd_class': {'stylegan2': 'training.networks.Discriminator'},
    'dataset_class': {'folder': 'training.dataset.ImageFolderDataset'},
}
WHERE = 'package.module.Class or path/to/file.py:Class'
OPTIONS = [
    click.option('--g-class', help=f'Generator class: {WHERE} (docs/own-networks.md).  [default: stylegan2]', metavar='CLASS'),
    click.option('--d-class', help='Discriminator class: as --g-class.  [default: stylegan2]', metavar='CLASS'),
    click.option('--dataset-class', help='Class that opens --data: as --g-class.  [default: folder]', metavar='CLASS'),
]

# What the networks must take for an option to have an effect; one of these arguments is enough.
EFFECTS = {
    'cbase': ('G.synthesis_kwargs', 'D.channel_base'), 'cmax': ('G.synthesis_kwargs', 'D.channel_base'),
    'noise': ('G.synthesis_kwargs',), 'map_depth': ('G.mapping_kwargs',), 'concat_dim': ('G.mapping_kwargs',),
    'cond_mode': ('G.mapping_kwargs',), 'freezed': ('D.block_kwargs',), 'nhwc': ('G.synthesis_kwargs', 'D.block_kwargs'),
}
WITHOUT_EFFECT = {'cmax': 512, 'noise': True, 'cond_mode': 'concat', 'freezed': 0, 'nhwc': False}  # beside None


def class_name(o: EasyDict, option: str) -> str:
    """The class name of an option ('g_class', 'd_class', 'dataset_class') for dnnlib.util.construct_class_by_name. Paths become
    absolute, because every rank imports the file. Raises OptionError for anything else."""
    registered = REGISTERED[option]
    name = o.get(option) or next(iter(registered))
    if name not in registered and '.' not in name:
        raise OptionError(f'{_flag(option)}={name}: neither {", ".join(registered)} nor {WHERE}')
    return registered.get(name) or absolute(name)


def is_own(o: EasyDict, option: str) -> bool:
    """Whether an option names a class of the user."""
    return class_name(o, option) not in REGISTERED[option].values()


def description(o: EasyDict) -> str:
    """The part of the run directory's name for classes: `-Class` for each class of the user."""
    names = [class_name(o, option) for option in REGISTERED if is_own(o, option)]
    return ''.join('-' + name.replace(':', '.').rpartition('.')[2] for name in names)


def open_dataset(o: EasyDict) -> Any:
    """The dataset of --data, with its labels if --cond asks for them. Raises OptionError if it can't be opened or its class lacks
    something."""
    cls = _load(o, 'dataset_class')
    try:
        data = cls(path=o.data, use_labels=bool(o.cond))
    except UserError as err:
        raise OptionError(f'--data: {err}') from err
    if getattr(data, 'num_channels', 3) not in NAMES:
        raise OptionError(f'--data: its images have {data.num_channels} channels; they can have 1 to 4')
    if is_own(o, 'dataset_class'):
        from training.data.protocol import Dataset
        _refuse('dataset_class', o, lacks(data, Dataset))
        _refuse('dataset_class', o, [f'an argument {name} of its constructor' for name in
                                     _not_taken(cls, ('resolution', 'max_size', 'xflip', 'random_seed'))])
    return data


def complete(config: EasyDict, o: EasyDict, data: Any) -> None:
    """Reduce the arguments of the user's networks to those that they take, then build both networks and try them on two samples.

    data: the dataset. Raises OptionError for a class that lacks something, or for options without effect.
    """
    own = {net: option for net, option in (('G', 'g_class'), ('D', 'd_class')) if is_own(o, option)}
    if not own:
        return
    common = dict(c_dim=data.label_dim if o.cond else 0, img_resolution=data.resolution, img_channels=data.num_channels)
    taken, required = {'G': set(config.G_kwargs), 'D': set(config.D_kwargs)}, {'G': {'z_dim', *common}, 'D': {*common}}
    for net, option in own.items():
        kwargs, cls = config[f'{net}_kwargs'], _load(o, option)
        _refuse(option, o, [f'an argument {name} of its constructor' for name in _not_taken(cls, required[net])])
        kept = set(kwargs) - set(_not_taken(cls, kwargs)) | {'class_name'}
        config[f'{net}_kwargs'], taken[net] = {name: value for name, value in kwargs.items() if name in kept}, kept
        needed = [p.name for p in inspect.signature(cls).parameters.values()
                  if p.default is p.empty and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        unknown = [name for name in needed if name not in {*kept, *common}]
        if unknown:
            raise OptionError(f'{_flag(option)}={o[option]}: its constructor needs {", ".join(unknown)}, which train.py does '
                              'not give; add a default')
    for option, places in EFFECTS.items():
        given = o.get(option) is not None and o[option] != WITHOUT_EFFECT.get(option)
        if given and not any(place[2:] in taken[place[0]] for place in places):
            raise OptionError(f'{_flag(option)} has no effect on these networks, which take no '
                              f'{" nor ".join(place[2:] for place in places)}; leave it out')
    _try_out(config, o, own, common)


def _try_out(config: EasyDict, o: EasyDict, own: dict[str, str], common: dict[str, int]) -> None:
    import torch

    from training.networks import protocols
    with torch.random.fork_rng([]), torch.no_grad():
        G, D = (_made(o, own.get(net), **config[f'{net}_kwargs'], **common).eval() for net in ('G', 'D'))
        for net, module, protocol in (('G', G, protocols.Generator), ('D', D, protocols.Discriminator)):
            if net in own:
                _refuse(own[net], o, lacks(module, protocol))
        if o.get('lambda_latent', 0) > 0 or o.get('lambda_recon', 0) > 0:
            _compare(o, own, 'D', 'features for CLR-GAN (latent_dim)', D.latent_dim, G.z_dim)
        z, c = torch.randn(2, G.z_dim), torch.zeros(2, G.c_dim)
        u = G.mapping.latent(z, c)
        ws = G.mapping.map_latent(u, truncation_psi=0.5, skip_w_avg_update=True)
        _compare(o, own, 'G', 'ws', list(ws.shape), [2, G.num_ws, G.w_dim])
        images = G(z, c, noise_mode='const', force_fp32=True)
        size = [2, common['img_channels'], *height_width(common['img_resolution'])]
        _compare(o, own, 'G', 'images', [*images.shape, images.dtype], [*size, torch.float32])
        logits, latent = D(images, c, return_latent=True, force_fp32=True)
        _compare(o, own, 'D', 'logits', [*logits.shape, logits.dtype], [2, 1, torch.float32])
        _compare(o, own, 'D', 'features', list(latent.shape), [2, D.latent_dim])


def _made(o: EasyDict, option: str | None, img_resolution: ImageSize, **kwargs: Any) -> Any:
    """The network. Raises OptionError if the class of `option` cannot be built for images that are not square."""
    from torch_utils.persistence import construct
    try:
        return construct(img_resolution=img_resolution, **kwargs)
    except (TypeError, ValueError) as err:
        if option is None or isinstance(img_resolution, int):
            raise
        raise OptionError(f'{_flag(option)}={o[option]}: cannot be made for images of {text_of(img_resolution)}: '
                          f'{" ".join(str(err).split())}; use square images, or let it take img_resolution=(height, width)'
                          ) from err


def _compare(o: EasyDict, own: dict[str, str], net: str, what: str, found: Any, wanted: Any) -> None:
    if found != wanted and net in own:
        raise OptionError(f'{_flag(own[net])}={o[own[net]]}: its {what} are {found}, but {wanted} is needed')


def _load(o: EasyDict, option: str) -> type:
    try:
        cls = load_object(class_name(o, option))
    except UserError as err:
        raise OptionError(f'{_flag(option)}: {err}') from err
    if not isinstance(cls, type):
        raise OptionError(f'{_flag(option)}={o[option]}: not a class')
    if is_own(o, option) and option != 'dataset_class':
        from torch import nn
        if not issubclass(cls, nn.Module):
            raise OptionError(f'{_flag(option)}={o[option]}: not a torch.nn.Module')
    return cls


def _refuse(option: str, o: EasyDict, missing: list[str]) -> None:
    if missing:
        raise OptionError(f'{_flag(option)}={o[option]}: lacks {", ".join(missing)}; docs/own-networks.md says what it needs')


def _not_taken(cls: type, names: Any) -> list[str]:
    parameters = inspect.signature(cls).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return [] if takes_all else sorted(set(names) - set(parameters))


def _flag(option: str) -> str:
    return '--' + option.replace('_', '-')
