"""R2, and estimates of both gradient penalties without a second backward pass (R3GAN, arXiv 2501.05441, sec. 2)."""

from __future__ import annotations

import torch

from torch_utils import training_stats
from training.losses.batch import PhaseBatch
from training.losses.term import GENERATED, REAL, Term


class R2(Term):
    """|∂D(T(x̃)) / ∂x̃|² per generated image x̃, before augmentation T. With weight γ/2 this is the paper's penalty."""

    net, name, needs_grad, float32 = 'D', 'r2', GENERATED, True
    recordable = True

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        gradient = torch.autograd.grad(batch.fake_logits.sum(), batch.images, create_graph=True)[0]
        penalty = gradient.square().sum(dim=(1, 2, 3))
        training_stats.report('Loss/r2_penalty', penalty)
        return penalty


class _ByNoise(Term):
    """(D(T(x)) - D(T(x) + σε))² per image, ε ~ N(0, I). For small σ it approximates σ² |∂D/∂T(x)|². Weight λ corresponds to γ/2
    = λσ².

    The gradient is taken at the augmented image T(x). Both outputs of D are float32, because they differ little.
    """

    net = 'D'
    recordable = True

    def __init__(self, weight: float = 1.0, interval: int | None = 16, sigma: float = 0.01):
        super().__init__(weight, interval)
        self.sigma = sigma

    def _change(self, batch: PhaseBatch, images: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        x = batch.augment(images)
        noisy = x + self.sigma * torch.randn_like(x)
        return (batch.D(x, c, force_fp32=True) - batch.D(noisy, c, force_fp32=True)).square().squeeze(1)


class R1ByNoise(_ByNoise):
    """The penalty by noise on real images."""

    name, needs = 'r1_noise', REAL

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return self._change(batch, batch.real_images, batch.real_c)


class R2ByNoise(_ByNoise):
    """The penalty by noise on generated images."""

    name = 'r2_noise'

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        return self._change(batch, batch.images, batch.c)
