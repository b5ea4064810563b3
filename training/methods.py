"""What a method adds to StyleGAN2: the options that it sets, the mapping network and the loss terms that follow from them.

Pure functions, without torch; training.config calls them.
"""

from __future__ import annotations

import math

from dnnlib.util import EasyDict, OptionError

# Options that --method sets where they are not given, with the weights of the published commands.
METHODS = {
    'stylegan2': {},
    'i-stylegan': dict(cond_mode='flow', lambda_sparse=0.1),
    'cg-gan': dict(cond_mode='flow', lambda_sparse=0.1, lambda_imgsparse=0.1, perturb_norm=0.1),
    'clr-gan': dict(lambda_latent=5.0, lambda_recon=0.5),
}
# The options of i-StyleGAN, CG-GAN and CSDI, and their values where neither the user nor a method says anything.
STYLE_DEFAULTS = dict(i_dim=256, flow_blocks=2, flow_dim=10, flow_norm=True, lambda_sparse=0.0, lambda_imgsparse=0.0,
                      perturb_norm=0.0, lambda_orth=0.0)
# Options of a term, which have no effect without its weight: {option: (default, weight)}.
DETAILS = dict(jacobian=('fd', 'lambda_imgsparse'), jacobian_penalty=('l1', 'lambda_imgsparse'),
               jacobian_shrink=(2, 'lambda_imgsparse'), orth_probes=(4, 'lambda_orth'))
# Those of CLR-GAN.
CLR_DEFAULTS = dict(lambda_latent=0.0, lambda_recon=0.0)


def complete_options(options: EasyDict) -> EasyDict:
    """Fill in what the options of a method imply, where they were not given; `--cond` becomes True or False.

    Raises OptionError for options that contradict each other or would have no effect.
    """
    o = EasyDict(options)
    given = {name for name in (*STYLE_DEFAULTS, *DETAILS, 'cond_mode') if o[name] is not None}
    for name, value in _method_options(o.method or ['stylegan2']).items():
        o[name] = value if o[name] is None else o[name]
    _complete_clr(o)
    if o.cond_mode is None and (given & {*STYLE_DEFAULTS, *DETAILS}):
        o.cond_mode = 'flow'  # the default of the published command that these options come from
    if o.cond_mode is not None:
        if o.cond is False:
            raise OptionError(f'--cond=0 contradicts --cond_mode={o.cond_mode}, which needs labels; leave one of them out')
        o.cond = True
    o.cond = bool(o.cond)
    if o.cond_mode in ('flow', 'mlp'):
        _complete_style(o, given)
    else:
        useless = sorted(given & {*STYLE_DEFAULTS, *DETAILS})
        if useless:
            raise OptionError(f'--{useless[0]} has no effect with --cond_mode=concat, where every coordinate of z is content; '
                              'use --cond_mode=flow')
        if any('cond_mode' in METHODS[name] for name in o.method or ()):
            raise OptionError(f'--method={",".join(o.method)} contradicts --cond_mode=concat; leave one of them out')
    return o


def _method_options(names: list[str]) -> dict:
    """What several methods set together. Raises OptionError if they contradict each other."""
    if 'stylegan2' in names and len(names) > 1:
        raise OptionError(f'--method={",".join(names)}: stylegan2 means none of the others; leave it out')
    options: dict = {}
    for name in names:
        for option, value in METHODS[name].items():
            if options.setdefault(option, value) != value:
                raise OptionError(f'--method={",".join(names)}: they set --{option} to different values; give it explicitly '
                                  'or leave one of them out')
    return options


def _complete_clr(o: EasyDict) -> None:
    for name, value in CLR_DEFAULTS.items():
        o[name] = value if o[name] is None else o[name]
        if not 0 <= o[name] < math.inf:
            raise OptionError(f'--{name} must be non-negative')
    if o.clr_compat and o.lambda_latent == o.lambda_recon == 0:
        raise OptionError('--clr-compat has no effect without --method=clr-gan, --lambda_latent or --lambda_recon')


