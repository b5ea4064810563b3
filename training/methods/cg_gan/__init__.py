"""CG-GAN (ICLR 2025, arXiv 2503.00639): i-StyleGAN in which each style coordinate affects few pixels."""

from __future__ import annotations

import click

from dnnlib.util import EasyDict, OptionError
from training.methods.i_stylegan import STYLE_MODES, complete_style
from training.methods.method import Method, check_not_negative, option

DETAILS = ('jacobian', 'jacobian_penalty', 'jacobian_shrink')  # these options have no effect if the term has weight 0


class CGGAN(Method):
    """Sparsity of the generator's Jacobian with respect to the style coordinates."""

    name, title, order, extends = 'cg-gan', 'CG-GAN', 20, ('i-stylegan',)
    options = [
        option('--lambda-imgsparse', help="Weight of the sparsity of the generator's Jacobian with respect to the style. "
               'Published: 0.1.  [default: 0]', type=float),
        option('--perturb-norm', help='Step of the finite difference that estimates the Jacobian. Published: 0.1.  [default: 0]',
               type=float),
        option('--jacobian', help='fd: the difference itself, as published. fd-normalized: divided by the step. jvp: exact, by '
               'forward-mode differentiation.  [default: fd]', type=click.Choice(['fd', 'fd-normalized', 'jvp'])),
        option('--jacobian-penalty', help='l1: as published; also pulls towards no effect at all. hoyer: L1 / L2 of each '
               'coordinate; sparsity at any strength.  [default: l1]', type=click.Choice(['l1', 'hoyer'])),
        option('--jacobian-shrink', help='Compute the term on 1/N of the batch.  [default: 2]', type=int),
    ]
    published = dict(cond_mode='flow', lambda_sparse=0.1, lambda_imgsparse=0.1, perturb_norm=0.1)
    implies = dict(cond_mode='flow')
    defaults = dict(lambda_imgsparse=0.0, perturb_norm=0.0, jacobian='fd', jacobian_penalty='l1', jacobian_shrink=2)
    terms = {'G/img_sparse': 'jacobian_sparsity.JacobianSparsity'}

    def complete(self, o: EasyDict, given: set[str]) -> None:
        if o.cond_mode in STYLE_MODES and (o.jacobian == 'jvp' or not o.lambda_imgsparse) and 'perturb_norm' not in given:
            o.perturb_norm = 0.0  # --method sets a step, but this run has no term that uses one
        if not complete_style(self, o, given):
            return
        check_not_negative(o, 'lambda_imgsparse', 'perturb_norm')
        if o.jacobian == 'jvp' and o.perturb_norm > 0:
            raise OptionError('--perturb_norm has no effect with --jacobian=jvp, which takes no step; leave one of them out')
        if o.lambda_imgsparse > 0 and o.perturb_norm == 0 and o.jacobian != 'jvp':
            raise OptionError('--lambda_imgsparse needs the size of a step: add --perturb_norm=0.1, or use --jacobian=jvp')
        if o.perturb_norm > 0 and o.lambda_imgsparse == 0:
            raise OptionError('--perturb_norm needs the weight of the term that takes the step: add --lambda_imgsparse=0.1')
        for name in DETAILS:
            if o.lambda_imgsparse == 0 and name in given:
                raise OptionError(f'--{name.replace("_", "-")} has no effect without --lambda_imgsparse')
        if o.jacobian_shrink < 1:
            raise OptionError('--jacobian-shrink must be at least 1')

    def is_active(self, o: EasyDict) -> bool:
        return o.cond_mode in STYLE_MODES and o.lambda_imgsparse > 0

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        if self.is_active(o):
            step = {} if o.jacobian == 'jvp' else dict(perturb_norm=o.perturb_norm)
            self.add_term(c, 'G/img_sparse', weight=o.lambda_imgsparse, jacobian=o.jacobian, penalty=o.jacobian_penalty, **step,
                          batch_shrink=o.jacobian_shrink)


METHOD = CGGAN()
