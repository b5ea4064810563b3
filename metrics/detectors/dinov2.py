"""DINOv2 ViT-L/14, self-supervised. Its features agree better with people than Inception's."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import nn

from metrics.detectors.detector import Detector, imagenet
from metrics.detectors.weights import WrongWeights, load_exactly

PATCH = 14
EPS = 1e-6  # of layer normalisations
HUGGING_FACE = (  # names in the files of the transformers package -> names in the authors' files, which are timm's too
    (r'^embeddings\.(cls_token|mask_token)$', r'\1'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^embeddings\.patch_embeddings\.projection\.', 'patch_embed.proj.'),
    (r'^encoder\.layer\.', 'blocks.'),
    (r'\.attention\.output\.dense\.', '.attn.proj.'),
    (r'\.attention\.attention\.(query|key|value)\.', r'.attn.\1.'),
    (r'\.layer_scale(\d)\.lambda1$', r'.ls\1.gamma'),
    (r'^layernorm\.', 'norm.'),
)


class DinoV2(Detector):
    """Features: the class token after the last normalisation. Images are resized to 224 x 224 by anti-aliased bicubic
    interpolation, in both modes.

    width, depth, heads: of the transformer. grid: patches per side of the images that it was trained with.

    Sources: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024; Stein et al., "Exposing
    flaws of generative model evaluation metrics", NeurIPS 2023, for its use.
    """

    def __init__(self, width: int = 1024, depth: int = 24, heads: int = 16, grid: int = 37, size: int = 224):
        super().__init__()
        self.num_features, self.size, self.grid = width, size, grid
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid ** 2, width))
        self.patch_embed = nn.ModuleDict({'proj': nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=EPS)

    def load_weights(self, state: dict[str, torch.Tensor]) -> None:
        if 'embeddings.cls_token' in state:
            state = from_hugging_face(state)
        load_exactly(self, state, ignored=('mask_token',))
        position = interpolate_positions(self.pos_embed[:, 1:], self.grid, self.size // PATCH)
        self.pos_embed = nn.Parameter(torch.cat([self.pos_embed[:, :1], position], dim=1))

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed['proj'](imagenet(images)).flatten(2).mT  # [N, patches, width]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])


class Block(nn.Module):
    """A block of a vision transformer with layer scale. Source: Touvron et al., "Going deeper with Image Transformers", 2021."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = nn.ModuleDict({'qkv': nn.Linear(width, 3 * width), 'proj': nn.Linear(width, width)})
        self.ls1 = nn.ParameterDict({'gamma': torch.empty(width)})
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = nn.ModuleDict({'fc1': nn.Linear(width, 4 * width), 'fc2': nn.Linear(4 * width, width)})
        self.ls2 = nn.ParameterDict({'gamma': torch.empty(width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1['gamma'] * self.attention(self.norm1(x))
        return x + self.ls2['gamma'] * self.mlp['fc2'](F.gelu(self.mlp['fc1'](self.norm2(x))))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """[N, tokens, width] -> the same shape."""
        q, k, v = self.attn['qkv'](x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [N, heads, tokens, C]
        return self.attn['proj'](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def interpolate_positions(position: torch.Tensor, grid: int, target: int) -> torch.Tensor:
    """[1, grid^2, width] -> [1, target^2, width]: bicubic, without anti-aliasing, and shifted by a tenth of a patch as in the
    authors' code, so the features agree."""
    if target == grid:
        return position
    maps = position.mT.unflatten(2, (grid, grid))
    scale = (target + 0.1) / grid
    return F.interpolate(maps, scale_factor=(scale, scale), mode='bicubic').flatten(2).mT


def from_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under the names of the transformers package -> the same under the authors' names."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in HUGGING_FACE:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [n for n in renamed if '.attn.query.' in n]:
        parts = [name.replace('.query.', f'.{part}.') for part in ('query', 'key', 'value')]
        if any(part not in renamed for part in parts):
            raise WrongWeights(f'a part of {name} is missing')
        renamed[name.replace('.query.', '.qkv.')] = torch.cat([renamed.pop(part) for part in parts])
    return renamed
