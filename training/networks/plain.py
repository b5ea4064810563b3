"""A generator for users who write only a synthesis network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dnnlib.image_size import ImageSize, shortest
from torch_utils.persistence import persistent
from training.networks.layers import FullyConnectedLayer


@persistent
class PlainMapping(nn.Module):
    """A mapping network without layers: w is z plus a learned shift, concatenated with an embedding of the label if there is one.

    z_dim, c_dim: widths of z and label (0 for none). embed_features: width of the embedding. num_ws: copies of w.
    No style coordinates. No running mean either: the mean of z is 0.
    """

    i_dim, cond_mode, use_label = 0, 'concat', False

    def __init__(self, z_dim: int, c_dim: int, embed_features: int = 32, num_ws: int = 1):
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws = z_dim, c_dim, num_ws
        self.w_dim = z_dim + (embed_features if c_dim > 0 else 0)
        self.shift = nn.Parameter(torch.zeros(z_dim))  # also makes w differentiable, which path length regularisation needs
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_features)

    def forward(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                skip_w_avg_update: bool = False) -> torch.Tensor:
        """z [N, z_dim], c [N, c_dim] -> ws [N, num_ws, w_dim] float32. Arguments as in `map_latent`."""
        return self.map_latent(self.latent(z, c), truncation_psi, truncation_cutoff)

    def latent(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """z and the embedding, concatenated: [N, w_dim]."""
        z = z.to(torch.float32)
        return torch.cat([z, self.embed(c.to(torch.float32))], dim=1) if self.c_dim > 0 else z

    def map_latent(self, latent: torch.Tensor, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                   skip_w_avg_update: bool = False) -> torch.Tensor:
        """[N, w_dim] -> ws [N, num_ws, w_dim]. truncation_psi: scale z by this, the embedding keeps its scale; only in the
        first truncation_cutoff copies. skip_w_avg_update has no effect, as there is no running mean."""
        scale = torch.ones(self.num_ws, self.w_dim, device=latent.device)
        scale[:truncation_cutoff, :self.z_dim] = truncation_psi
        return latent[:, None, :] * scale + F.pad(self.shift, (0, self.w_dim - self.z_dim))

    def style_mask(self) -> torch.Tensor:
        """bool [z_dim]: no coordinate is style."""
        return torch.zeros(self.z_dim, dtype=torch.bool, device=self.shift.device)


class PlainGenerator(nn.Module):
    """A generator with a PlainMapping. A subclass calls this constructor, then sets `self.synthesis`, a module that takes
    ws [N, num_ws, w_dim] (training.networks.protocols.Synthesis); the width w_dim is known by then.

    z_dim, c_dim, img_resolution, img_channels: as train.py gives them. num_ws: copies of w, 2 or more for style mixing.
    """

    def __init__(self, z_dim: int, c_dim: int, img_resolution: ImageSize, img_channels: int, num_ws: int = 1):
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws = z_dim, c_dim, num_ws
        self.img_resolution, self.img_channels = shortest(img_resolution), img_channels
        self.mapping = PlainMapping(z_dim, c_dim, num_ws=num_ws)
        self.w_dim = self.mapping.w_dim

    def forward(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                **synthesis_kwargs) -> torch.Tensor:
        """z [N, z_dim], c [N, c_dim] -> images [N, img_channels, H, W]."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), **synthesis_kwargs)
