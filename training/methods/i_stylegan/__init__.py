"""i-StyleGAN (Xie et al., ICLR 2023): a flow lets the domain move a few style coordinates of z; the other coordinates are
content."""

from __future__ import annotations

import click

from dnnlib.util import EasyDict, OptionError
from training.methods.method import Method, check_not_negative, option

STYLE_MODES = ('flow', 'mlp')  # values of --cond-mode that have style coordinates


class IStyleGAN(Method):
    """Style coordinates, their flow, and the sparsity of their importance."""

    name, title, order = 'i-stylegan', 'i-StyleGAN', 10
    options = [
        option('--cond-mode', help='How the label acts. concat: it is concatenated to z, as in StyleGAN2-ADA. flow: it moves the '
               'style coordinates of z; the others are content, the same in every domain (i-StyleGAN). mlp: the same by one MLP '
               'per domain. Implies --cond=1.  [default: flow with any of the options below, or concat]',
               type=click.Choice(['flow', 'concat', 'mlp'])),
        option('--i-dim', help='Number of style coordinates, the first ones of z.  [default: 256]', type=int),
        option('--flow-blocks', help='Depth of the flow.  [default: 2]', type=int),
        option('--flow-dim', help='Hidden width of the flow.  [default: 10]', type=int),
        option('--flow-norm', help='Normalise style and content, each by itself.  [default: 1]', type=bool),
        option('--lambda-sparse', help='Weight of mean |importance|: fewer style coordinates. Published: 0.1.  [default: 0]',
               type=float),
    ]
    published = dict(cond_mode='flow', lambda_sparse=0.1)
    implies = dict(cond_mode='flow')
    defaults = dict(i_dim=256, flow_blocks=2, flow_dim=10, flow_norm=True, lambda_sparse=0.0)
    terms = {'G/sparse': 'flow_sparsity.FlowSparsity'}

    def complete(self, o: EasyDict, given: set[str]) -> None:
        if o.cond_mode is not None:
            if o.cond is False:
                raise OptionError(f'--cond=0 contradicts --cond_mode={o.cond_mode}, which needs labels; leave one of them out')
            o.cond = True
        if not complete_style(self, o, given - {'cond_mode'}):
            return
        for name in sorted(given & {'flow_blocks', 'flow_dim'} if o.cond_mode == 'mlp' else ()):
            raise OptionError(f'--{name} has no effect with --cond_mode=mlp; use --cond_mode=flow')
        check_not_negative(o, 'lambda_sparse')
        for name in ('flow_blocks', 'flow_dim'):
            if o[name] < 1:
                raise OptionError(f'--{name} must be at least 1')

    def is_active(self, o: EasyDict) -> bool:
        return o.cond_mode in STYLE_MODES

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        if o.cond_mode not in STYLE_MODES:
            return
        if label_dim < 2:
            problem = 'has no labels' if label_dim == 0 else 'has a single domain'
            raise OptionError(f'--cond_mode={o.cond_mode} needs two domains at least, but --data={o.data} {problem}; make a '
                              'dataset with labels by dataset_tool.py, such as one sub-folder per domain')
        if not 1 <= o.i_dim <= o.z_dim:
            raise OptionError(f'--i_dim must be between 1 and {o.z_dim}, the width of z')
        flow = dict(flow_blocks=o.flow_blocks, flow_dim=o.flow_dim) if o.cond_mode == 'flow' else {}
        c.G_kwargs['mapping_kwargs'].update(cond_mode=o.cond_mode, i_dim=o.i_dim, **flow, flow_norm=o.flow_norm)
        c.grid_by_domain = True
        if o.snap is None:
            c.image_snapshot_ticks = c.network_snapshot_ticks = 40
        if o.lambda_sparse > 0:
            self.add_term(c, 'G/sparse', weight=o.lambda_sparse)

    def describe(self, o: EasyDict) -> str:
        """Describe the method as published: '-flow-nb2-dim10-styledim256-norm-sparse0.1'."""
        if o.cond_mode is None:
            return ''
        if o.cond_mode == 'concat':
            return '-concat' + (f'-dim{o.concat_dim}' if o.concat_dim is not None else '')
        flow = f'-nb{o.flow_blocks}-dim{o.flow_dim}' if o.cond_mode == 'flow' else ''
        return f'-{o.cond_mode}{flow}-styledim{o.i_dim}{"-norm" if o.flow_norm else ""}-sparse{float(o.lambda_sparse)}'


def complete_style(method: Method, o: EasyDict, given: set[str]) -> bool:
    """Fill in the defaults of a method that works on style coordinates. Returns whether style coordinates exist. Raises
    OptionError if they don't but the method or one of its options was given."""
    if o.cond_mode not in STYLE_MODES:
        if given:
            raise OptionError(f'--{min(given)} has no effect with --cond_mode=concat, where every coordinate of z is content; '
                              'use --cond_mode=flow')
        if method.name in (o.method or ()):
            raise OptionError(f'--method={",".join(o.method)} contradicts --cond_mode=concat; leave one of them out')
        return False
    for name, value in method.defaults.items():
        o[name] = value if o[name] is None else o[name]
    return True


METHOD = IStyleGAN()
