"""The Inception-v3 that defines FID, KID and IS: the TensorFlow graph of 2015-12-05, with ported weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from metrics.detectors.detector import Detector, exact
from metrics.detectors.resizing import bilinear_tf1
from metrics.detectors.weights import load_folded

CLASSES = 1008

# A chain is a list of convolutions (name, width, kernel, stride or 1). Each takes the output of the one before; those in a tuple
# take the same input. Kernels are (height, width). Padding keeps the size. With stride 2 there is no padding.
Chain = list


def block_a(pool: int) -> list[Chain]:
    """35 x 35 pixels."""
    return [[('branch1x1', 64, (1, 1))],
            [('branch5x5_1', 48, (1, 1)), ('branch5x5_2', 64, (5, 5))],
            [('branch3x3dbl_1', 64, (1, 1)), ('branch3x3dbl_2', 96, (3, 3)), ('branch3x3dbl_3', 96, (3, 3))],
            ['mean', ('branch_pool', pool, (1, 1))]]


def block_b() -> list[Chain]:
    """35 x 35 to 17 x 17 pixels."""
    return [[('branch3x3', 384, (3, 3), 2)],
            [('branch3x3dbl_1', 64, (1, 1)), ('branch3x3dbl_2', 96, (3, 3)), ('branch3x3dbl_3', 96, (3, 3), 2)],
            ['shrink']]


def block_c(width: int) -> list[Chain]:
    """17 x 17 pixels, 7 x 7 kernels as products of 1 x 7 and 7 x 1."""
    return [[('branch1x1', 192, (1, 1))],
            [('branch7x7_1', width, (1, 1)), ('branch7x7_2', width, (1, 7)), ('branch7x7_3', 192, (7, 1))],
            [('branch7x7dbl_1', width, (1, 1)), ('branch7x7dbl_2', width, (7, 1)), ('branch7x7dbl_3', width, (1, 7)),
             ('branch7x7dbl_4', width, (7, 1)), ('branch7x7dbl_5', 192, (1, 7))],
            ['mean', ('branch_pool', 192, (1, 1))]]


def block_d() -> list[Chain]:
    """17 x 17 to 8 x 8 pixels."""
    return [[('branch3x3_1', 192, (1, 1)), ('branch3x3_2', 320, (3, 3), 2)],
            [('branch7x7x3_1', 192, (1, 1)), ('branch7x7x3_2', 192, (1, 7)), ('branch7x7x3_3', 192, (7, 1)),
             ('branch7x7x3_4', 192, (3, 3), 2)],
            ['shrink']]


def block_e(pool: str) -> list[Chain]:
    """8 x 8 pixels."""
    return [[('branch1x1', 320, (1, 1))],
            [('branch3x3_1', 384, (1, 1)), (('branch3x3_2a', 384, (1, 3)), ('branch3x3_2b', 384, (3, 1)))],
            [('branch3x3dbl_1', 448, (1, 1)), ('branch3x3dbl_2', 384, (3, 3)),
             (('branch3x3dbl_3a', 384, (1, 3)), ('branch3x3dbl_3b', 384, (3, 1)))],
            [pool, ('branch_pool', 192, (1, 1))]]


BLOCKS = {
    'Mixed_5b': block_a(32), 'Mixed_5c': block_a(64), 'Mixed_5d': block_a(64), 'Mixed_6a': block_b(),
    'Mixed_6b': block_c(128), 'Mixed_6c': block_c(160), 'Mixed_6d': block_c(160), 'Mixed_6e': block_c(192),
    'Mixed_7a': block_d(), 'Mixed_7b': block_e('mean'), 'Mixed_7c': block_e('max'),  # sic: in this graph, the last two differ
}
POOLS = {
    'mean': lambda x: F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),  # of pixels of the image alone
    'max': lambda x: F.max_pool2d(x, 3, stride=1, padding=1),
    'shrink': lambda x: F.max_pool2d(x, 3, stride=2),
}


class Inception(Detector):
    """Features: the means of the last 2048 feature maps. Resizing 'published': to 299 x 299, as the graph does, with aliasing;
    'clean': anti-aliased, as clean-FID does.

    Sources: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016; Heusel et al., "GANs Trained by a Two
    Time-Scale Update Rule", NeurIPS 2017, for its use. Unlike the Inception-v3 of the paper, this one's averages leave out the
    padding, its last block has a maximum instead, and there are 1008 classes.
    """

    num_features = 2048
    size = 299
    published_resize = staticmethod(bilinear_tf1)

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = nn.Conv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = nn.Conv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = nn.Conv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = nn.Conv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = nn.Conv2d(80, 192, 3)
        width = 192
        for name, chains in BLOCKS.items():
            block = Block(width, chains)
            self.add_module(name, block)
            width = block.width
        self.fc = nn.Linear(width, CLASSES)

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        load_folded(self, state, lambda name: (f'{name}.conv', f'{name}.bn'), eps=1e-3)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        x = (images - 128) / 128
        x = F.relu_(self.Conv2d_1a_3x3(x))
        x = F.relu_(self.Conv2d_2a_3x3(x))
        x = F.relu_(self.Conv2d_2b_3x3(x))
        x = POOLS['shrink'](x)
        x = F.relu_(self.Conv2d_3b_1x1(x))
        x = F.relu_(self.Conv2d_4a_3x3(x))
        x = POOLS['shrink'](x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        return self.probabilities_of(self.features(images))

    def probabilities_of(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities of 1008 classes without the bias of the last layer, as in the published inception score: [N, 2048] -> [N,
        1008]."""
        with torch.no_grad(), exact():
            return F.linear(features, self.fc.weight).softmax(dim=1)


class Block(nn.Module):
    """Parallel chains of convolutions with ReLU, concatenated over channels. width: of the outcome."""

    def __init__(self, width: int, chains: list[Chain]):
        super().__init__()
        self.chains = chains
        self.width = 0
        for chain in chains:
            last = width
            for step in chain:
                if isinstance(step, str):
                    continue
                forks = step if isinstance(step[0], tuple) else (step,)
                for name, out, kernel, *stride in forks:
                    padding = (0, 0) if stride else (kernel[0] // 2, kernel[1] // 2)
                    self.add_module(name, nn.Conv2d(last, out, kernel, stride[0] if stride else 1, padding))
                last = sum(fork[1] for fork in forks)
            self.width += last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._run(chain, x) for chain in self.chains], dim=1)

    def _run(self, chain: Chain, x: torch.Tensor) -> torch.Tensor:
        for step in chain:
            if isinstance(step, str):
                x = POOLS[step](x)
            else:
                forks = step if isinstance(step[0], tuple) else (step,)
                x = torch.cat([F.relu_(self.get_submodule(name)(x)) for name, *_ in forks], dim=1)
        return x