def _complete_style(o: EasyDict, given: set[str]) -> None:
    for name in sorted(given & {'flow_blocks', 'flow_dim'} if o.cond_mode == 'mlp' else ()):
        raise OptionError(f'--{name} has no effect with --cond_mode=mlp; use --cond_mode=flow')
    if (o.jacobian == 'jvp' or not o.lambda_imgsparse) and 'perturb_norm' not in given:
        o.perturb_norm = 0.0  # the step of a method is for a term that takes one
    for name, value in STYLE_DEFAULTS.items():
        o[name] = value if o[name] is None else o[name]
    for name in ('lambda_sparse', 'lambda_imgsparse', 'perturb_norm', 'lambda_orth'):
        if not 0 <= o[name] < math.inf:
            raise OptionError(f'--{name} must be non-negative')
    for name in ('flow_blocks', 'flow_dim'):
        if o[name] < 1:
            raise OptionError(f'--{name} must be at least 1')
    if o.jacobian == 'jvp' and o.perturb_norm > 0:
        raise OptionError('--perturb_norm has no effect with --jacobian=jvp, which takes no step; leave one of them out')
    if o.lambda_imgsparse > 0 and o.perturb_norm == 0 and o.jacobian != 'jvp':
        raise OptionError('--lambda_imgsparse needs the size of a step: add --perturb_norm=0.1, or --jacobian=jvp without one')
    if o.perturb_norm > 0 and o.lambda_imgsparse == 0:
        raise OptionError('--perturb_norm needs the weight of the term that takes the step: add --lambda_imgsparse=0.1')
    for name, (value, weight) in DETAILS.items():
        if o[weight] == 0 and name in given:
            raise OptionError(f'--{name.replace("_", "-")} has no effect without --{weight}')
        o[name] = value if o[name] is None else o[name]
    if o.jacobian_shrink < 1:
        raise OptionError('--jacobian-shrink must be at least 1')
    if o.orth_probes < 2:
        raise OptionError('--orth-probes must be at least 2')


def check_domains(o: EasyDict, label_dim: int) -> None:
    """Raise OptionError if the dataset has no domains to tell apart, or the style is wider than z."""
    if o.cond_mode not in ('flow', 'mlp'):
        return
    if label_dim < 2:
        problem = 'has no labels' if label_dim == 0 else 'has a single domain'
        raise OptionError(f'--cond_mode={o.cond_mode} needs two domains at least, but --data={o.data} {problem}; make a dataset '
                          'with labels by dataset_tool.py, such as one sub-folder per domain')
    if not 1 <= o.i_dim <= o.z_dim:
        raise OptionError(f'--i_dim must be between 1 and {o.z_dim}, the width of z')


def check_code(o: EasyDict, latent_dim: int) -> None:
    """Raise OptionError if the discriminator's features, latent_dim of them, can't be a latent."""
    if (o.lambda_latent > 0 or o.lambda_recon > 0) and o.z_dim != latent_dim:
        raise OptionError(f'CLR-GAN takes the {latent_dim} features of the discriminator at 4x4 for a latent, but the latent has '
                          f'{o.z_dim} numbers; add --z-dim={latent_dim}, or have --cmax={o.z_dim} and '
                          f'--cbase={4 * o.z_dim} at least')


def mapping_kwargs(o: EasyDict) -> dict:
    """What the generator's mapping network needs to know of the method."""
    if o.cond_mode not in ('flow', 'mlp'):
        return {}
    flow = dict(flow_blocks=o.flow_blocks, flow_dim=o.flow_dim) if o.cond_mode == 'flow' else {}
    return dict(cond_mode=o.cond_mode, i_dim=o.i_dim, **flow, flow_norm=o.flow_norm)


def terms(o: EasyDict) -> dict[str, dict]:
    """The loss terms of the method: {key of training.losses.TERMS: keyword arguments}."""
    result: dict[str, dict] = {}
    if o.cond_mode in ('flow', 'mlp'):
        if o.lambda_sparse > 0:
            result['G/sparse'] = dict(weight=o.lambda_sparse)
        if o.lambda_imgsparse > 0:
            step = {} if o.jacobian == 'jvp' else dict(perturb_norm=o.perturb_norm)
            result['G/img_sparse'] = dict(weight=o.lambda_imgsparse, jacobian=o.jacobian, penalty=o.jacobian_penalty, **step,
                                          batch_shrink=o.jacobian_shrink)
        if o.lambda_orth > 0:
            result['G/orth'] = dict(weight=o.lambda_orth, probes=o.orth_probes)
    if o.lambda_recon > 0:
        result['G/recon'] = dict(weight=o.lambda_recon, compat=bool(o.clr_compat))
    if o.lambda_latent > 0:
        result['D/latent'] = dict(weight=o.lambda_latent, compat=bool(o.clr_compat))
    return result


def description(o: EasyDict) -> str:
    """The part of a run directory's name; of i-StyleGAN and CG-GAN as published: `-flow-nb2-dim10-styledim256-norm-sparse0.1`."""
    clr = f'-clr{o.lambda_latent:g}-{o.lambda_recon:g}' if o.lambda_latent > 0 or o.lambda_recon > 0 else ''
    if o.cond_mode is None:
        return clr
    if o.cond_mode == 'concat':
        return '-concat' + (f'-dim{o.concat_dim}' if o.concat_dim is not None else '') + clr
    flow = f'-nb{o.flow_blocks}-dim{o.flow_dim}' if o.cond_mode == 'flow' else ''
    return f'-{o.cond_mode}{flow}-styledim{o.i_dim}{"-norm" if o.flow_norm else ""}-sparse{float(o.lambda_sparse)}' + clr
