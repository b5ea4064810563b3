"""Pickles that the published programs open: StyleGAN2-ADA, StyleGAN3, i-StyleGAN, CG-GAN, CLR-GAN.

They pickle every part of a network as a call of `torch_utils.persistence._reconstruct_persistent_obj` with the source text of its
class and the attributes of the instance. The reader executes the text and sets the attributes. Our text is module_text.source(),
regardless of the reader's own networks.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Container, Mapping
from typing import Any, BinaryIO, ClassVar, NamedTuple

import torch
from torch import nn

from dnnlib.image_size import text_of
from dnnlib.util import EasyDict
from training import networks
from training.networks.flow import DDSF, DenseSigmoidFlow
from training.snapshots.published import module_text
from training.start_grid import start_grid

VERSION = 6  # of the published records
NETWORKS = ('G', 'D', 'G_ema')
CLASSES = (*(getattr(networks, name) for name in networks.__all__), DDSF, DenseSigmoidFlow)
NOT_WRITTEN = ('training', 'init_kwargs', 'half_dtype')  # attributes of a module that are written otherwise, or not a network's
# Arguments unknown to StyleGAN2's own classes. Omitted if they have no effect, for programs that rebuild a network.
OURS = ('cond_mode', 'i_dim', 'flow_blocks', 'flow_dim', 'flow_norm', 'use_label', 'label_dim')

# Attributes of modules in torch 1.7 to 2.13 beside their content. Older versions ignore unknown ones.
HOOKS = ('_backward_hooks', '_forward_hooks', '_forward_pre_hooks', '_state_dict_hooks', '_load_state_dict_pre_hooks',
         '_backward_pre_hooks', '_forward_hooks_with_kwargs', '_forward_hooks_always_called', '_forward_pre_hooks_with_kwargs',
         '_state_dict_pre_hooks', '_load_state_dict_post_hooks')


class UnknownToPublished(ValueError):
    """Raised for a network with layers that are not in our text. The message is part of a line."""


def dump(snapshot: Mapping[str, nn.Module], training_set_kwargs: Mapping | None, file: BinaryIO) -> None:
    """Write G, D and G_ema in the form of published snapshots. The same networks give the same bytes.

    Raises UnknownToPublished if one of them has layers of another kind than ours.
    """
    check(snapshot)
    document: dict[str, Any] = {'training_set_kwargs': None if training_set_kwargs is None else dict(training_set_kwargs)}
    document |= {name: _record(snapshot[name], _unknown_arguments(snapshot[name])) for name in NETWORKS}
    _Pickler(file, protocol=4).dump({**document, 'augment_pipe': None})


def check(snapshot: Mapping[str, nn.Module]) -> None:
    """Raises UnknownToPublished if G, D or G_ema is of a class of the user, or for images with another start grid than 4x4: the
    published programs assume that img_resolution is a power of two."""
    for name in NETWORKS:
        if type(snapshot[name]) not in (networks.Generator, networks.Discriminator):
            raise UnknownToPublished(f'its {name} is a {type(snapshot[name]).__name__} of your own')
        size = snapshot[name].img_resolution
        if start_grid(size) != (4, 4):
            raise UnknownToPublished(f'its images are {text_of(size)}, from a start grid of {text_of(start_grid(size))}')


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
SEQUENTIAL = _Global('torch.nn.modules.container', 'Sequential')


class _Sequential(NamedTuple):
    """Becomes a torch.nn.Sequential in the pickle, as in published ones."""

    state: dict[str, Any]


_PythonPickler: Any = pickle._Pickler  # the one in C imports the names it writes


class _Pickler(_PythonPickler):
    dispatch: ClassVar = dict(_PythonPickler.dispatch)

    def _save_global(self, obj: _Global) -> None:
        self.save(obj.module)
        self.save(obj.name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    def _save_sequential(self, obj: _Sequential) -> None:
        self.save(SEQUENTIAL)
        self.save(())
        self.write(pickle.NEWOBJ)
        self.memoize(obj)
        self.save(obj.state)
        self.write(pickle.BUILD)

    dispatch[_Global], dispatch[_Sequential] = _save_global, _save_sequential


def _record(module: nn.Module, left_out: Container[str]) -> _Call | _Sequential:
    """A network or a part, with everything in it. left_out: names of omitted arguments."""
    if type(module) not in (*CLASSES, nn.Sequential):
        raise UnknownToPublished(f'it has a {type(module).__name__}')
    state: dict[str, Any] = {
        'training': False,
        '_parameters': OrderedDict((k, None if p is None else _Call(PARAMETER, _tensor(p), False, OrderedDict()))
                                   for k, p in module._parameters.items()),
        '_buffers': OrderedDict((k, None if b is None else _tensor(b)) for k, b in module._buffers.items()),
        '_non_persistent_buffers_set': set(),
        **{hooks: OrderedDict() for hooks in HOOKS},
        '_is_full_backward_hook': None,
        '_modules': OrderedDict((k, _record(m, left_out)) for k, m in module.named_children()),
    }
    if type(module) is nn.Sequential:
        return _Sequential(state)
    state |= {'_init_args': (), '_init_kwargs': _published_kwargs(module.init_kwargs, left_out)}
    state |= {k: v for k, v in vars(module).items() if not k.startswith('_') and k not in NOT_WRITTEN}
    return _Call(RECONSTRUCT, {'type': 'class', 'version': VERSION, 'module_src': module_text.source(),
                               'class_name': type(module).__name__, 'state': state})


def _unknown_arguments(network: nn.Module) -> tuple[str, ...]:
    mapping = getattr(network, 'mapping', None)
    return () if mapping is not None and (mapping.cond_mode != 'concat' or mapping.use_label) else OURS


def _published_kwargs(kwargs: Mapping, left_out: Container[str]) -> dict:
    """Constructor arguments in the form of the published classes, including nested dicts."""
    nested = {k: EasyDict(_published_kwargs(v, left_out)) if isinstance(v, Mapping) else v
              for k, v in kwargs.items() if k not in left_out}
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
