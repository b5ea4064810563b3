"""The axes of `generate.py traverse`: coordinates of the latent, or directions of w."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from dnnlib.util import UserError
from torch_utils.latent_directions import affine_weights, principal_directions, sensitive_directions
from training.networks import Generator
from training.networks.mapping import LIVING
from training.sampling import drawing

ROWS = 16
W_SAMPLES = 2000  # of one domain, whose spread is the unit of a direction
ToWs = Callable[[torch.Tensor], torch.Tensor]  # positions [N, size] -> ws [N, num_ws, w_dim]


class Coordinates:
    """The coordinates of u, the latent after flow and normalisation. Their unit is that of u: about one standard deviation."""

    heading = ('coordinate', 'importance')

    def __init__(self, G: Generator, network: str):
        self.G, self.network, self.size = G, network, G.z_dim

    def usual(self) -> list[int]:
        """The living style coordinates, the most important first. Raises UserError if there is none."""
        G = self.G
        if G.mapping.i_dim == 0:
            trained = 'without --cond=1' if G.c_dim == 0 else 'with --cond_mode=concat'
            raise UserError(f'{self.network}: has no style coordinates (trained {trained}); choose coordinates of the latent '
                            f'with --coordinates, such as --coordinates=0-{min(G.z_dim, ROWS) - 1}, or --directions=pca')
        if living := living_coordinates(G):
            return living
        raise UserError(f'{self.network}: no style coordinate lives (no importance is above {LIVING}); choose some with '
                        f'--coordinates, such as --coordinates=0-{min(G.mapping.i_dim, ROWS) - 1}')

    def start(self, z: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ToWs]:
        """The position of an image [1, size], and the function from positions to ws."""
        return self.G.mapping.latent(z, c), self.G.mapping.map_latent

    def caption(self, j: int) -> tuple[str, str]:
        """A coordinate, and its importance if it is a style coordinate."""
        return str(j), f'{self.G.mapping.importance[0, j].item():.2f}' if j < self.G.mapping.i_dim else '-'


class Directions:
    """Directions of w, common to all layers. Their unit is one standard deviation of w along them, over one domain.

    kind: 'pca' (GANSpace), with the share of the variance of w as caption, or 'sefa' (SeFa), with the share of ‖A v‖²: A is
    the weights of all layers that read w. label: [1, c_dim], the domain.
    """

    def __init__(self, G: Generator, kind: str, label: torch.Tensor):
        self.G, self.size = G, G.w_dim
        w = sample_w(G, label)
        if kind == 'pca':
            directions, values = principal_directions(w)
            self.heading = ('component', 'variance')
        else:
            directions, values = sensitive_directions(affine_weights(G.synthesis))
            self.heading = ('direction', '|Av|^2')
        self.shares = (values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)).tolist()
        deviations = (w.double() @ directions.T).std(dim=0)
        self.steps = (directions * deviations[:, None]).to(torch.float32)

    def usual(self) -> list[int]:
        return list(range(self.size))

    def start(self, z: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ToWs]:
        ws = self.G.mapping(z, c)
        return torch.zeros(1, self.size, device=z.device), lambda position: ws + (position @ self.steps)[:, None]

    def caption(self, j: int) -> tuple[str, str]:
        return str(j), f'{self.shares[j]:.1%}'


def living_coordinates(G: Generator) -> list[int]:
    """The living style coordinates, the most important first; [] where there are none."""
    if G.mapping.i_dim == 0:
        return []
    living = G.mapping.style_mask().tolist()
    order = G.mapping.importance[0].abs().argsort(descending=True, stable=True).tolist()
    return [j for j in order if living[j]]


@torch.no_grad()
def sample_w(G: Generator, label: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """w [W_SAMPLES, w_dim] of one domain, with a fixed seed."""
    z = torch.from_numpy(np.random.RandomState(seed).randn(W_SAMPLES, G.z_dim)).to(torch.float32).to(label.device)
    parts = z.split(drawing.MEAN_BATCH)
    return torch.cat([G.mapping(part, label.expand(len(part), -1))[:, 0] for part in parts])
