"""StyleGAN2 (Karras et al. 2020), the base of all other methods. Its options are the general options of train.py."""

from __future__ import annotations

from dnnlib.util import EasyDict
from training.methods.method import Method


class StyleGAN2(Method):
    """The non-saturating logistic loss, with lazy path length regularisation and lazy R1."""

    name, title, order = 'stylegan2', 'StyleGAN2', 0
    terms = {
        'G/logistic': 'logistic.GeneratorLogistic',
        'G/path_length': 'path_length.PathLength',
        'D/logistic_fake': 'logistic.DiscriminatorLogisticFake',
        'D/logistic_real': 'logistic.DiscriminatorLogisticReal',
        'D/r1': 'r1.R1',
    }

    def is_active(self, o: EasyDict) -> bool:
        return False  # StyleGAN2 remains if no other method is active

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        self.add_term(c, 'G/logistic')
        self.add_term(c, 'G/path_length', weight=c.loss_kwargs['pl_weight'], interval=c.G_reg_interval)
        self.add_term(c, 'D/logistic_fake')
        self.add_term(c, 'D/logistic_real')
        self.add_term(c, 'D/r1', weight=c.loss_kwargs['gamma'] / 2, interval=c.D_reg_interval)


METHOD = StyleGAN2()
