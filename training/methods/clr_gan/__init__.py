"""CLR-GAN (ECCV 2024): the discriminator recovers the latent; the generator reconstructs real images from it."""

from __future__ import annotations

from dnnlib.util import EasyDict, OptionError
from training.methods.method import Method, check_not_negative, option


class CLRGAN(Method):
    """Latent consistency and image reconstruction."""

    name, title, order = 'clr-gan', 'CLR-GAN', 40
    options = [
        option('--lambda-latent', help='Weight of the latent consistency: the discriminator learns to recover z from a generated '
               'image. Published: 5.  [default: 0]', type=float),
        option('--lambda-recon', help='Weight of the reconstruction of real images from the latent that the discriminator finds. '
               'Published: 0.5.  [default: 0]', type=float),
        option('--clr-compat', help='As published: style mixing in both terms, and the encoder sees augmented images.'
               '  [default: 0]', type=bool),
    ]
    published = dict(lambda_latent=5.0, lambda_recon=0.5)
    defaults = dict(lambda_latent=0.0, lambda_recon=0.0, clr_compat=False)
    terms = {'G/recon': 'terms.ImageReconstruction', 'D/latent': 'terms.LatentConsistency'}

    def complete(self, o: EasyDict, given: set[str]) -> None:
        for name, value in self.defaults.items():
            o[name] = value if o[name] is None else o[name]
        check_not_negative(o, 'lambda_latent', 'lambda_recon')
        if o.clr_compat and not self.is_active(o):
            raise OptionError('--clr-compat has no effect without --method=clr-gan, --lambda_latent or --lambda_recon')

    def is_active(self, o: EasyDict) -> bool:
        return bool(o.lambda_latent > 0 or o.lambda_recon > 0)

    def configure(self, o: EasyDict, c: EasyDict, label_dim: int) -> None:
        if not self.is_active(o):
            return
        features = min(c.D_kwargs['channel_base'] // 4, c.D_kwargs['channel_max'])  # feature maps of the discriminator at 4x4
        if c.D_kwargs['class_name'] == 'training.networks.Discriminator' and o.z_dim != features:
            raise OptionError(f'CLR-GAN takes the {features} features of the discriminator at 4x4 for a latent, but the latent '
                              f'has {o.z_dim} numbers; add --z-dim={features}, or have --cmax={o.z_dim} and '
                              f'--cbase={4 * o.z_dim} at least')
        c.reconstructs = True
        if o.lambda_recon > 0:
            self.add_term(c, 'G/recon', weight=o.lambda_recon, compat=bool(o.clr_compat))
        if o.lambda_latent > 0:
            self.add_term(c, 'D/latent', weight=o.lambda_latent, compat=bool(o.clr_compat))

    def describe(self, o: EasyDict) -> str:
        return f'-clr{o.lambda_latent:g}-{o.lambda_recon:g}' if self.is_active(o) else ''


METHOD = CLRGAN()
