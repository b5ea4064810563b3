"""The augmentation pipeline of ADA: what the discriminator sees of every image, real or generated.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 2 and appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dnnlib.channels import num_colors
from torch_utils import devices
from torch_utils.ops.upfirdn2d import setup_filter
from torch_utils.persistence import persistent
from training.augmentation import color, filters, geometry
from training.augmentation.draws import Draws


@persistent
class AugmentPipe(nn.Module):
    """Transforms every image of a batch at random, by its own parameters.

    The first argument of each transform is its strength: it takes place with probability strength * p, and never if the strength
    is 0, the default. p is a buffer [], initially 1; values above 1 / strength have no further effect. It stays in main memory
    when the module moves. Geometric transforms are also drawn there: they decide the size of intermediate images, which must be
    known without waiting for the device.
    training.augmentation.presets.AUGPIPES holds the usual combinations.

    Pixel blitting: xflip; rotate90, by multiples of 90 degrees; xint, by whole pixels. xint_max: as a part of the image.
    Geometry: scale and aniso (one axis against the other), by 2^n with n of standard deviation scale_std, aniso_std;
    rotate, by up to rotate_max * 180 degrees; xfrac, by n pixels with n / size of standard deviation xfrac_std.
    Colour: brightness, added, of standard deviation brightness_std; contrast and saturation, by 2^n; lumaflip; hue, by up
    to hue_max * 180 degrees. Hue and saturation do not change images of one channel.
    Filtering: imgfilter amplifies each of four frequency bands by 2^n; imgfilter_bands: strength per band, lowest first.
    Corruption: noise of standard deviation noise_std * |n|; cutout blanks a part cutout_size of height and width.
    Alpha, the last of 2 or 4 channels: colour transforms do not change it. All others treat it like the other channels: they also
    move, blur or blank the opacity of a pixel.
    """

    def __init__(self, xflip: float = 0, rotate90: float = 0, xint: float = 0, xint_max: float = 0.125,
                 scale: float = 0, rotate: float = 0, aniso: float = 0, xfrac: float = 0, scale_std: float = 0.2,
                 rotate_max: float = 1, aniso_std: float = 0.2, xfrac_std: float = 0.125,
                 brightness: float = 0, contrast: float = 0, lumaflip: float = 0, hue: float = 0, saturation: float = 0,
                 brightness_std: float = 0.2, contrast_std: float = 0.5, hue_max: float = 1, saturation_std: float = 1,
                 imgfilter: float = 0, imgfilter_bands: Sequence[float] = (1, 1, 1, 1), imgfilter_std: float = 1,
                 noise: float = 0, cutout: float = 0, noise_std: float = 0.1, cutout_size: float = 0.5):
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__()
        for name, value in arguments.items():
            setattr(self, name, [float(v) for v in value] if name == 'imgfilter_bands' else float(value))
        if len(self.imgfilter_bands) != 4:
            raise ValueError(f'imgfilter_bands has 4 numbers, not {len(self.imgfilter_bands)}')
        self.register_buffer('p', torch.ones([], device=devices.HOST))
        self.register_buffer('Hz_geom', setup_filter(geometry.SYM6))
        self.register_buffer('Hz_fbank', filters.filter_bank())

    def forward(self, images: torch.Tensor, debug_percentile: float | None = None) -> torch.Tensor:
        """Images [N, C, H, W], nominally in [-1, 1] -> the same shape and dtype, differentiable twice.

        Images must be on the device of the pipe. Random numbers come from the generator of that device; for geometry, from that
        of the CPU. Computes in float32, the precision of p.
        debug_percentile: for tests, a number in (0, 1); see Draws. Noise stays random.

        Raises ValueError if debug_percentile is not inside (0, 1), if colour is on and C is not 1 to 4, and if
        imgfilter is on and H or W less than 22.
        """
        if images.ndim != 4:
            raise ValueError(f'images are [N, C, H, W], not of shape {list(images.shape)}')
        x = images.to(self.p.dtype)
        draws = Draws(len(x), x, debug_percentile)
        if self._any(geometry.TRANSFORMS):
            G = geometry.draw_inverse_transform(self, Draws(len(x), self.p, debug_percentile), *x.shape[2:])
            x = geometry.warp(x, G, self.Hz_geom)
        if self._any(color.TRANSFORMS):
            x = color.recolor(x, *color.draw_color_transform(self, draws, num_colors(x.shape[1])))
        if self.imgfilter > 0:
            x = filters.filter_images(x, filters.draw_gains(self, draws) @ self.Hz_fbank)
        if self.noise > 0:
            x = filters.add_noise(x, draws.half_normal(self.noise_std, self.p * self.noise))
        if self.cutout > 0:
            x = filters.cut_out(x, draws.constant(self.cutout_size, self.p * self.cutout), draws.position())
        return x.to(images.dtype)

    def _apply(self, *args, **kwargs):
        p = self.p
        super()._apply(*args, **kwargs)
        self.p = p.to(self.p.dtype)
        return self

    def _any(self, transforms: Sequence[str]) -> bool:
        return any(getattr(self, name) > 0 for name in transforms)
