"""Latent consistency and image reconstruction (CLR-GAN, ECCV 2024): D inverts G for latents and for images.

The code E is D's feature vector before the logit. E(G(z)) is compared with z itself. If a flow or a normalisation lies between z
and the mapping network, z is its input. So G(E(x), c) decodes the encoded image.
"""

from __future__ import annotations

import torch

from training.losses.batch import PhaseBatch
from training.losses.term import REAL, Term


class LatentConsistency(Term):
    """Mean (E(T(G(z))) - z)² per sample. Samples with style mixing are skipped, because z does not determine them.

    compat: use all samples, as published.
    """

    net, name = 'D', 'latent'
    recordable = True

    def __init__(self, weight: float = 5.0, interval: int | None = None, compat: bool = False):
        super().__init__(weight, interval)
        self.compat = compat
        self.needs_unmixed = not compat

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        rows = batch.z.shape[0] if self.compat else batch.num_unmixed
        return (batch.fake_latent[:rows] - batch.z[:rows]).square().mean(dim=1)


class ImageReconstruction(Term):
    """Mean (G(E(x), c) - x)² per real image x with label c. E(x) is a constant here, and w_avg is not updated.

    compat: encode the augmented image, mix styles and update w_avg, as published.
    """

    net, name, needs = 'G', 'recon', REAL
    recordable = True

    def __init__(self, weight: float = 0.5, interval: int | None = None, compat: bool = False):
        super().__init__(weight, interval)
        self.compat = compat

    def forward(self, batch: PhaseBatch) -> torch.Tensor:
        images, c = batch.real_images, batch.real_c
        with torch.no_grad():
            code = batch.D(batch.augment(images) if self.compat else images, c, return_latent=True)[1]
        ws = batch.G.mapping(code, c, skip_w_avg_update=not self.compat)
        if self.compat:
            ws = batch.mixed(ws, c)
        return (batch.G.synthesis(ws) - images).square().mean(dim=(1, 2, 3))
