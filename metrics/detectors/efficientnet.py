"""EfficientNet-Lite0, trained on ImageNet: a small detector whose weights are in a Python package.

For machines without a network connection, and for trends. Its distance is not FID.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from metrics.detectors.detector import Detector, exact, rgb
from metrics.detectors.weights import load_folded

STEM, HEAD, CLASSES = 32, 1280, 1000
STAGES = (  # blocks, size of the kernel, stride of the first block, expansion, width
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
IN_FILE = {  # our layers -> convolution and batch normalisation in the file
    'stem': ('_conv_stem', '_bn0'), 'head': ('_conv_head', '_bn1'),
    'expand': ('_expand_conv', '_bn0'), 'depthwise': ('_depthwise_conv', '_bn1'), 'project': ('_project_conv', '_bn2'),
}


class EfficientNet(Detector):
    """Features: the means of the last 1280 feature maps, which are the input of the classifier. Images are resized to 224 x 224
    by
    anti-aliased bicubic interpolation, in both modes.

    Sources: Tan and Le, "EfficientNet", ICML 2019; the Lite variants (2020) leave out squeeze-and-excitation, and have ReLU6.
    """

    num_features = HEAD
    size = 224

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, kernel_size=3, stride=2)
        self.blocks = nn.ModuleList()
        width = STEM
        for count, kernel, stride, expansion, out in STAGES:
            for i in range(count):
                self.blocks.append(Block(width, out, kernel, stride if i == 0 else 1, expansion))
                width = out
        self.head = nn.Conv2d(width, HEAD, kernel_size=1)
        self._fc = nn.Linear(HEAD, CLASSES)

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        load_folded(self, state, names_in_file, eps=1e-3)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return relu6(self.head(self._maps(images)[-1])).mean(dim=(2, 3))

    def feature_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of images as for `features`: the last maps before each halving, and the very last ones, float32 [N, C, s,
        s] with s =
        112, 56, 28, 14, 7. For perceptual distances. Differentiable; images of 224 x 224 are taken as they are."""
        with exact():
            return self._maps(self.resized(rgb(images)))

    def _maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = (images - 127) / 128
        x, maps = relu6(self.stem(pad(x, self.stem))), []
        for block in self.blocks:
            if block.depthwise.stride[0] == 2:
                maps.append(x)
            x = block(x)
        return [*maps, x]

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Features [N, 1280] -> logits of the 1000 classes of ImageNet [N, 1000]."""
        return self._fc(features)


class Block(nn.Module):
    """A 1x1 convolution that widens, a depthwise one, and a linear one that narrows; with a shortcut where shapes allow it.

    Source: Sandler et al., "MobileNetV2", CVPR 2018.
    """

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = width * expansion
        self.expand = nn.Conv2d(width, wide, kernel_size=1) if expansion != 1 else None
        self.depthwise = nn.Conv2d(wide, wide, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=wide)
        self.project = nn.Conv2d(wide, out, kernel_size=1)
        self.shortcut = stride == 1 and width == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else relu6(self.expand(x))
        y = relu6(self.depthwise(pad(y, self.depthwise)))
        y = self.project(y)
        return x + y if self.shortcut else y


def pad(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """What TensorFlow's padding 'SAME' adds to images of even size for a stride of 2: one pixel less before than after."""
    if conv.stride == (1, 1):
        return x  # the convolution pads itself
    total = conv.kernel_size[0] - 2
    return F.pad(x, [total // 2, total - total // 2] * 2)


def relu6(x: torch.Tensor) -> torch.Tensor:
    """In place, because moving memory dominates the time of this network."""
    return F.relu6(x, inplace=True)


def names_in_file(name: str) -> tuple[str, str]:
    """'blocks.3.expand' -> '_blocks.3._expand_conv', '_blocks.3._bn0'."""
    *block, layer = name.split('.')
    prefix = '_' + '.'.join(block) + '.' if block else ''
    conv, norm = IN_FILE[layer]
    return prefix + conv, prefix + norm
