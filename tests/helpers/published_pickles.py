"""Writes pickles of the structure that the published programs give theirs (networks, TensorFlow networks), by instruction.

Nothing of those programs is needed: names are written as names, without there being anything that they stand for.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from training.networks.flow import DDSF, DenseSigmoidFlow

UNSET = object()


@dataclass(eq=False, frozen=True)
class Global:
    """A class or function by name. as_text: written as protocol 0 does, whatever the protocol."""

    module: str
    name: str
    as_text: bool = False


@dataclass(eq=False)
class Made:
    """What a call of `target` gives, or (new) a new instance of it; then its items and its state are set."""

    target: Global
    args: tuple = ()
    new: bool = False
    items: dict | None = None
    state: Any = UNSET


class Writer(pickle._Pickler):
    """Python's pickler in Python, which also knows Global and Made."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)
    dill: str | None = None

    def save_set(self, obj):
        if self.dill and self.proto < 4:
            self.save(Made(TYPES['set'], (list(obj),)))
        else:
            super().save_set(obj)

    def save_bytes(self, obj):
        if self.dill and self.proto < 3:
            encode = CODECS_ENCODE if self.dill in OLD else Global('_codecs', 'encode')
            self.save(Made(encode, (obj.decode('latin1'), 'latin1')) if obj else Made(TYPES['bytes']))
        else:
            super().save_bytes(obj)

    def save_named(self, obj):
        if self.proto >= 4 and not obj.as_text:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f'{obj.module}\n{obj.name}\n'.encode())
        self.memoize(obj)

    def save_made(self, obj):
        self.save(obj.target)
        self.save(obj.args)
        self.write(pickle.NEWOBJ if obj.new else pickle.REDUCE)
        self.memoize(obj)
        if obj.items is not None:
            self._batch_setitems(obj.items.items(), *([obj] if BATCH_TAKES_OBJECT else []))
        if obj.state is not UNSET:
            self.save(obj.state)
            self.write(pickle.BUILD)

    dispatch[Global], dispatch[Made], dispatch[set], dispatch[bytes] = save_named, save_made, save_set, save_bytes


BATCH_TAKES_OBJECT = pickle._Pickler._batch_setitems.__code__.co_argcount > 2  # Python 3.14


def dumps(value, protocol=4, dill=None):
    """The pickle of a value with Globals and Mades in it. dill: its version, if that wrote it."""
    file = io.BytesIO()
    writer = Writer(file, protocol)
    writer.dill = dill
    writer.dump(value)
    return file.getvalue()


# The names in these pickles; one object each, so that they are remembered as in real ones.

ORDERED_DICT, EASY_DICT = Global('collections', 'OrderedDict'), Global('dnnlib.util', 'EasyDict')
PERSISTENT = Global('torch_utils.persistence', '_reconstruct_persistent_obj')
PARAMETER, TENSOR = Global('torch._utils', '_rebuild_parameter'), Global('torch._utils', '_rebuild_tensor_v2')
STORAGE = Global('torch.storage', '_load_from_bytes')
DTYPE, NDARRAY = Global('numpy', 'dtype'), Global('numpy', 'ndarray')
SEQUENTIAL = Global('torch.nn.modules.container', 'Sequential')
CREATE_FUNCTION, CREATE_CODE = Global('dill._dill', '_create_function'), Global('dill._dill', '_create_code')
GET_ATTR, IMPORT_MODULE = Global('dill._dill', '_get_attr'), Global('dill._dill', '_import_module')
LOAD_TYPE = Global('dill._dill', '_load_type')
TYPES = {name: Made(LOAD_TYPE, (name,)) for name in ('set', 'bytes', 'CodeType')}
OLD = ('0.3.1.1', '0.3.3', '0.3.4')
CODECS_ENCODE = Made(GET_ATTR, (Made(IMPORT_MODULE, ('_codecs',)), 'encode'))
TF_NETWORK = Global('dnnlib.tflib.network', 'Network')

