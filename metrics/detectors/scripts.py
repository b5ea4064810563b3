"""The published detectors as TorchScript files, if the user passes one.

A TorchScript file is a program for PyTorch's own interpreter. It executes no Python code and no pickle, but it may call any
operator of PyTorch, and some read and write files. It is therefore run only if the user names it. Files found in a folder or
downloaded by default are never run.
"""

from __future__ import annotations

import torch

from dnnlib.errors import UserError
from metrics.detectors.detector import Detector, exact, rgb
from metrics.detectors.resizing import bicubic_antialiased
from metrics.detectors.weight_files import Found


class Scripted(Detector):
    """A network that takes images of any size in [0, 255] and resizes them itself; in mode 'clean' it gets the size it wants."""

    def __init__(self, script: torch.nn.Module):
        super().__init__()
        self.script = script

    def resized(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.resize == 'published' else bicubic_antialiased(images, self.size)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.script(images, return_features=True)

    def check(self, images: torch.Tensor) -> None:
        """Raise an exception unless the outputs have the expected shapes."""
        assert self.features(images).shape == (len(images), self.num_features)


class ScriptedInception(Scripted):
    """`inception-2015-12-05.pt` as published with StyleGAN2-ADA."""

    num_features = 2048
    size = 299

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), exact():
            return self.script(self.resized(rgb(images)), no_output_bias=True)

    def check(self, images: torch.Tensor) -> None:
        super().check(images)
        assert self.probabilities(images).shape == (len(images), 1008)


class ScriptedVGG16(Scripted):
    """`vgg16.pt` as published with StyleGAN2-ADA."""

    num_features = 4096
    size = 224

    def lpips(self, images: torch.Tensor) -> torch.Tensor:
        with exact():
            return self.script(rgb(images), resize_images=False, return_lpips=True)

    def conv5(self, images: torch.Tensor) -> torch.Tensor:
        """Raises UserError, because the file does not have it."""
        raise UserError('the published TorchScript file of VGG16 gives no features of content; pass its weights file instead')

    def check(self, images: torch.Tensor) -> None:
        super().check(images)
        assert self.lpips(images).ndim == 2 and len(self.lpips(images)) == len(images)


def load_script(detector: type[Scripted], found: Found) -> Scripted:
    """Load a TorchScript file as a detector. Raises UserError for a file that does something else."""
    if not found.given:
        raise UserError(f'{found.path}: a TorchScript program where weights belong; if you trust it, pass it by --detector-path')
    try:
        net = detector(torch.jit.load(str(found.path), map_location='cpu')).eval().requires_grad_(False)
        net.check(torch.arange(2 * 3 * 32 * 32).remainder(256).reshape(2, 3, 32, 32).to(torch.uint8))
    except Exception as err:  # a program can raise anything
        raise UserError(f'{found.path}: not the TorchScript file of {detector.__name__.removeprefix("Scripted")}, '
                        'or damaged') from err
    return net
