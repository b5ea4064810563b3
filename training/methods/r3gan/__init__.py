"""R3GAN's objective (Huang et al. 2024, arXiv 2501.05441): a relativistic loss with R1 and R2, on StyleGAN2's networks."""

from __future__ import annotations

import click

from dnnlib.util import EasyDict, OptionError
from training.methods.method import Method, option

LAZY = 16  # interval of R1 in StyleGAN2


class R3GAN(Method):
    """How real and generated images are compared, and which gradients are penalised."""

    name, title, order = 'r3gan', 'R3GAN', 50
    options = [
        option('--loss', help='How D compares images. logistic: each by itself, as in StyleGAN2. relativistic: each generated '
               'image with a real image of the same label. hinge: each by itself, up to a margin.  [default: logistic]',
               type=click.Choice(['logistic', 'relativistic', 'hinge'])),
        option('--r2', help='Penalise the gradient of D at generated images too, with the weight of --gamma.  [default: 0]',
               type=bool),
        option('--penalty', help='How gradient penalties are computed. exact: by a second backward pass. noise: approximately, '
               'by the change of D under Gaussian noise, with one backward pass.  [default: exact]',
               type=click.Choice(['exact', 'noise'])),
        option('--penalty-sigma', help='Standard deviation of that noise, for images in [-1, 1].  [default: 0.01]', type=float),
        option('--penalty-interval', help='Compute gradient penalties every N iterations; 1 for every iteration.  '
               f'[default: {LAZY}, or 1 with --method=r3gan]', type=int),
    ]
    published = dict(loss='relativistic', r2=True, penalty_interval=1)
    defaults = dict(loss='logistic', r2=False, penalty='exact', penalty_sigma=0.01, penalty_interval=LAZY)
    terms = {
        'G/relativistic': 'relativistic.GeneratorRelativistic',
        'D/relativistic': 'relativistic.DiscriminatorRelativistic',
        'G/hinge': 'hinge.GeneratorHinge',
        'D/hinge_fake': 'hinge.DiscriminatorHingeFake',
        'D/hinge_real': 'hinge.DiscriminatorHingeReal',
        'D/r2': 'penalties.R2',
        'D/r1_noise': 'penalties.R1ByNoise',
        'D/r2_noise': 'penalties.R2ByNoise',
    }

    def complete(self, o: EasyDict, given: set[str]) -> None:
        for name, value in self.defaults.items():
            o[name] = value if o[name] is None else o[name]
        if o.penalty_interval < 1:
            raise OptionError('--penalty-interval must be at least 1')
        if o.penalty == 'exact' and 'penalty_sigma' in given:
            raise OptionError('--penalty-sigma has no effect without --penalty=noise')
        if not 0 < o.penalty_sigma < 1:
            raise OptionError('--penalty-sigma must be greater than 0 and less than 1')
        if o.gamma == 0 and given & {'r2', 'penalty', 'penalty_interval'}:
            raise OptionError(f'--{min(given & {"r2", "penalty", "penalty_interval"}).replace("_", "-")} has no effect with '
                              '--gamma=0; leave one of them out')

    def is_active(self, o: EasyDict) -> bool:
        return bool(o.loss == 'relativistic' or o.r2)

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        terms, gamma = c.loss_kwargs['terms'], c.loss_kwargs['gamma']
        if o.loss != 'logistic':
            for key in ('G/logistic', 'D/logistic_fake', 'D/logistic_real'):
                del terms[key]
            for key in self.terms:
                if o.loss in key:
                    self.add_term(c, key)
        interval = None if o.penalty_interval == 1 else o.penalty_interval
        c.D_reg_interval = interval
        if o.penalty == 'exact':
            terms['D/r1']['interval'] = interval
            if o.r2:
                self.add_term(c, 'D/r2', weight=gamma / 2, interval=interval)
            return
        del terms['D/r1']
        weight = gamma / (2 * o.penalty_sigma ** 2)  # λ, from γ/2 = λσ²
        for key in ('D/r1_noise', 'D/r2_noise') if o.r2 else ('D/r1_noise',):
            self.add_term(c, key, weight=weight, interval=interval, sigma=o.penalty_sigma)

    def describe(self, o: EasyDict) -> str:
        """Describe what differs from StyleGAN2: '-relativistic-r2-noise0.01-every1'."""
        return ''.join([
            f'-{o.loss}' if o.loss != 'logistic' else '',
            '-r2' if o.r2 else '',
            f'-noise{o.penalty_sigma:g}' if o.penalty == 'noise' else '',
            f'-every{o.penalty_interval}' if o.penalty_interval != LAZY else '',
        ])


METHOD = R3GAN()
