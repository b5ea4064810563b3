"""The mapping network f: (z, c) -> w."""

from __future__ import annotations

import torch
from torch import nn

from training.networks.layers import FullyConnectedLayer, rms_normalize


class MappingNetwork(nn.Module):
    """MLP from latent z and label c to the intermediate latent w (Karras et al. 2019, sec. 2).

    z_dim, c_dim: widths of the inputs, 0 for none. w_dim: width of w. num_ws: copies of w in the result, None for
    an unrepeated w. num_layers, layer_features (w_dim): of the MLP. embed_features (w_dim): of the label embedding.
    lr_multiplier: of the MLP's layers. w_avg_beta: decay of the running mean of w, None for no mean.
    """

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int | None, num_layers: int = 8,
                 embed_features: int | None = None, layer_features: int | None = None, activation: str = 'lrelu',
                 lr_multiplier: float = 0.01, w_avg_beta: float | None = 0.995):
        super().__init__()
        if z_dim == 0 and c_dim == 0:
            raise ValueError('a mapping network needs a latent or a label: z_dim and c_dim are both 0')
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.num_ws, self.num_layers, self.w_avg_beta = num_ws, num_layers, w_avg_beta
        embed_features = (w_dim if embed_features is None else embed_features) if c_dim > 0 else 0
        hidden = w_dim if layer_features is None else layer_features

        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_features)
        widths = [z_dim + embed_features, *[hidden] * (num_layers - 1), w_dim]
        for i in range(num_layers):
            layer = FullyConnectedLayer(widths[i], widths[i + 1], activation=activation, lr_multiplier=lr_multiplier)
            setattr(self, f'fc{i}', layer)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer('w_avg', torch.zeros(w_dim))

    def forward(self, z: torch.Tensor | None, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, skip_w_avg_update: bool = False) -> torch.Tensor:
        """z [N, z_dim] and c [N, c_dim] (None where the width is 0), any float dtype -> ws [N, num_ws, w_dim] float32.

        truncation_psi: pull w towards w_avg, 1 leaves it. truncation_cutoff: only the first so many ws.
        In training mode w_avg follows the batch mean, unless skip_w_avg_update.
        Raises ValueError for inputs of the wrong shape.
        """
        parts = []
        if self.z_dim > 0:
            parts.append(rms_normalize(_checked('z', z, self.z_dim)))
        if self.c_dim > 0:
            parts.append(rms_normalize(self.embed(_checked('c', c, self.c_dim))))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = getattr(self, f'fc{i}')(x)

        tracked = hasattr(self, 'w_avg')
        if tracked and self.training and not skip_w_avg_update:
            with torch.no_grad():
                self.w_avg.lerp_(x.mean(dim=0), 1 - self.w_avg_beta)
        if self.num_ws is not None:
            x = x[:, None, :].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            if not tracked:
                raise ValueError('truncation needs w_avg, which this mapping network does not track')
            if self.num_ws is None or truncation_cutoff is None:
                x = self.w_avg.lerp(x, truncation_psi)
            else:
                x = torch.cat([self.w_avg.lerp(x[:, :truncation_cutoff], truncation_psi), x[:, truncation_cutoff:]], dim=1)
        return x

    def extra_repr(self) -> str:
        return f'z_dim={self.z_dim}, c_dim={self.c_dim}, w_dim={self.w_dim}, num_ws={self.num_ws}'


def _checked(name: str, x: torch.Tensor | None, width: int) -> torch.Tensor:
    if x is None or x.ndim != 2 or x.shape[1] != width:
        got = 'nothing' if x is None else list(x.shape)
        raise ValueError(f'{name} must be [N, {width}], not {got}')
    return x.to(torch.float32)
