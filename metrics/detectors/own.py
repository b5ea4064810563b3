"""Features of a classifier that was trained on the dataset itself, for small pictures, which networks trained on photographs
describe badly. metrics.detectors.own_training trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from metrics.detectors.detector import Detector, exact
from metrics.domains.classifier import WIDTHS, make_network
from metrics.quality.class_judge import as_input

GRID = 2    # cells, in each direction, over which the maps of features are averaged
BLOCK = 4   # layers of a block: convolution, batch normalisation, ReLU, pooling
EPS = 1e-3  # added to deviations


class Own(Detector):
    """Features: the maps after each of the three blocks of convolutions (metrics.domains.classifier), averaged over the cells
    of a 2 x 2 grid; then with zero mean and unit variance over the images that the network was trained on; then asinh, which
    keeps a few features that hardly vary among these images from outweighing all others.

    All three blocks are used, because the last one sees mainly the differences between classes. Images are uint8 [N, channels, H,
    W]. They are not resized, but shrunk by `factor`.

    channels, size: of the classifier's input; size is (height, width) after shrinking. accuracies: of its heads, on held-out
    images.
    """

    num_features = sum(WIDTHS) * GRID ** 2

    def __init__(self, channels: int, size: Sequence[int], factor: int, accuracies: Sequence[float]):
        super().__init__()
        self.channels, self.factor, self.accuracies = channels, factor, tuple(accuracies)
        self.size: Any = tuple(size)
        net: Any = make_network(channels, size, 2, torch.Generator())
        self.blocks = nn.ModuleList(net[k * BLOCK:(k + 1) * BLOCK] for k in range(len(WIDTHS)))
        self.register_buffer('mean', torch.zeros(self.num_features))
        self.register_buffer('deviation', torch.ones(self.num_features))
        self.eval().requires_grad_(False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images, see above: float32 [N, num_features]."""
        with torch.no_grad(), exact():
            return ((self.pooled(as_input(images, self.factor)) - self.mean) / self.deviation).asinh()

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 [N, channels, *size] in [-1, 1] -> features before they are normalised."""
        parts = []
        for block in self.blocks:
            x = block(x)
            parts.append(F.adaptive_avg_pool2d(x, GRID).flatten(start_dim=1))
        return torch.cat(parts, dim=1)

    def take(self, net: nn.Sequential, images: torch.Tensor, batch: int = 256) -> None:
        """Use the blocks of a classifier, and normalise features over its training images [N, channels, *size]."""
        for k, block in enumerate(self.blocks):
            block.load_state_dict(net[k * BLOCK:(k + 1) * BLOCK].state_dict())
        with torch.no_grad(), exact():
            features = torch.cat([self.pooled(part) for part in images.split(batch)]).cpu().double()
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(features.std(dim=0, correction=0) + EPS)

    def arrays(self) -> dict[str, np.ndarray]:
        """The whole detector, for from_arrays."""
        state = {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}
        return state | dict(shape=np.array([self.channels, *self.size, self.factor]), accuracies=np.array(self.accuracies))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Own:
        """The network that `arrays` described."""
        channels, *size, factor = arrays['shape'].tolist()
        net = cls(channels, size, factor, arrays['accuracies'].tolist())
        net.load_state_dict({name: torch.from_numpy(np.array(arrays[name])) for name in net.state_dict()})
        return net
