"""Pickles that the published StyleGAN2-ADA code opens.

There, every part of a network is pickled as a call of `torch_utils.persistence._reconstruct_persistent_obj` with the source
text of its class and the attributes of the instance; the reader executes the text and fills in the attributes. Our text is
one line, which imports the reader's own classes. So the attributes have to be those that its classes work with.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from torch import nn

from dnnlib.image_size import text_of
from dnnlib.util import EasyDict
from training.networks import Generator
from training.start_grid import start_grid

VERSION = 6  # of the published records

# The attributes of an instance, apart from its parameters, buffers and parts.
ATTRIBUTES = {
    'Generator': 'z_dim c_dim w_dim img_resolution img_channels num_ws',
    'MappingNetwork': 'z_dim c_dim w_dim num_ws num_layers w_avg_beta',
    'SynthesisNetwork': 'w_dim img_resolution img_resolution_log2 img_channels block_resolutions num_ws',
    'SynthesisBlock': 'in_channels w_dim resolution img_channels is_last architecture use_fp16 channels_last num_conv num_torgb',
    'SynthesisLayer': 'resolution up use_noise activation conv_clamp padding act_gain',
    'ToRGBLayer': 'conv_clamp weight_gain',
    'FullyConnectedLayer': 'in_features out_features activation lr_multiplier weight_gain bias_gain',
    'Conv2dLayer': 'activation up down conv_clamp padding weight_gain act_gain',
    'Discriminator': 'c_dim img_resolution img_resolution_log2 img_channels block_resolutions',
    'DiscriminatorBlock': 'in_channels resolution img_channels first_layer_idx architecture use_fp16 channels_last num_layers',
    'DiscriminatorEpilogue': 'in_channels cmap_dim resolution img_channels architecture',
    'MinibatchStdLayer': 'group_size num_channels',
}
ABSENT = ('bias', 'mbstd')  # parts that a layer may lack: then the attribute is None
OURS = ('cond_mode', 'i_dim', 'flow_blocks', 'flow_dim', 'flow_norm', 'use_label', 'label_dim')  # arguments unknown there

MODULE_SRC = f'from training.networks import {", ".join(ATTRIBUTES)}\n'

# What torch 1.7 to 2.13 keeps in a module beside its content. Older ones ignore what they don't know.
HOOKS = ('_backward_hooks', '_forward_hooks', '_forward_pre_hooks', '_state_dict_hooks', '_load_state_dict_pre_hooks',
         '_backward_pre_hooks', '_forward_hooks_with_kwargs', '_forward_hooks_always_called', '_forward_pre_hooks_with_kwargs',
         '_state_dict_pre_hooks', '_load_state_dict_post_hooks')


class UnknownToPublished(ValueError):
    """A network with layers that the published code has no class for. Its text is part of a line."""


def dump(networks: Mapping[str, nn.Module], training_set_kwargs: Mapping | None, file: BinaryIO) -> None:
    """Write G, D and G_ema as the published snapshots hold them; the same networks give the same bytes.

    Raises UnknownToPublished if one of them is not a StyleGAN2 network.
    """
    snapshot: dict[str, Any] = {'training_set_kwargs': None if training_set_kwargs is None else dict(training_set_kwargs)}
    snapshot |= {name: _record(networks[name]) for name in ('G', 'D', 'G_ema')}
    _Pickler(file, protocol=4).dump({**snapshot, 'augment_pipe': None})


def check(G: nn.Module) -> None:
    """Raises UnknownToPublished if the generator G has layers that StyleGAN2 does not have, or images of another size than its
    squares."""
    if type(G) is not Generator:
        raise UnknownToPublished(f'its generator is a {type(G).__name__}')
    if G.mapping.cond_mode != 'concat' or G.mapping.use_label:
        what = 'takes a second label' if G.mapping.cond_mode == 'concat' else f'has --cond-mode={G.mapping.cond_mode}'
        raise UnknownToPublished(f'its mapping network {what}')
    if start_grid(G.img_resolution) != (4, 4):
        raise UnknownToPublished(f'its images are {text_of(G.img_resolution)}, from a start grid of '
                                 f'{text_of(start_grid(G.img_resolution))}')


class _Global(NamedTuple):
    """The name of a function of the reader."""

    module: str
    name: str

    def __call__(self, *args: Any) -> None:
        raise NotImplementedError('a name, to be pickled')


class _Call:
    """Becomes a call of a _Global in the pickle."""

    def __init__(self, function: _Global, *args: Any):
        self._function, self._args = function, args

    def __reduce__(self):
        return self._function, self._args


RECONSTRUCT = _Global('torch_utils.persistence', '_reconstruct_persistent_obj')
PARAMETER = _Global('torch._utils', '_rebuild_parameter')
TENSOR = _Global('torch._utils', '_rebuild_tensor_v2')
STORAGE = _Global('torch.storage', '_load_from_bytes')


class _Pickler(pickle._Pickler):  # the one in C insists on importing what it names
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_global(self, obj: _Global) -> None:
        self.save(obj.module)
        self.save(obj.name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch[_Global] = _save_global


def _record(module: nn.Module) -> _Call:
    """A network or a part of one, with everything in it."""
    name = type(module).__name__
    if name not in ATTRIBUTES:
        raise UnknownToPublished(f'it has a {name}')
    if name == 'Generator':
        check(module)
    state: dict[str, Any] = {
        'training': False,
        '_parameters': OrderedDict((k, None if p is None else _Call(PARAMETER, _tensor(p), False, OrderedDict()))
                                   for k, p in module._parameters.items()),
        '_buffers': OrderedDict((k, None if b is None else _tensor(b)) for k, b in module._buffers.items()),
        '_non_persistent_buffers_set': set(),
        **{hooks: OrderedDict() for hooks in HOOKS},
        '_is_full_backward_hook': None,
        '_modules': OrderedDict((k, _record(m)) for k, m in module.named_children()),
        '_init_args': (),
        '_init_kwargs': _published_kwargs(module.init_kwargs),
    }
    own = vars(module)
    state |= {k: own[k] if k in own else module.init_kwargs[k] for k in ATTRIBUTES[name].split()}
    state |= {k: None for k in ABSENT if k in own}
    return _Call(RECONSTRUCT, {'type': 'class', 'version': VERSION, 'module_src': MODULE_SRC, 'class_name': name, 'state': state})


def _published_kwargs(kwargs: Mapping) -> dict:
    """Constructor arguments as the published classes take them; dicts in it as they are kept there."""
    nested = {k: EasyDict(_published_kwargs(v)) if isinstance(v, Mapping) else v for k, v in kwargs.items() if k not in OURS}
    return {k: v for k, v in nested.items() if not (k.endswith('_kwargs') and v is None)}


def _tensor(t: torch.Tensor) -> _Call:
    t = t.detach().cpu().contiguous()
    return _Call(TENSOR, _Call(STORAGE, _storage(t)), 0, tuple(t.shape), t.stride(), False, OrderedDict())


class _StorageReference:
    """Stands for the one storage of a stream."""


def _storage(t: torch.Tensor) -> bytes:
    """The data of a contiguous float32 tensor as torch.save wrote it before torch 1.6: five pickles, then the bytes."""
    if t.dtype != torch.float32:
        raise UnknownToPublished(f'it has a tensor of {t.dtype}')
    stream = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> tuple | None:
            return ('storage', torch.FloatStorage, '0', 'cpu', t.numel(), None) if isinstance(obj, _StorageReference) else None

    for part in (0x1950a86a20f9469cfc6c, 1001,
                 {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}},
                 _StorageReference(), ['0']):
        Pickler(stream, protocol=2).dump(part)
    stream.write(struct.pack('<q', t.numel()))
    stream.write(t.numpy().astype('<f4').tobytes())
    return stream.getvalue()
