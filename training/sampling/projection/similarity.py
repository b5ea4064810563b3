"""The perceptual distance for projections: LPIPS, or one of a network that needs no download."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dnnlib.channels import has_alpha, over
from dnnlib.image_size import ImageSize, height_width, text_of
from dnnlib.util import OptionError
from metrics.detectors import check_detector, check_lpips, load_detector, load_lpips, lpips_is_here
from metrics.detectors.lpips import of_maps

CHOICES = ('auto', 'lpips', 'efficientnet')
TITLES = dict(lpips='LPIPS of VGG16', efficientnet='EfficientNet-Lite0')
SMALLEST_LPIPS, LARGEST_LPIPS = 16, 256  # pixels of each side: VGG16 halves four times; larger images are averaged down
OFFLINE = '--features=efficientnet'


def choose(features: str, detector_path: str | None, resolution: ImageSize) -> str:
    """'lpips' or 'efficientnet', for images of this size; prints the choice of 'auto'. Loads and downloads nothing.

    'auto' uses LPIPS if its weights are available locally. detector_path: VGG16's weights in a file or at a URL, or None. Raises
    UserError if weights are missing and cannot be downloaded, OptionError for conflicting options.
    """
    if features == 'efficientnet' and detector_path is not None:
        raise OptionError('--detector-path can only be specified with --features=lpips or auto: it names the weights of VGG16')
    too_small = min(height_width(resolution)) < SMALLEST_LPIPS
    if features == 'lpips' and too_small:
        raise OptionError(f'--features=lpips needs images of {SMALLEST_LPIPS}x{SMALLEST_LPIPS} at least, and this network '
                          f'draws {text_of(resolution)}; use {OFFLINE}')
    chosen = features
    if features == 'auto' and too_small:
        chosen = 'efficientnet'
        print(f'Comparing images by {TITLES[chosen]}: they are too small for LPIPS.')
    elif features == 'auto':
        chosen = 'lpips' if detector_path is not None or lpips_is_here('vgg') else 'efficientnet'
        print(f'Comparing images by {TITLES[chosen]}.' + ('' if chosen == 'lpips' else
              ' For LPIPS, as published: --features=lpips, which downloads VGG16 (553 MB), or --detector-path=FILE.'))
    if chosen == 'lpips':
        check_lpips('vgg', detector_path, OFFLINE)
    else:
        check_detector('efficientnet')
    return chosen


class Features:
    """A perceptual embedding of images, in which squared distances are perceptual distances.

    kind: 'lpips' or 'efficientnet'. detector_path: see `choose`. net: the module with the weights. Raises UserError for weights
    that are missing or damaged.

    Sources: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018; without weights
    of channels for EfficientNet, for which nobody has learned any.
    """

    def __init__(self, kind: str, device: torch.device, detector_path: str | None = None):
        self.kind = kind
        self.net = (load_lpips('vgg', device, detector_path, OFFLINE).net if kind == 'lpips' else
                    load_detector('efficientnet', device))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Float [N, C, H, W], nominally in [-1, 1], C = 1 to 4 -> float32 [N, K]. Differentiable.

        With alpha, images are compared on white and on black, and the distance is the mean of both. With one background,
        transparent pixels would look like pixels of its colour. Nothing is clamped, so the gradient can bring values of a
        generator back into range.
        """
        pixels = (images + 1) * 127.5
        if has_alpha(pixels.shape[1]):
            return torch.cat([self._embed(over(pixels, background)) for background in (255, 0)], dim=1) * 0.5 ** 0.5
        return self._embed(pixels)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.kind == 'efficientnet':  # resized here, since the detector clamps
            size = (self.net.size, self.net.size)
            return of_maps(self.net.feature_maps(F.interpolate(pixels, size=size, mode='bicubic', antialias=True)))
        longer = max(pixels.shape[2:])
        if longer > LARGEST_LPIPS:
            pixels = F.interpolate(pixels, size=[side * LARGEST_LPIPS // longer for side in pixels.shape[2:]], mode='area')
        return self.net.lpips(pixels)

    @torch.no_grad()
    def distance(self, a: torch.Tensor, b: torch.Tensor) -> float:
        """The perceptual distance of two images as in `__call__`, [1, C, H, W] each."""
        return (self(a) - self(b)).square().sum().item()
