"""Common code of detectors: preparation of images, and full precision regardless of a training run's options."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from dnnlib.channels import NAMES, over
from dnnlib.errors import UserError
from metrics.detectors.resizing import bicubic_antialiased
from torch_utils import devices


class Detector(nn.Module):
    """A network that describes images by features. Made by `load_detector`.

    name: in the registry. num_features: width of `features`. resize: 'published' or 'clean'.
    key: short text for file names that identifies weights and resizing. Equal keys mean equal features. verified: whether the
    digest of the weights is that of the registry; False if no digest is known, as for dinov2 and TorchScript files.

    Images are uint8 or float in [0, 255], [N, C, H, W] with C = 1 to 4, on the detector's device. Images with alpha are put on
    white. A single channel is repeated.
    """

    num_features: int
    size: int  # images are resized to size x size
    probabilities_of: Callable[[torch.Tensor], torch.Tensor] | None = None  # features -> `probabilities`, of networks that can
    published_resize: Callable[[torch.Tensor, int], torch.Tensor] = staticmethod(bicubic_antialiased)
    name = ''
    key = ''
    resize = 'published'
    verified = False

    def set_up(self, name: str, key: str, resize: str, verified: bool) -> Detector:
        """Set what load_detector knows."""
        self.name, self.key, self.resize, self.verified = name, key, resize, verified
        return self

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images, see above: float32 [N, num_features]."""
        with torch.no_grad(), exact():
            return self.embed(self.resized(rgb(images)))

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of the classes of images, without the bias of the last layer: float32 [N, classes].

        Raises UserError if the network has no classes.
        """
        raise UserError(f'{self.name} gives no class probabilities; the inception score is defined with --detector=inception')

    def lpips(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding of images, not resized, in which squared distances are LPIPS distances: float32 [N, K].

        Differentiable. Raises UserError if the network has none.
        """
        raise UserError(f'{self.name} gives no LPIPS distances; use --detector=vgg16')

    def conv5(self, images: torch.Tensor) -> torch.Tensor:
        """Feature maps that describe the content of images, resized as for `features`: float32 [N, C, h, w].

        Differentiable. Raises UserError if the network has none.
        """
        raise UserError(f'{self.name} has no features of content; use --detector=vgg16')

    def resized(self, images: torch.Tensor) -> torch.Tensor:
        """Float [N, 3, H, W] -> [N, 3, size, size], range kept."""
        how = self.published_resize if self.resize == 'published' else bicubic_antialiased
        return how(images, self.size)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Features of float32 [N, 3, size, size] in [0, 255]."""
        raise NotImplementedError

    def load_weights(self, state: dict[str, Any]) -> None:
        """Load weights with the names of the file. Raises WrongWeights for those of another network."""
        raise NotImplementedError


def rgb(images: torch.Tensor) -> torch.Tensor:
    """uint8 or float [N, 1 to 4, H, W] -> float32 [N, 3, H, W], in the layout in which the device convolves fastest."""
    if images.ndim != 4 or images.shape[1] not in NAMES:
        raise UserError(f'detectors take images of 1 to 4 channels, not of shape {list(images.shape[1:])}')
    images = over(images.to(torch.float32), background=255).expand(-1, 3, -1, -1)
    return images.contiguous(memory_format=memory_format(images.device))


def imagenet(images: torch.Tensor) -> torch.Tensor:
    """Float [N, 3, H, W] in [0, 255] -> about zero mean and unit variance, the input of networks trained on ImageNet."""
    mean, std = (torch.tensor(v, device=images.device).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images / 255 - mean) / std


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout in which convolutions on `device` are fastest."""
    return torch.channels_last if devices.prefers_channels_last(device) else torch.contiguous_format


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Compute in full float32 while active, so metrics do not depend on --allow-tf32."""
    with devices.full_precision(), torch.autocast('cuda', enabled=False), torch.autocast('cpu', enabled=False):
        yield
