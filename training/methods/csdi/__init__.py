"""CSDI (ICML 2026, arXiv 2605.17827): style and content have orthogonal effects on the image."""

from __future__ import annotations

from dnnlib.util import EasyDict, OptionError
from training.methods.i_stylegan import STYLE_MODES, complete_style
from training.methods.method import Method, check_not_negative, option


class CSDI(Method):
    """Orthogonality of the Jacobian with respect to style and the Jacobian with respect to content."""

    name, title, order, extends = 'csdi', 'CSDI', 30, ('i-stylegan',)
    options = [
        option('--lambda-orth', help='Weight of the orthogonality of what style and content do to the image: the larger, the '
               'less one can imitate the other.  [default: 0]', type=float),
        option('--orth-probes', help='Random projections per step that estimate it, a backward pass each.  [default: 4]',
               type=int),
    ]
    published = dict(cond_mode='flow', lambda_sparse=0.1, lambda_orth=1.0)
    implies = dict(cond_mode='flow')
    defaults = dict(lambda_orth=0.0, orth_probes=4)
    terms = {'G/orth': 'orthogonality.Orthogonality'}

    def complete(self, o: EasyDict, given: set[str]) -> None:
        if not complete_style(self, o, given):
            return
        check_not_negative(o, 'lambda_orth')
        if o.lambda_orth == 0 and 'orth_probes' in given:
            raise OptionError('--orth-probes has no effect without --lambda_orth')
        if o.orth_probes < 2:
            raise OptionError('--orth-probes must be at least 2')

    def is_active(self, o: EasyDict) -> bool:
        return o.cond_mode in STYLE_MODES and o.lambda_orth > 0

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        if self.is_active(o):
            self.add_term(c, 'G/orth', weight=o.lambda_orth, probes=o.orth_probes)


METHOD = CSDI()
