"""VGG16, trained on ImageNet: features for precision and recall, LPIPS distances, and features of content."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from metrics.detectors import lpips
from metrics.detectors.detector import Detector, exact, imagenet, rgb
from metrics.detectors.resizing import bilinear_tf1
from metrics.detectors.weights import load_exactly

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # with pooling between the rows
WIDE = 4096


class VGG16(Detector):
    """Features: the 4096 values before the last layer, after their ReLU. Resizing 'published': to 224 x 224, bilinear as in
    TensorFlow 1, with aliasing. (How the published TorchScript file resizes is not documented; values may differ from its.)

    Sources: Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015; Kynkäänniemi et al., "Improved Precision and
    Recall Metric", NeurIPS 2019, for the features. Weights: torchvision's; of LPIPS: see metrics.detectors.lpips.
    """

    num_features = WIDE
    size = 224
    published_resize = staticmethod(bilinear_tf1)

    def __init__(self):
        super().__init__()
        layers, width = [], 3
        for row in WIDTHS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for out in row:
                layers += [nn.Conv2d(width, out, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
                width = out
        self.convs = nn.Sequential(*layers)
        self.classifier = nn.ModuleDict({'0': nn.Linear(width * 7 ** 2, WIDE), '3': nn.Linear(WIDE, WIDE)})

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        load_exactly(self, {name.replace('features.', 'convs.'): tensor for name, tensor in state.items()},
                     ignored=('classifier.6.',))  # the logits of the classes
        self.heads = nn.ParameterList(lpips.heads('vgg'))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.maps(images)[-1], 2).flatten(1)
        for layer in self.classifier.values():
            x = F.relu(layer(x))
        return x

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """float32 [N, 3, H, W] in [0, 255] -> the outcomes of the rows of convolutions (relu1_2 ... relu5_3), [N, C, h, w]."""
        lpips.check_size(images, 16)
        x, maps = imagenet(images), []
        for layer in self.convs:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]

    def lpips(self, images: torch.Tensor) -> torch.Tensor:
        with exact():
            return lpips.embedding(self.maps(rgb(images)), self.heads)

    def conv5(self, images: torch.Tensor) -> torch.Tensor:
        """What the last convolutions (relu5_3) see in images, resized as for `features`: float32 [N, 512, 14, 14].

        For distances of content (Huang et al., "Multimodal Unsupervised Image-to-Image Translation", ECCV 2018).
        Differentiable.
        """
        with exact():
            return self.maps(self.resized(rgb(images)))[-1]