HOOKS = ('_backward_hooks', '_forward_hooks', '_forward_pre_hooks', '_state_dict_hooks', '_load_state_dict_pre_hooks')
# Attributes of the published classes, as far as ours have them too.
CONV = ('activation', 'up', 'down', 'conv_clamp', 'padding', 'weight_gain', 'act_gain')
ATTRIBUTES = {
    'Generator': ('z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels', 'num_ws'),
    'MappingNetwork': ('z_dim', 'c_dim', 'w_dim', 'num_ws', 'num_layers', 'w_avg_beta'),
    'SynthesisNetwork': ('w_dim', 'img_resolution', 'img_resolution_log2', 'img_channels', 'block_resolutions', 'num_ws'),
    'SynthesisBlock': ('in_channels', 'w_dim', 'resolution', 'img_channels', 'is_last', 'architecture', 'use_fp16',
                       'channels_last', 'num_conv', 'num_torgb'),
    'SynthesisLayer': ('resolution', 'up', 'use_noise', 'activation', 'conv_clamp', 'padding', 'act_gain'),
    'ToRGBLayer': ('conv_clamp', 'weight_gain'),
    'FullyConnectedLayer': ('activation', 'weight_gain', 'bias_gain'),
    'Conv2dLayer': CONV,
    'Discriminator': ('c_dim', 'img_resolution', 'img_resolution_log2', 'img_channels', 'block_resolutions'),
    'DiscriminatorBlock': ('in_channels', 'resolution', 'img_channels', 'first_layer_idx', 'architecture', 'use_fp16',
                           'channels_last', 'num_layers'),
    'DiscriminatorEpilogue': ('cmap_dim', 'resolution', 'architecture'),
    'MinibatchStdLayer': ('group_size', 'num_channels'),
    'Linear': (),
}


class Published:
    """How one of the published programs writes: which dill (None for pickle), names of NumPy, source text, attributes."""

    def __init__(self, dill=None, numpy='numpy.core.multiarray', source='# the source of the networks', more_attributes=()):
        self.dill, self.numpy, self.source, self.more_attributes = dill, numpy, source, more_attributes
        scalar = Global(numpy, 'scalar')
        self.scalar = scalar if dill not in OLD else Made(GET_ATTR, (Made(IMPORT_MODULE, (numpy,)), 'scalar'))
        self.float64 = dtype('f8')
        self.create_code = None

    def number(self, value):
        return Made(self.scalar, (self.float64, struct.pack('<d', value)))

    def module(self, module, init_kwargs=None):
        """An object of one of the persistent classes, of the flow, or of torch."""
        name = type(module).__name__
        state = {'training': False, '_parameters': named(module._parameters, parameter),
                 '_buffers': named(module._buffers, tensor), '_non_persistent_buffers_set': set(),
                 **{hook: collections.OrderedDict() for hook in HOOKS},
                 '_modules': collections.OrderedDict((k, m if m is None else self.module(m)) for k, m in module._modules.items())}
        if isinstance(module, (DDSF, DenseSigmoidFlow, torch.nn.Sequential)):
            return self.flow_part(module, name, state)
        for key in (*ATTRIBUTES[name], *self.more_attributes):
            if key in vars(module):
                value = vars(module)[key]
                state[key] = self.number(value) if key.endswith('_gain') and key != 'bias_gain' else value
        kwargs = {k: easy(v) if isinstance(v, dict) else v for k, v in (init_kwargs or {}).items()}
        return self.persistent(name, {**state, '_init_args': (), '_init_kwargs': kwargs})

    def persistent(self, class_name, state):
        return Made(PERSISTENT, ({'type': 'class', 'version': 6, 'module_src': self.source, 'class_name': class_name,
                                  'state': state},))

    def flow_part(self, module, name, state):
        if isinstance(module, torch.nn.Sequential):
            return Made(SEQUENTIAL, new=True, state=state)
        plain = {k: v for k, v in vars(module).items() if not k.startswith('_') and isinstance(v, int) and k != 'training'}
        if isinstance(module, DenseSigmoidFlow):
            plain |= {f'act_{key}': self.function(f'act_{key}') for key in 'abwu'}
        return Made(Global('training.flow', name), new=True, state={**state, **plain})

    def function(self, name):
        """A lambda as dill writes it: its code, the module that it is of, and in newer versions a state."""
        old = self.dill in OLD
        head, tail = (b'',), ('file.py', name, f'C.{name}', 3, b'', b'', (), ())
        if old:
            head, tail = (), ('file.py', name, 3, b'', (), ())
        create_code = TYPES['CodeType'] if self.dill == '0.3.1.1' else CREATE_CODE
        code = Made(create_code, (*head, 1, 0, 0, 1, 3, 19, b'\x97\x00|\x00S\x00', (None,), ('softplus_',), ('x',), *tail))
        module = Global('training.flow', '__dict__', as_text=True)
        if old:
            return Made(CREATE_FUNCTION, (code, module, name, None, None, {}, None))
        return Made(CREATE_FUNCTION, (code, module, name, None, None), state=({}, {'__annotations__': {}, '__qualname__': name}))

    def snapshot(self, G, D, G_ema, /, protocol=4, augment_pipe=None, training_set_kwargs=UNSET, **init_kwargs):
        """The bytes of a network pickle. init_kwargs: in place of those that the networks were made with, by key."""
        made = {}
        for key, net in dict(G=G, D=D, G_ema=G_ema).items():
            made[key] = self.module(net, init_kwargs.get(key, net.init_kwargs)) if isinstance(net, torch.nn.Module) else net
        data = {'class_name': 'training.dataset.ImageFolderDataset', 'path': '/data/ffhq.zip', 'use_labels': True,
                'max_size': None, 'xflip': False, 'resolution': 32}
        options = data if training_set_kwargs is UNSET else training_set_kwargs
        return dumps({'training_set_kwargs': options, **made, 'augment_pipe': augment_pipe}, protocol, self.dill)

    def augment_pipe(self, p):
        state = {'training': False, '_parameters': collections.OrderedDict(), '_modules': collections.OrderedDict(),
                 '_buffers': named({'p': torch.tensor(p), 'Hz_geom': torch.ones(12), 'Hz_fbank': torch.ones(4, 43)}, tensor),
                 '_non_persistent_buffers_set': set(), 'xflip': 1.0, '_init_args': (),
                 '_init_kwargs': {'xflip': 1, 'scale': 1, 'brightness': 1}}
        return self.persistent('AugmentPipe', state)


