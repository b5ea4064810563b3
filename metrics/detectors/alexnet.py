"""The convolutions of AlexNet, trained on ImageNet, for LPIPS distances."""

from __future__ import annotations

import torch
from torch import nn

from metrics.detectors import lpips
from metrics.detectors.detector import exact, imagenet, rgb
from metrics.detectors.weights import load_exactly


class AlexNet(nn.Module):
    """Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014. Weights: torchvision's."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU())

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        """Load weights with the names of the file. Raises WrongWeights for those of another network."""
        load_exactly(self, state, ignored=('classifier.',))
        self.heads = nn.ParameterList(lpips.heads('alex'))

    def lpips(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding of images (uint8 or float in [0, 255], [N, 1 or 3, H, W]) in which squared distances are LPIPS distances:
        float32 [N, K]. Differentiable."""
        lpips.check_size(images, 31)
        with exact():
            x, maps = imagenet(rgb(images)), []
            for layer in self.features:
                x = layer(x)
                if isinstance(layer, nn.ReLU):
                    maps.append(x)
            return lpips.embedding(maps, self.heads)
