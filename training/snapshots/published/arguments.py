"""Constructor arguments of published networks: those in the file; all others follow from the shapes of its tensors and the
attributes of its layers.

The published programs store only the arguments that were passed. Their defaults differ between versions (StyleGAN3's StyleGAN2
networks use half precision by default), so no default is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch_utils.safe_pickle import RecordError, describe
from training.snapshots.published.module_record import ModuleRecord

Shapes = Mapping[str, tuple[int, ...]]

# The arguments that a file may set, by the part of the network that they go to.
MAPPING = ('num_layers', 'embed_features', 'layer_features', 'activation', 'lr_multiplier', 'w_avg_beta', 'cond_mode', 'i_dim',
           'flow_blocks', 'flow_dim', 'flow_norm', 'use_label', 'label_dim')
SYNTHESIS = ('channel_base', 'channel_max', 'num_fp16_res', 'conv_clamp', 'architecture', 'resample_filter', 'fp16_channels_last',
             'kernel_size', 'use_noise', 'activation')
BLOCK = ('activation', 'resample_filter', 'fp16_channels_last', 'freeze_layers')
EPILOGUE = ('mbstd_group_size', 'mbstd_num_channels', 'activation')
GENERATOR = ('z_dim', 'c_dim', 'w_dim', 'img_resolution', 'img_channels')
DISCRIMINATOR = ('c_dim', 'img_resolution', 'img_channels', 'architecture', 'channel_base', 'channel_max', 'num_fp16_res',
                 'conv_clamp', 'cmap_dim')
NESTED = {'mapping_kwargs': MAPPING, 'synthesis_kwargs': SYNTHESIS, 'block_kwargs': BLOCK, 'epilogue_kwargs': EPILOGUE}
ARGUMENTS = {'Generator': (*GENERATOR, 'mapping_kwargs', 'synthesis_kwargs'),  # in the order of the constructors
             'Discriminator': (*DISCRIMINATOR, 'block_kwargs', 'mapping_kwargs', 'epilogue_kwargs')}
# None means "not set" for all arguments but these, where it means "none".
NONE_COUNTS = ('w_avg_beta', 'conv_clamp', 'mbstd_group_size', 'layer_features', 'embed_features', 'cmap_dim')
IGNORED = ('fused_modconv_default',)  # affects only the speed
STYLEGAN3_DEFAULTS = dict(num_fp16_res=4, conv_clamp=256)
BIGGEST, LONGEST = 1 << 31, 64


def arguments(record: ModuleRecord, shapes: Shapes) -> dict:
    """Keyword arguments for our class of the same name. Raises RecordError for arguments that are unknown or no plain values."""
    given = _given(record)
    if record.class_name == 'Discriminator':
        return _merged(_discriminator(record, shapes), given)
    direct = {k: given.pop(k) for k in SYNTHESIS if k in given}  # StyleGAN3's way to pass them
    derived = _generator(record, shapes)
    if direct:
        derived['synthesis_kwargs'] = STYLEGAN3_DEFAULTS | derived['synthesis_kwargs']
    return _merged(derived, _merged(given, {'synthesis_kwargs': direct}))


def is_stylegan3_style(record: ModuleRecord) -> bool:
    """Whether a generator's arguments are passed in the way of StyleGAN3's code base."""
    return any(k in record.state.get('_init_kwargs', {}) for k in (*SYNTHESIS, *IGNORED))


def plain(value: Any) -> Any:
    """A number, text, bool, None, or a short list of numbers. Raises RecordError for anything else."""
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < BIGGEST):
        return value
    if type(value) is str and len(value) <= LONGEST:
        return value
    if type(value) in (list, tuple) and len(value) <= LONGEST and all(type(v) in (int, float) for v in value):
        return [plain(v) for v in value]
    raise RecordError(f'an argument in it is no plain value ({type(value).__name__})')


def _given(record: ModuleRecord) -> dict:
    expected = ARGUMENTS[record.class_name]
    positional, keywords = record.state.get('_init_args', ()), record.state.get('_init_kwargs', {})
    if type(positional) is not tuple or type(keywords) is not dict or len(positional) > len(expected):
        raise RecordError(f'the arguments of its {record.class_name} are damaged')
    given = {}
    for name, value in {**dict(zip(expected, positional, strict=False)), **keywords}.items():
        if name in NESTED and name in expected:
            given[name] = _known(value or {}, NESTED[name], f'{record.class_name}.{name}')
        else:
            direct = (*expected, *SYNTHESIS) if record.class_name == 'Generator' else expected
            given |= _known({name: value}, direct, record.class_name)
    return given


def _known(values: Any, expected: Iterable[str], where: str) -> dict:
    if type(values) is not dict:
        raise RecordError(f'the {where} in it are damaged')
    for name in values.keys() - {*expected, *IGNORED}:
        raise RecordError(f'its {where} has the unknown argument {describe(name)}')
    return {k: plain(v) for k, v in values.items() if k not in IGNORED and (v is not None or k in NONE_COUNTS)}


def _merged(first: dict, second: dict) -> dict:
    """Merged dicts. The second takes precedence, also in nested dicts."""
    merged = {**first, **second}
    for name in NESTED:
        if name in first and name in second:
            merged[name] = {**first[name], **second[name]}
    return merged


# What follows from shapes and attributes.

def _generator(record: ModuleRecord, shapes: Shapes) -> dict:
    sizes = _resolutions(shapes, r'synthesis\.b(\d+)\.')
    if not sizes or 'synthesis.b4.const' not in shapes:
        if record.part('synthesis.input') is not None or record.part('synthesis') is not None:
            raise RecordError('its generator is not a StyleGAN2 one; of StyleGAN3, only the StyleGAN2 configurations are read')
        raise RecordError('its generator has no synthesis network')
    R = sizes[-1]
    width = {r: shapes[f'synthesis.b{r}.conv1.weight'][0] for r in sizes}
    torgb = [r for r in sizes if f'synthesis.b{r}.torgb.weight' in shapes]
    synthesis = dict(_widths(width), architecture='resnet' if f'synthesis.b{R}.skip.weight' in shapes else
                     'skip' if torgb == sizes else 'orig', use_noise='synthesis.b4.conv1.noise_const' in shapes,
                     kernel_size=shapes['synthesis.b4.conv1.weight'][2])
    _attribute(synthesis, 'conv_clamp', record, f'synthesis.b{R}.conv1')
    _attribute(synthesis, 'activation', record, 'synthesis.b4.conv1')
    _half_precision(synthesis, record, 'synthesis.', sizes)

    mapping = _mapping(record, shapes)
    _attribute(mapping, 'w_avg_beta', record, 'mapping')
    if 'mapping.w_avg' not in shapes:
        mapping['w_avg_beta'] = None
    c_dim = _label_width(shapes)
    taken = shapes['mapping.embed.weight'][0] if c_dim and mapping['cond_mode'] == 'concat' else 0
    taken += shapes['mapping.label_embed.weight'][0] if mapping['use_label'] else 0
    return dict(z_dim=shapes['mapping.fc0.weight'][1] - taken, c_dim=c_dim, w_dim=shapes['synthesis.b4.conv1.affine.weight'][1],
                img_resolution=R, img_channels=shapes[f'synthesis.b{R}.torgb.weight'][0], mapping_kwargs=mapping,
                synthesis_kwargs=synthesis)


def _discriminator(record: ModuleRecord, shapes: Shapes) -> dict:
    sizes = [r for r in _resolutions(shapes, r'b(\d+)\.') if r > 4]
    if not sizes or 'b4.conv.weight' not in shapes:
        raise RecordError('its discriminator is not a StyleGAN2 one')
    R = sizes[-1]
    width = {r: shapes[f'b{r}.conv0.weight'][0] for r in sizes} | {4: shapes['b4.conv.weight'][0]}
    architecture = ('resnet' if f'b{R}.skip.weight' in shapes else 'skip' if 'b4.fromrgb.weight' in shapes else 'orig')
    epilogue = dict(mbstd_num_channels=shapes['b4.conv.weight'][1] - width[4])
    _attribute(epilogue, 'mbstd_group_size', record, 'b4.mbstd', 'group_size')
    _attribute(epilogue, 'activation', record, 'b4.conv')
    block: dict = {}
    _attribute(block, 'activation', record, f'b{R}.conv0')
    derived = dict(_widths(width), c_dim=_label_width(shapes), img_resolution=R, architecture=architecture,
                   img_channels=shapes[f'b{R}.fromrgb.weight'][1], block_kwargs=block, epilogue_kwargs=epilogue)
    _attribute(derived, 'conv_clamp', record, f'b{R}.conv0')
    _half_precision(derived, record, '', sizes)
    if derived['c_dim']:
        derived |= dict(cmap_dim=shapes['b4.out.weight'][0], mapping_kwargs=_mapping(record, shapes))
    return derived


def _mapping(record: ModuleRecord, shapes: Shapes) -> dict:
    own = {k.removeprefix('mapping.'): v for k, v in shapes.items() if k.startswith('mapping.')}

    def count(pattern: str) -> int:
        return len({m[1] for m in (re.fullmatch(pattern, k) for k in own) if m})

    mode = 'flow' if 'flow_fc0.weight' in own else 'mlp' if '0mlp_fc0.weight' in own else 'concat'
    found: dict = dict(num_layers=count(r'fc(\d+)\.weight'), cond_mode=mode, use_label='label_embed.weight' in own)
    if 'embed.weight' in own:
        found['embed_features'] = own['embed.weight'][0]
    if 'label_embed.weight' in own:
        found['label_dim'] = own['label_embed.weight'][1]
    if found['num_layers'] > 1:
        found['layer_features'] = own['fc0.weight'][0]
    if mode != 'concat':
        found['i_dim'] = own['importance'][1]
        _attribute(found, 'flow_norm', record, 'mapping')
    if mode == 'flow':
        found |= dict(flow_blocks=count(r'flow\.model\.(\d+)\.u_'), flow_dim=own['flow.model.0.u_'][0])
    _attribute(found, 'activation', record, 'mapping.fc0')
    _attribute(found, 'lr_multiplier', record, 'mapping.fc0', 'bias_gain')
    return found


def _resolutions(shapes: Shapes, pattern: str) -> list[int]:
    return sorted({int(m[1]) for m in (re.match(pattern, k) for k in shapes) if m and len(m[1]) < 6})


def _label_width(shapes: Shapes) -> int:
    if 'mapping.embed.weight' in shapes:
        return shapes['mapping.embed.weight'][1]
    return len({m[1] for m in (re.match(r'mapping\.(\d+)mlp_fc0\.', k) for k in shapes) if m})


def _widths(width: Mapping[int, int]) -> dict:
    """channel_base and channel_max of blocks with width[r] = min(channel_base // r, channel_max) feature maps."""
    most = max(width.values())
    return dict(channel_base=max(n * r for r, n in width.items() if n < most or r == max(width)), channel_max=most)


def _attribute(into: dict, name: str, record: ModuleRecord, path: str, attribute: str | None = None) -> None:
    """Take an argument from the attribute of a layer, if the file has both."""
    layer, attribute = record.part(path), attribute or name
    if layer is not None and attribute in layer.state and (layer.state[attribute] is not None or name in NONE_COUNTS):
        into[name] = plain(layer.state[attribute])


def _half_precision(into: dict, record: ModuleRecord, prefix: str, sizes: Iterable[int]) -> None:
    blocks = [record.part(f'{prefix}b{r}') for r in sizes]
    if all(block is not None and type(block.state.get('use_fp16')) is bool for block in blocks):
        into['num_fp16_res'] = sum(block.state['use_fp16'] for block in blocks)
