"""The effect of each coordinate of the latent on the image: the columns of the generator's Jacobian.

CG-GAN (ICLR 2025, arXiv 2503.00639) makes it sparse in the style coordinates. This metric measures the sparsity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.domains.sparsity import gini, hoyer
from torch_utils.forward_ad import jvp

LATENTS, CONTENT = 0, 1  # what random numbers are for
DEAD = 1e-6              # rms of a column, in image values per unit of u, up to which a coordinate has no effect
KINDS = ('style', 'content')


def jacobian(context: Context, num_latents: int = 16, max_content: int = 64, batch: int = 64) -> Result:
    """Columns J_j = ∂x/∂u_j of x = g(f(u)), images in [-1, 1] with constant noise, at u = G.mapping.latent(z, c).

    u is the latent after flow and normalisation. Its first z_dim coordinates are style (the living ones) and content (all
    others). Exact, by forward-mode differentiation. z ~ N(0, I), num_latents of them; domains take turns.
    max_content: largest number of content coordinates; a random subset if there are more. batch: columns at a time.

    Values, for style and for content:
      *_dims        coordinates of that kind (living ones, for style)
      *_l1          mean |J_j| over channels, pixels, latents and coordinates
      *_hoyer, *_gini   sparsity of |J_j| over channels and pixels (sparsity.py): mean over the columns with an effect
      *_dead        coordinates without effect on any of the images (rms below 1e-6), which hoyer and gini leave out
      style_l1_hoyer, style_l1_gini   sparsity of the vector of the coordinates' l1: high if few coordinates have the effect
    All but *_dims are None if there is nothing to average: no such coordinate, or too few for a sparsity.
    Arrays: style_*, content_*: indices [n], l1 [n] and hoyer [n] (nan: no effect) of each coordinate.
    """
    G = context.G
    style = G.mapping.style_mask().cpu()
    c = torch.eye(G.c_dim)[torch.arange(num_latents) % G.c_dim] if G.c_dim else torch.zeros(num_latents, 0)
    coordinates = {'style': style.nonzero()[:, 0], 'content': (~style).nonzero()[:, 0]}
    dims = {kind: len(js) for kind, js in coordinates.items()}
    if dims['content'] > max_content:
        chosen = torch.randperm(dims['content'], generator=context.generator(CONTENT))[:max_content].sort().values
        coordinates['content'] = coordinates['content'][chosen]

    with torch.no_grad():
        u = G.mapping.latent(context.latents(num_latents, LATENTS), c.to(context.device))
        both = torch.cat(list(coordinates.values()))
        columns = list(_measure_columns(context, u, both, batch))
    measures = torch.cat([torch.zeros(4, 0), *columns], dim=1).reshape(4, len(both), num_latents)

    values: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    by_kind = measures.split([len(coordinates[kind]) for kind in KINDS], dim=1)
    for kind, (size, effect, h, g) in zip(KINDS, by_kind, strict=True):
        alive, per_coordinate = effect > DEAD, size.mean(dim=1)
        values |= {f'{kind}_dims': dims[kind], f'{kind}_l1': _mean(size), f'{kind}_hoyer': _mean(h[alive]),
                   f'{kind}_gini': _mean(g[alive]), f'{kind}_dead': int((~alive.any(dim=1)).sum()) if dims[kind] else None}
        if kind == 'style':
            values |= {'style_l1_hoyer': _mean(hoyer(per_coordinate)), 'style_l1_gini': _mean(gini(per_coordinate))}
        arrays |= {f'{kind}_indices': coordinates[kind].numpy(), f'{kind}_l1': per_coordinate.numpy(),
                   f'{kind}_hoyer': h.where(alive, torch.nan).nanmean(dim=1).numpy()}
    return Result(values, arrays, lambda: draw(values, arrays))


def _measure_columns(context: Context, u: torch.Tensor, coordinates: torch.Tensor, batch: int) -> Iterator[torch.Tensor]:
    """For each coordinate, and within it for each row of u [N, F]: l1, rms, hoyer, gini of the column. In parts [4, rows],
    on the CPU."""

    def render(u: torch.Tensor) -> torch.Tensor:
        return context.G.synthesis(context.G.mapping.map_latent(u), noise_mode='const', force_fp32=True)

    js = coordinates.to(u.device).repeat_interleave(len(u))
    rows = torch.arange(len(u), device=u.device).repeat(len(coordinates))
    for part in context.progress(batches(len(js), batch), 'jacobian'):
        direction = torch.nn.functional.one_hot(js[part], u.shape[1]).to(u.dtype)
        column = jvp(render, u[rows[part]], direction)[1].flatten(start_dim=1)  # [rows, C*H*W]
        yield torch.stack([column.abs().mean(dim=1), column.square().mean(dim=1).sqrt(), hoyer(column), gini(column)]).cpu()


def _mean(x: torch.Tensor) -> float | None:
    """Mean of x; None if x is empty or the mean is NaN."""
    mean = float(x.double().mean()) if x.numel() else float('nan')
    return None if np.isnan(mean) else mean


def draw(values: dict[str, float | None], arrays: dict[str, np.ndarray]):
    """A figure: the effect of each coordinate, the strongest first; and how sparse it is over the image."""
    from metrics.plotting import new_figure
    figure, (left, right) = new_figure(1, 2, width=11, height=4)
    first = 0
    for kind, color in zip(KINDS, ('tab:red', 'tab:blue'), strict=True):
        l1, sparsity = arrays[f'{kind}_l1'], arrays[f'{kind}_hoyer']
        if not len(l1):
            continue
        left.bar(np.arange(first, first + len(l1)), np.sort(l1)[::-1], width=1, color=color,
                 label=f'{kind}: {len(l1)} of {values[f"{kind}_dims"]}, mean {values[f"{kind}_l1"]:.4f}')
        right.scatter(l1, sparsity, s=14, alpha=0.7, color=color, linewidths=0, label=kind)
        first += len(l1) + 2
    left.set(title='Effect of each coordinate', xlabel='coordinate, the strongest first', ylabel='mean |∂x/∂u|')
    right.set(title='Sparsity of the effect', xlabel='mean |∂x/∂u|', ylabel='Hoyer sparsity over pixels (1: a single pixel)')
    right.locator_params(axis='x', nbins=6)  # room for numbers of four digits
    for axes in (left, right):
        if first:
            axes.legend(frameon=False)
    return figure
