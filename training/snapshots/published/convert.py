"""Published network pickles (StyleGAN2-ADA, StyleGAN3's StyleGAN2 configurations, i-StyleGAN, CG-GAN, CLR-GAN) -> our networks.

These pickles hold live objects and the source text of their classes. Here, the objects become inert ModuleRecords, and the source
text is dropped. Our own classes build the networks from constructor arguments and named tensors.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from dnnlib.util import EasyDict
from torch_utils import persistence
from torch_utils.pickled_arrays import numpy_names, tensor_names
from torch_utils.safe_pickle import Budget, Name, RecordError, describe, plain_key
from training.augmentation.pipe import AugmentPipe
from training.networks import Discriminator, Generator
from training.snapshots.published import arguments as published_arguments
from training.snapshots.published import module_text
from training.snapshots.published.module_record import Ignored, ModuleRecord

NETWORKS = {'G': Generator, 'D': Discriminator, 'G_ema': Generator}
PERSISTENT_VERSION = 6
FORCED_FP16 = dict(num_fp16_res=4, conv_clamp=256)
EXPORTED, CLR_GAN = 'exported pickle of this project', 'CLR-GAN'


def names(budget: Budget) -> Mapping[str, Name]:
    """The names in published network pickles: those that the programs write, and no others."""
    known = {**numpy_names(budget), **tensor_names(budget)}
    scalars = {module: known[f'{module}.scalar'] for module in ('numpy.core.multiarray', 'numpy._core.multiarray')}
    scalars |= {module.replace('multiarray', '_multiarray_umath'): scalar for module, scalar in scalars.items()}

    # dill up to 0.3.4 reaches only two functions in this way: numpy's `scalar`, and `encode`, with which it writes bytes at
    # protocol 2.
    functions = {(module, 'scalar'): scalar for module, scalar in scalars.items()}
    functions['_codecs', 'encode'] = known['_codecs.encode']

    def attribute(module: Any, name: Any) -> Name:
        if type(module) is not Name or type(name) is not str or (module.name, name) not in functions:
            raise RecordError(f'it asks for {getattr(module, "name", "an object")}.{describe(name)}, which is not read')
        return functions[module.name, name]

    def module(name: Any) -> Name:
        if type(name) is not str or name not in {known_module for known_module, _ in functions}:
            raise RecordError(f'it asks for the module {describe(name)}, which is not read')
        return Name(name)

    # dill writes `set` this way below protocol 4, and `bytes` below protocol 3, which lacks them. dill 0.3.1.1 also writes the
    # type of code.
    def load_type(name: Any) -> Name:
        if type(name) is not str or name not in types:
            raise RecordError(f'it asks for the type {describe(name)}, which is not read')
        return types[name]

    def add(name: str, **handlers: Any) -> None:
        known[name] = Name(name, **handlers)

    add('torch_utils.persistence._reconstruct_persistent_obj', call=_persistent_record)
    add('collections.OrderedDict', call=lambda: {})
    add('dnnlib.util.EasyDict', new=lambda: {})
    for name in ('builtins.set', '__builtin__.set'):
        add(name, call=_plain_set)
    for name in ('torch.nn.modules.container.Sequential', 'training.flow.DDSF', 'training.flow.DenseSigmoidFlow',
                 'dnnlib.tflib.network.Network'):
        add(name, new=functools.partial(ModuleRecord, name.rpartition('.')[2]))
    add('training.flow.__dict__')
    for name in ('dill._dill._create_function', 'dill._dill._create_code'):
        add(name, call=Ignored)
    types = {'set': known['builtins.set'], 'bytes': known['builtins.bytes'], 'CodeType': Name('CodeType', call=Ignored)}
    add('dill._dill._load_type', call=load_type)
    add('dill._dill._import_module', call=module)
    add('dill._dill._get_attr', call=attribute)
    return known


def _persistent_record(meta: Any) -> ModuleRecord:
    name, state = (meta[k] for k in ('class_name', 'state'))
    if meta['type'] != 'class' or type(meta['version']) is not int or type(name) is not str or type(state) is not dict:
        raise RecordError('an object in it is damaged')
    if meta['version'] != PERSISTENT_VERSION:
        raise RecordError(f'its objects are of version {meta["version"]}, and only version {PERSISTENT_VERSION} is known')
    record = ModuleRecord(name)
    record.state = state
    source = meta.get('module_src')
    if type(source) is str:  # used only for these two hints
        record.origin = EXPORTED if source.startswith(module_text.TITLE) else CLR_GAN if 'latent_code' in source else ''
    return record


def _plain_set(items: Any = ()) -> set:
    if type(items) not in (list, tuple):
        raise RecordError('a set in it is damaged')
    return {plain_key(item) for item in items}


def convert(document: dict, only: tuple[str, ...], force_fp16: bool = False) -> EasyDict:
    """The networks named in `only`, augment_pipe, augment_p, training_set_kwargs and origin, out of a published pickle.

    force_fp16: run the higher resolutions in half precision on CUDA, regardless of the training.
    Raises RecordError.
    """
    loaded = EasyDict({name: build_network(document.get(name), NETWORKS[name], force_fp16) for name in only})
    pipe, p = _augment_pipe(document.get('augment_pipe'))
    options = document.get('training_set_kwargs')
    return EasyDict(loaded, augment_pipe=pipe, augment_p=p, origin=_origin(document),
                    training_set_kwargs=_plain_items(options) if type(options) is dict else None)


def build_network(record: Any, cls: type, force_fp16: bool = False) -> nn.Module:
    """Our `cls` with the arguments and tensors of a record. Raises RecordError if the record is not of this class."""
    if type(record) is not ModuleRecord or record.class_name != cls.__name__:
        found = describe(record.class_name) if type(record) is ModuleRecord else type(record).__name__
        raise RecordError(f'it has a {found} in the place of a {cls.__name__}')
    tensors = record.tensors()
    kwargs = published_arguments.arguments(record, {name: t.shape for name, t in tensors.items()})
    if force_fp16:
        kwargs = with_fp16(cls.__name__, kwargs)
    return persistence.build(cls, kwargs, {name: as_tensor(t) for name, t in tensors.items()})


def with_fp16(class_name: str, kwargs: dict) -> dict:
    """Arguments of a Generator or Discriminator whose four highest resolutions run in half precision on CUDA."""
    if class_name == 'Discriminator':
        return {**kwargs, **FORCED_FP16}
    return {**kwargs, 'synthesis_kwargs': {**(kwargs.get('synthesis_kwargs') or {}), **FORCED_FP16}}


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of its own memory, float32 where the array is of floats."""
    return torch.from_numpy(np.array(array, dtype=np.float32 if array.dtype.kind == 'f' else None, order='C'))


