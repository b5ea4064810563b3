"""TensorFlow pickles of StyleGAN2 and StyleGAN2-ADA: a tuple (G, D, Gs) of networks -> our G, D and G_ema.

Each holds a table of variables and the arguments of its building function. Its source text is never read.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from torch import nn

from dnnlib.util import EasyDict
from torch_utils import persistence
from torch_utils.pickled_arrays import Array
from torch_utils.safe_pickle import RecordError, describe
from training.networks import Discriminator, Generator
from training.snapshots.published.arguments import plain
from training.snapshots.published.convert import as_tensor, with_fp16
from training.snapshots.published.module_record import ModuleRecord

PLACES = {'G': 0, 'D': 1, 'G_ema': 2}
VERSIONS = {4: 'StyleGAN2 TensorFlow', 5: 'StyleGAN2-ADA TensorFlow'}
BLUR = [1, 3, 3, 1]

# TensorFlow's argument -> (ours, default). `mapping.` and so on: in mapping_kwargs.
GENERATOR = {
    'latent_size': ('z_dim', 512), 'label_size': ('c_dim', 0), 'dlatent_size': ('w_dim', 512),
    'resolution': ('img_resolution', 1024), 'num_channels': ('img_channels', 3),
    'mapping_layers': ('mapping.num_layers', 8), 'label_fmaps': ('mapping.embed_features', None),
    'mapping_fmaps': ('mapping.layer_features', None), 'mapping_nonlinearity': ('mapping.activation', 'lrelu'),
    'mapping_lrmul': ('mapping.lr_multiplier', 0.01), 'w_avg_beta': ('mapping.w_avg_beta', 0.995),
    'fmap_base': ('synthesis.channel_base', 16384), 'fmap_max': ('synthesis.channel_max', 512),
    'num_fp16_res': ('synthesis.num_fp16_res', 0), 'conv_clamp': ('synthesis.conv_clamp', None),
    'architecture': ('synthesis.architecture', 'skip'), 'resample_kernel': ('synthesis.resample_filter', BLUR),
    'use_noise': ('synthesis.use_noise', True), 'nonlinearity': ('synthesis.activation', 'lrelu'),
}
GENERATOR_IGNORED = ('truncation_psi', 'truncation_cutoff', 'style_mixing_prob', 'structure', 'conditioning', 'fused_modconv')
DISCRIMINATOR = {
    'label_size': ('c_dim', 0), 'resolution': ('img_resolution', 1024), 'num_channels': ('img_channels', 3),
    'architecture': ('architecture', 'resnet'), 'fmap_base': ('channel_base', 16384), 'fmap_max': ('channel_max', 512),
    'num_fp16_res': ('num_fp16_res', 0), 'conv_clamp': ('conv_clamp', None), 'mapping_fmaps': ('cmap_dim', None),
    'nonlinearity': ('block.activation', 'lrelu'), 'resample_kernel': ('block.resample_filter', BLUR),
    'freeze_layers': ('block.freeze_layers', 0),
    'mapping_layers': ('mapping.num_layers', 0), 'mapping_nonlinearity': ('mapping.activation', 'lrelu'),
    'mapping_lrmul': ('mapping.lr_multiplier', 0.1),
    'mbstd_group_size': ('epilogue.mbstd_group_size', None), 'mbstd_num_features': ('epilogue.mbstd_num_channels', 1),
}
DISCRIMINATOR_IGNORED = ('structure', 'conditioning')


def convert(networks: tuple, only: tuple[str, ...], force_fp16: bool = False) -> EasyDict:
    """The networks named in `only`, with the other results of training.snapshots.published.convert.convert. Raises
    RecordError."""
    if len(networks) != 3 or any(type(n) is not ModuleRecord or n.class_name != 'Network' for n in networks):
        raise RecordError('it is a tuple of something else than the three networks of StyleGAN2 in TensorFlow')
    versions = {n.state.get('version') for n in networks}
    if not versions <= VERSIONS.keys():
        raise RecordError(f'its networks are of version {", ".join(map(describe, map(str, versions)))}; '
                          'StyleGAN2 (4) and StyleGAN2-ADA (5) are read, StyleGAN1 is not')
    loaded = EasyDict()
    for name in only:
        loaded[name] = (_discriminator if name == 'D' else _generator)(networks[PLACES[name]], force_fp16)
    return EasyDict(loaded, augment_pipe=None, augment_p=None, origin=VERSIONS[max(versions)], training_set_kwargs=None)


def _generator(network: ModuleRecord, force_fp16: bool) -> nn.Module:
    variables = _variables(network)
    if any('ToRGB_lod' in name for name in variables):
        raise RecordError('its generator has layers for several levels of detail (StyleGAN2 config-a to d), which are not read')
    kwargs = _arguments(network, GENERATOR, GENERATOR_IGNORED)
    if kwargs['mapping_kwargs']['w_avg_beta'] is None:
        kwargs['mapping_kwargs']['w_avg_beta'] = 1  # the mean exists and never moves
    return _build(Generator, kwargs, variables, _generator_source, force_fp16)


def _discriminator(network: ModuleRecord, force_fp16: bool) -> nn.Module:
    variables = _variables(network)
    kwargs = _arguments(network, DISCRIMINATOR, DISCRIMINATOR_IGNORED)
    kwargs['mapping_kwargs'] |= dict(embed_features=kwargs['cmap_dim'], layer_features=kwargs['cmap_dim'])
    for name, value in list(variables.items()):
        if match := re.fullmatch(r'FromRGB_lod(\d{1,2})/(\w+)', name):
            r = kwargs['img_resolution'] >> int(match[1])
            variables[f'{r}x{r}/FromRGB/{match[2]}'] = value
            kwargs['architecture'] = 'orig'
    return _build(Discriminator, kwargs, variables, _discriminator_source, force_fp16)


def _variables(network: Any, prefix: str = '', depth: int = 0) -> dict[str, np.ndarray]:
    """All variables by their full names, components included."""
    if type(network) is not ModuleRecord or network.class_name != 'Network' or depth > 2:
        raise RecordError('a network in it is damaged')
    found: dict[str, Any] = {}
    for name, value in network.state['variables']:
        if type(name) is not str or type(value) is not Array or value.values is None:
            raise RecordError('a variable in it is damaged')
        found[prefix + name] = value.values
    for name, component in network.state['components'].items():
        found |= _variables(component, f'{prefix}{name}/', depth + 1)
    return found


def _arguments(network: ModuleRecord, table: dict[str, tuple[str, Any]], ignored: tuple[str, ...]) -> dict:
    given = network.state['static_kwargs']
    for name in given.keys() - table.keys() - set(ignored):
        raise RecordError(f'its networks were built with {describe(name)}, which is not supported')
    kwargs: dict = {}
    for theirs, (ours, default) in table.items():
        value = plain(given.get(theirs, default))
        if theirs == 'fmap_base':
            value *= 2  # TensorFlow's value is for half the resolution
        part, _, name = ours.rpartition('.')
        (kwargs.setdefault(f'{part}_kwargs', {}) if part else kwargs)[name] = value
    return kwargs


def _build(cls: type, kwargs: dict, variables: dict[str, np.ndarray], source: Any, force_fp16: bool) -> nn.Module:
    if force_fp16:
        kwargs = with_fp16(cls.__name__, kwargs)
    state = {}
    for name in persistence.tensor_names(cls, kwargs, len(variables), sum(a.size for a in variables.values())):
        if name.endswith('resample_filter'):
            continue  # no variable in TensorFlow
        variable = source(name)
        if variable not in variables:
            raise RecordError(f'its {cls.__name__} lacks the variable {describe(variable)}')
        state[name] = as_tensor(_turned(name, variables[variable], cls is Generator))
    return persistence.build(cls, kwargs, state, constants='resample_filter')


def _turned(name: str, x: np.ndarray, generates: bool) -> np.ndarray:
    """A variable with the axes and the meaning of our tensor `name`."""
    if name.endswith('.weight') and x.ndim == 2:
        return x.T  # [in, out] -> [out, in]
    if name.endswith('.weight') and x.ndim == 4:
        if generates and name.endswith(('.conv0.weight', '.skip.weight')):
            x = x[::-1, ::-1]  # upsampling layers convolve here and correlate there
        return x.transpose(3, 2, 0, 1)  # [kh, kw, in, out] -> [out, in, kh, kw]
    if name.endswith('.affine.bias'):
        return x + 1
    if name.endswith('.const'):
        return x[0]
    if name.endswith('.noise_const'):
        return x[0, 0]
    return x


PARAMETERS = {'weight': 'weight', 'bias': 'bias', 'noise_strength': 'noise_strength', 'affine.weight': 'mod_weight',
              'affine.bias': 'mod_bias'}


def _generator_source(name: str) -> str:
    """The TensorFlow variable of a tensor of our generator."""
    if name == 'mapping.w_avg':
        return 'dlatent_avg'
    if match := re.fullmatch(r'mapping\.(?:embed|fc(\d+))\.(\w+)', name):
        layer = 'LabelEmbed' if match[1] is None else f'Dense{match[1]}'
        return f'mapping/{layer}/{match[2]}'
    r, layer, parameter = re.fullmatch(r'synthesis\.b(\d+)\.(?:(\w+)\.)?(.+)', name).groups()
    block = f'synthesis/{r}x{r}'
    if parameter == 'const':
        return f'{block}/Const/const'
    if parameter == 'noise_const':  # numbered through all layers, two for each resolution above 4
        return f'synthesis/noise{2 * (int(r).bit_length() - 1) - (5 if layer == "conv0" else 4)}'
    layer = {'conv0': 'Conv0_up', 'conv1': 'Conv' if r == '4' else 'Conv1', 'torgb': 'ToRGB', 'skip': 'Skip'}[layer]
    return f'{block}/{layer}/{PARAMETERS[parameter]}'


def _discriminator_source(name: str) -> str:
    """The TensorFlow variable of a tensor of our discriminator."""
    if match := re.fullmatch(r'mapping\.(?:embed|fc(\d+))\.(\w+)', name):
        layer = 'LabelEmbed' if match[1] is None else f'Mapping{match[1]}'
        return f'{layer}/{match[2]}'
    r, layer, parameter = re.fullmatch(r'b(\d+)\.(\w+)\.(\w+)', name).groups()
    if layer == 'out':
        return f'Output/{parameter}'
    layer = {'fromrgb': 'FromRGB', 'conv0': 'Conv0', 'conv1': 'Conv1_down', 'skip': 'Skip', 'conv': 'Conv', 'fc': 'Dense0'}[layer]
    return f'{r}x{r}/{layer}/{parameter}'