def dtype(code):
    return Made(DTYPE, (code, False, True), state=(3, '<' if code[1] != '1' else '|', None, None, None, -1, -1, 0))


def easy(values):
    return Made(EASY_DICT, new=True, items=values)


def named(tensors, write):
    return collections.OrderedDict((k, t if t is None else write(t)) for k, t in tensors.items())


def storage_bytes(t):
    """A storage as torch pickles it: a whole legacy torch.save stream."""
    file = io.BytesIO()
    typed = torch.storage.TypedStorage(wrap_storage=t.untyped_storage(), dtype=t.dtype, _internal=True)
    torch.save(typed, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def tensor(t):
    t = t.detach()
    return Made(TENSOR, (Made(STORAGE, (storage_bytes(t),)), t.storage_offset(), tuple(t.shape), t.stride(), False,
                         collections.OrderedDict()))


def parameter(t):
    return Made(PARAMETER, (tensor(t), False, collections.OrderedDict()))


# TensorFlow.

def tf_array(values, numpy='numpy.core.multiarray'):
    values = np.ascontiguousarray(values, np.float32) if np.ndim(values) else np.float32(values)
    return Made(Global(numpy, '_reconstruct'), (NDARRAY, (0,), b'b'),
                state=(1, values.shape, dtype('f4'), False, values.tobytes()))


def tf_network(name, variables, static_kwargs, components=None, version=5):
    """One network of TensorFlow's; variables: local name -> array."""
    state = {'version': version, 'name': name, 'static_kwargs': easy(static_kwargs), 'components': easy(components or {}),
             'build_module_src': '# the source of the network', 'build_func_name': f'{name}_main',
             'variables': [(key, tf_array(value)) for key, value in variables.items()]}
    if version == 5:
        state |= dict(input_shapes=[[None, 512]], output_shapes=[[None, 3, 32, 32]], input_names=['x'], output_names=['y'])
    return Made(TF_NETWORK, new=True, state=state)