def _augment_pipe(record: Any) -> tuple[nn.Module | None, float | None]:
    if type(record) is not ModuleRecord:
        return None, None
    tensors, kwargs = record.tensors(), record.state.get('_init_kwargs', {})
    p = float(tensors['p']) if 'p' in tensors and tensors['p'].shape == () else None
    if record.class_name != 'AugmentPipe' or type(kwargs) is not dict or p is None or not math.isfinite(p):
        raise RecordError('its augment_pipe is damaged')
    known = inspect.signature(AugmentPipe).parameters
    for name in kwargs.keys() - known.keys():
        raise RecordError(f'its AugmentPipe has the unknown argument {describe(name)}')
    pipe = AugmentPipe(**{k: published_arguments.plain(v) for k, v in kwargs.items()})
    pipe.p.fill_(p)  # the only state that is not constant
    return pipe.eval().requires_grad_(False), p


def _origin(document: dict) -> str:
    generator = next((document[k] for k in ('G_ema', 'G') if type(document.get(k)) is ModuleRecord), None)
    if generator is None:
        return 'StyleGAN2-ADA'
    if generator.origin == EXPORTED:
        return EXPORTED
    mapping = generator.part('mapping')
    attributes = mapping.state if mapping is not None else {}
    kwargs = attributes.get('_init_kwargs', {})
    mode = attributes.get('cond_mode', kwargs.get('cond_mode') if type(kwargs) is dict else None)
    if generator.part('mapping.flow') is not None:
        return 'i-StyleGAN/CG-GAN flow'
    if generator.part('mapping.0mlp_fc0') is not None:
        return 'i-StyleGAN mlp'
    if type(mode) is str:
        return 'i-StyleGAN/CG-GAN concat'
    if published_arguments.is_stylegan3_style(generator):
        return 'StyleGAN2 of StyleGAN3'
    D = document.get('D')
    return CLR_GAN if type(D) is ModuleRecord and D.origin == CLR_GAN else 'StyleGAN2-ADA'


def _plain_items(options: dict) -> dict:
    """The items with plain values, one level deep. Others describe the machine of the author."""
    return {k: v for k, v in options.items() if type(k) is str and (v is None or type(v) in (str, int, float, bool))}
