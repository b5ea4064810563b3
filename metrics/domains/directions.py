"""Style coordinates compared with directions that need no training: the effect of moves on domain and content.

GANSpace (Härkönen et al. 2020) and SeFa (Shen and Zhou 2021) find directions of w in any generator. In a disentangled generator,
a style coordinate should have a sparser effect than these, and keep more of the content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from metrics.context import Context, Result, batches
from metrics.domains.classifier import predict, shape_of, shrink
from metrics.domains.domains import NO_CONTENT, check, train_judges
from metrics.domains.sparsity import hoyer
from torch_utils.forward_ad import jvp
from torch_utils.latent_directions import affine_weights, principal_directions, sensitive_directions

LATENTS, SPREAD = 0, 1  # what random numbers are for
SPREAD_LATENTS = 2000
CHANGE = 0.5  # change of the image by a move, as a share of the difference between two latents
FURTHEST = 3.0  # standard deviations
KINDS = ('style', 'pca', 'sefa')


class Moves(NamedTuple):
    """start: position of every latent [N, F]. to_ws: positions, and the latent of each -> ws. steps [K, F]: one unit each."""

    start: torch.Tensor
    to_ws: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    steps: torch.Tensor


def directions(context: Context, num_latents: int = 64, count: int = 8, max_reals: int = 10_000, batch: int = 64) -> Result:
    """Moves along the `count` first directions of each kind, both ways, from num_latents latents in every domain in turn.

    Kinds: style, the living style coordinates of u, the most important first; pca, the principal components of w over all
    domains; sefa, the eigenvectors of AᵀA, where A is the weights of all layers that read w. Units: one of u, or one standard
    deviation of w. To make moves comparable, each changes the image, to first order, by half of the mean absolute difference
    between images of two latents of one domain, and goes at most 3 units. Constant noise, no truncation.

    Values, for each kind:
      *_l1           mean |∂x/∂t| over pixels, channels and latents, of x in [-1, 1], t in units
      *_hoyer        sparsity of |∂x/∂t| over pixels and channels (sparsity.py), mean over the moves with an effect
      *_change       mean |x' - x|: the actual change
      *_domain_kept, *_content_kept   share of moved images in which the classifiers of `domains` see what they saw before the
                     move; the latter None without content labels
    style_* are None for a network without living style coordinates.
    Arrays: <kind>_images: of the first latent [K, 3, C, H, W], moved back, not moved and moved forth by each direction.
    Raises UserError as `domains` does.
    """
    check(context)
    _, domain_judge, content_judge = context.once('judges', lambda: train_judges(context, max_reals))
    G = context.G
    values: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    z = context.latents(num_latents, LATENTS)
    c = torch.eye(G.c_dim, device=context.device)[torch.arange(num_latents) % G.c_dim]
    with torch.no_grad():
        images = torch.cat([G(z[part], c[part], noise_mode='const') for part in batches(num_latents, batch)])
        between = float(torch.stack([(a - b).abs().mean() for a, b in zip(images, images.roll(G.c_dim, 0), strict=True)]).mean())
    for kind in KINDS:
        with torch.no_grad():
            moves = moves_of(context, kind, z, c, count)
        names = ('l1', 'hoyer', 'change', 'domain_kept', 'content_kept')
        if len(moves.steps) == 0:
            values |= {f'{kind}_{name}': None for name in names}
            continue
        sizes, sparsities, moved = move(context, moves, images, CHANGE * between, batch)
        seen = images[:, None, None].expand_as(moved)
        alive = sizes > 1e-6
        found = (sizes.mean(), sparsities[alive].mean() if alive.any() else None, (moved - seen).abs().mean(),
                 kept(domain_judge.net, seen, moved, lambda x: x),
                 content_judge and kept(content_judge.net, seen, moved, shape_of))
        values |= {f'{kind}_{name}': None if value is None else float(value) for name, value in zip(names, found, strict=True)}
        arrays[f'{kind}_images'] = torch.stack([moved[0, :, 0], seen[0, :, 0], moved[0, :, 1]], dim=1).numpy()
    return Result(values, arrays, lambda: draw(arrays), notes=() if content_judge else (NO_CONTENT,))


def moves_of(context: Context, kind: str, z: torch.Tensor, c: torch.Tensor, count: int) -> Moves:
    """The moves of latents z [N, z_dim] with labels c [N, c_dim] along the directions of a kind."""
    G = context.G
    if kind == 'style':
        alive = G.mapping.style_mask().nonzero()[:, 0]
        order = G.mapping.importance[0, alive].abs().argsort(descending=True, stable=True) if len(alive) else alive
        u = G.mapping.latent(z, c)
        steps = torch.nn.functional.one_hot(alive[order][:count], u.shape[1]).to(u.dtype)
        return Moves(u, lambda position, latent: G.mapping.map_latent(position), steps.to(u.device))
    many = context.latents(SPREAD_LATENTS, SPREAD)
    labels = torch.eye(G.c_dim, device=context.device)[torch.arange(SPREAD_LATENTS) % G.c_dim]
    w = torch.cat([G.mapping(many[part], labels[part])[:, 0] for part in batches(SPREAD_LATENTS, 500)]).double().cpu()
    found = principal_directions(w)[0] if kind == 'pca' else sensitive_directions(affine_weights(G.synthesis))[0].cpu()
    steps = (found * (w @ found.T).std(dim=0)[:, None])[:count].to(z)
    ws = G.mapping(z, c)
    return Moves(torch.zeros(len(z), G.w_dim, device=z.device), lambda position, latent: ws[latent] + position[:, None], steps)


def move(context: Context, moves: Moves, images: torch.Tensor, change: float,
         batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean |∂x/∂t| [N, K] and its Hoyer sparsity [N, K], and the images moved back and forth [N, K, 2, C, H, W], on the CPU."""
    n, k = len(moves.start), len(moves.steps)
    latent, direction = (i.flatten() for i in torch.meshgrid(torch.arange(n), torch.arange(k), indexing='ij'))
    sizes, sparsities, moved = [], [], []
    for part in context.progress(batches(n * k, batch), 'moves'):
        which, step = latent[part], moves.steps[direction[part]]

        def render(position: torch.Tensor, which: torch.Tensor = which) -> torch.Tensor:
            return context.G.synthesis(moves.to_ws(position, which), noise_mode='const', force_fp32=True)

        with torch.no_grad():
            start = moves.start[which]
            column = jvp(render, start, step)[1].flatten(start_dim=1)
            size = column.abs().mean(dim=1)
            far = (change / size.clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=FURTHEST)[:, None] * step
            moved.append(torch.stack([render(start - far), render(start + far)], dim=1).cpu())
        sizes.append(size.cpu())
        sparsities.append(hoyer(column).cpu())
    return (torch.cat(sizes).reshape(n, k), torch.cat(sparsities).reshape(n, k),
            torch.cat(moved).reshape(n, k, 2, *images.shape[1:]))


def kept(net: torch.nn.Module, before: torch.Tensor, after: torch.Tensor,
         prepare: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Share of images [..., C, H, W] in which a classifier sees the same before and after."""
    device = next(net.parameters()).device
    a, b = (predict(net, prepare(shrink(x.flatten(end_dim=-4))).to(device)) for x in (before, after))
    return (a == b).double().mean()


def draw(arrays: dict[str, np.ndarray]):
    """A figure: the first latent, moved back and forth by the directions of each kind."""
    from metrics.plotting import new_figure, show_image
    rows = [(kind, arrays[f'{kind}_images']) for kind in KINDS if f'{kind}_images' in arrays]
    columns = max(len(images) for _, images in rows)
    figure, axes = new_figure(3 * len(rows), columns, width=columns, height=3 * len(rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for r, (kind, images) in enumerate(rows):
        for j, triple in enumerate(images):
            for t, image in enumerate(triple):
                show_image(axes[3 * r + t, j], image)
            axes[3 * r, j].set_title(f'{kind} {j}', fontsize='small')
    return figure
