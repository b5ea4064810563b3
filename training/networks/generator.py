"""The generator G = g ∘ f."""

from __future__ import annotations

import torch
from torch import nn

from dnnlib.image_size import ImageSize, shortest
from torch_utils.persistence import persistent
from training.networks.mapping import MappingNetwork
from training.networks.synthesis import SynthesisNetwork


@persistent
class Generator(nn.Module):
    """Mapping and synthesis network.

    z_dim, c_dim (0 for none), w_dim: widths of latent, label and intermediate latent. img_resolution: of the images, as
    in SynthesisNetwork; img_channels: theirs. mapping_kwargs, synthesis_kwargs: to the two networks.
    """

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, img_resolution: ImageSize, img_channels: int,
                 mapping_kwargs: dict | None = None, synthesis_kwargs: dict | None = None):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = shortest(img_resolution), img_channels
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, **(synthesis_kwargs or {}))
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **(mapping_kwargs or {}))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, **synthesis_kwargs) -> torch.Tensor:
        """z [N, z_dim], c [N, c_dim] -> images [N, img_channels, H, W] float32, nominally in [-1, 1]."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, **synthesis_kwargs)
