"""The networks of exported pickles: ours, which also accept the calls of all published programs.

`update_emas` is StyleGAN3's: whether w_avg follows the batch. `label` and three methods of the mapping network are
i-StyleGAN's. Nothing imports this module: its text becomes part of pickles (module_text/__init__.py).
"""

from __future__ import annotations

import torch

from torch_utils.persistence import persistent
from training.networks.discriminator import Discriminator
from training.networks.generator import Generator
from training.networks.mapping import LIVING, MappingNetwork
from training.networks.synthesis import SynthesisNetwork


@persistent
class MappingNetwork(MappingNetwork):
    def forward(self, z: torch.Tensor | None, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, skip_w_avg_update: bool = False, sparse_loss: bool = False,
                label: torch.Tensor | None = None, update_emas: bool = True) -> torch.Tensor:
        return super().forward(z, c, truncation_psi, truncation_cutoff, skip_w_avg_update or not update_emas, sparse_loss, label)

    def get_importance(self) -> torch.Tensor:
        """How much the domain moves each style coordinate: [1, i_dim], as learned."""
        return self.importance

    def causal_influence(self) -> torch.Tensor:
        """The same, 0 for the coordinates that it does not move."""
        return self.importance * (self.importance > LIVING)

    def get_masks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which coordinates of z are style, and which are content: two of bool [1, z_dim]."""
        style = self.style_mask()[None]
        return style, ~style


@persistent
class SynthesisNetwork(SynthesisNetwork):
    def forward(self, ws: torch.Tensor, update_emas: bool = True, **block_kwargs) -> torch.Tensor:
        return super().forward(ws, **block_kwargs)


@persistent
class Generator(Generator):
    def forward(self, z: torch.Tensor | None, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, label: torch.Tensor | None = None, update_emas: bool = True,
                **synthesis_kwargs) -> torch.Tensor:
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, label=label,
                          update_emas=update_emas)
        return self.synthesis(ws, **synthesis_kwargs)


@persistent
class Discriminator(Discriminator):
    def forward(self, img: torch.Tensor, c: torch.Tensor | None, update_emas: bool = True, **kwargs) -> torch.Tensor:
        return super().forward(img, c, **kwargs)
