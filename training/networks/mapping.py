"""The mapping network f: (z, c) -> w."""

from __future__ import annotations

import torch
from torch import nn

from torch_utils.persistence import persistent
from training.networks.flow import DDSF
from training.networks.layers import FullyConnectedLayer, rms_normalize

COND_MODES = ('concat', 'flow', 'mlp')
LIVING = 0.1  # the domain does not move style coordinates whose importance is at most this


@persistent
class MappingNetwork(nn.Module):
    """MLP from latent z and label c to the intermediate latent w (Karras et al. 2019, sec. 2).

    z_dim, c_dim: widths of the inputs, 0 for none. w_dim: width of w. num_ws: copies of w in the result, None for
    an unrepeated w. num_layers, layer_features (w_dim): of the MLP. embed_features (w_dim): of the label embedding.
    lr_multiplier: of the MLP's layers. w_avg_beta: decay of the running mean of w, None for no mean.

    cond_mode: how the label acts. 'concat': its embedding is concatenated to z, as in StyleGAN2-ADA. 'flow', 'mlp'
    (i-StyleGAN, Xie et al. 2023): it moves the first i_dim coordinates of z, the style; the rest is content, the same
    in every domain. With s the style part of z, domain u and importance α (learned, one number per coordinate),

        s + 1[α > 0.1] α f_u(s),

    where f_u is an increasing flow (training.flow; flow_blocks, flow_dim: its depth and width) whose parameters an MLP
    makes of the label's embedding, or else one MLP for each domain. flow_norm: then scale the living style coordinates
    to unit mean square, and all others likewise.
    use_label: concatenate the embedding of a second label, of label_dim numbers, to the latent.
    """

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int | None, num_layers: int = 8,
                 embed_features: int | None = None, layer_features: int | None = None, activation: str = 'lrelu',
                 lr_multiplier: float = 0.01, w_avg_beta: float | None = 0.995, cond_mode: str = 'concat', i_dim: int = 4,
                 flow_blocks: int = 2, flow_dim: int = 10, flow_norm: bool | int = 1, use_label: bool | int = 0,
                 label_dim: int = 10):
        super().__init__()
        if z_dim == 0 and c_dim == 0:
            raise ValueError('a mapping network needs a latent or a label: z_dim and c_dim are both 0')
        if cond_mode not in COND_MODES:
            raise ValueError(f'cond_mode is one of {", ".join(COND_MODES)}, not {cond_mode!r}')
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.num_ws, self.num_layers, self.w_avg_beta = num_ws, num_layers, w_avg_beta
        self.cond_mode = cond_mode if c_dim > 0 and z_dim > 0 else 'concat'  # without a label, nothing moves z
        self.flow_norm, self.use_label, self.label_dim = bool(flow_norm), bool(use_label), label_dim
        self.i_dim = i_dim if self.cond_mode != 'concat' else 0
        if self.cond_mode != 'concat' and not 1 <= i_dim <= z_dim:
            raise ValueError(f'i_dim={i_dim}: from 1 to z_dim={z_dim} coordinates can be style')
        embed_features = w_dim if embed_features is None else embed_features
        hidden = w_dim if layer_features is None else layer_features

        def make_mlp(name: str, first: int, layers: int, last: int, **last_kwargs) -> None:
            for i in range(layers):
                width_in, width_out = hidden if i > 0 else first, hidden if i < layers - 1 else last
                kwargs = {'activation': activation, **(last_kwargs if i == layers - 1 else {})}
                layer = FullyConnectedLayer(width_in, width_out, lr_multiplier=lr_multiplier, **kwargs)
                setattr(self, f'{name}{i}', layer)

        width = z_dim
        if use_label:
            self.label_embed = FullyConnectedLayer(label_dim, embed_features)
            width += embed_features
        if c_dim > 0 and self.cond_mode != 'mlp':
            self.embed = FullyConnectedLayer(c_dim, embed_features)
        if self.cond_mode == 'concat':
            width += embed_features if c_dim > 0 else 0
        else:
            self.importance = nn.Parameter(torch.ones(1, i_dim))
        if self.cond_mode == 'flow':
            self.flow = DDSF(flow_blocks, flow_dim)
            make_mlp('flow_fc', embed_features, num_layers + 1, i_dim * self.flow.num_params, activation='linear')
        for domain in range(c_dim) if self.cond_mode == 'mlp' else ():
            make_mlp(f'{domain}mlp_fc', i_dim, num_layers + 1, i_dim, activation='linear')
        make_mlp('fc', width, num_layers, w_dim)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer('w_avg', torch.zeros(w_dim))

    def forward(self, z: torch.Tensor | None, c: torch.Tensor | None, truncation_psi: float = 1,
                truncation_cutoff: int | None = None, skip_w_avg_update: bool = False, sparse_loss: bool = False,
                label: torch.Tensor | None = None) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """z [N, z_dim] and c [N, c_dim] (None where the width is 0), any float dtype -> ws [N, num_ws, w_dim] float32.

        truncation_psi: pull w towards w_avg; 1 leaves w unchanged. truncation_cutoff: only the first N ws.
        In training mode w_avg follows the batch mean, unless skip_w_avg_update.
        sparse_loss: return (ws, self.sparsity()). label: [N, label_dim], with use_label.
        Raises ValueError for inputs of the wrong shape.
        """
        ws = self.map_latent(self.latent(z, c, label), truncation_psi, truncation_cutoff, skip_w_avg_update)
        return (ws, self.sparsity()) if sparse_loss else ws

    def latent(self, z: torch.Tensor | None, c: torch.Tensor | None, label: torch.Tensor | None = None) -> torch.Tensor:
        """What enters the MLP: the latent [N, z_dim] after flow and normalisation, then embeddings of labels if any."""
        c = _checked('c', c, self.c_dim) if self.c_dim > 0 else None
        parts = []
        if self.z_dim > 0:
            z = _checked('z', z, self.z_dim)
            parts.append(rms_normalize(z) if self.cond_mode == 'concat' else self._moved(z, c))
        if self.c_dim > 0 and self.cond_mode == 'concat':
            parts.append(rms_normalize(self.embed(c)))
        if self.use_label:
            parts.append(rms_normalize(self.label_embed(_checked('label', label, self.label_dim))))
        return torch.cat(parts, dim=1)

    def map_latent(self, latent: torch.Tensor, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                   skip_w_avg_update: bool = False) -> torch.Tensor:
        """The MLP: a result of `latent` -> ws [N, num_ws, w_dim]. Other arguments as in `forward`."""
        x = latent
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

    def sparsity(self) -> torch.Tensor:
        """Mean |α| over all style coordinates (the L1 penalty of i-StyleGAN); 0 where there is no importance."""
        return self.importance.abs().mean() if self.i_dim > 0 else torch.zeros([], device=self.fc0.weight.device)

    def style_mask(self) -> torch.Tensor:
        """Which coordinates of the latent are living style coordinates: bool [z_dim]. All others are content."""
        mask = torch.zeros(self.z_dim, dtype=torch.bool, device=self.fc0.weight.device)
        if self.i_dim > 0:
            mask[:self.i_dim] = self.importance[0] > LIVING
        return mask

    def _moved(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Move the style part of z [N, z_dim] to the domain c, and normalise. z is not normalised first, as published."""
        style, content = z[:, :self.i_dim], z[:, self.i_dim:]
        if self.cond_mode == 'flow':
            params = self._mlp('flow_fc', rms_normalize(self.embed(c)))
            shift = self.flow(style, params.reshape(-1, self.i_dim, self.flow.num_params))
        else:
            by_domain = torch.stack([self._mlp(f'{d}mlp_fc', style) for d in range(self.c_dim)], dim=1)
            shift = by_domain[torch.arange(z.shape[0], device=z.device), c.argmax(dim=1)]
        living = self.style_mask().to(z.dtype)
        style = style + living[:self.i_dim] * self.importance * shift
        x = torch.cat([style, content], dim=1)
        if not self.flow_norm:
            return x
        scale = sum(mask * (_masked_mean(x.square(), mask) + 1e-8).rsqrt() for mask in (living, 1 - living))
        return x * scale

    def _mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        for i in range(self.num_layers + 1):
            x = getattr(self, f'{name}{i}')(x)
        return x

    def extra_repr(self) -> str:
        text = f'z_dim={self.z_dim}, c_dim={self.c_dim}, w_dim={self.w_dim}, num_ws={self.num_ws}'
        return text if self.i_dim == 0 else f'{text}, cond_mode={self.cond_mode}, i_dim={self.i_dim}'


def _masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the columns of x [N, F] where mask [F] is 1: [N, 1], 0 if there are none. Shapes do not depend on the data."""
    return (x @ mask)[:, None] / mask.sum().clamp(min=1)


def _checked(name: str, x: torch.Tensor | None, width: int) -> torch.Tensor:
    if x is None or x.ndim != 2 or x.shape[1] != width:
        got = 'nothing' if x is None else list(x.shape)
        raise ValueError(f'{name} must be [N, {width}], not {got}')
    return x.to(torch.float32)
