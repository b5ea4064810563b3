"""Mean correlation coefficient of latents and the estimates of an encoder, up to order and sign.

The usual measure of identifiability (Hyvärinen and Morioka, "Unsupervised Feature Extraction by Time-Contrastive Learning and
Nonlinear ICA", NeurIPS 2016), for data with known latents. They are known for generated images only. metrics.identifiability
compares with known factors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from metrics.context import Context, Result
from metrics.domains import inversion
from metrics.features import extraction
from metrics.features.generation import Draws, sub_batches
from metrics.features.statistics import FeatureStats
from torch_utils import distributed

LATENTS, SHUFFLE = 700, 701  # what random numbers are for


def correlations(true: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """Absolute Pearson correlations of the columns of [N, F] and [N, K]: float64 [F, K]. 0 for columns that are constant."""
    a, b = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (true, estimated))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=0), np.finfo(np.float64).tiny) for x in (a, b))
    return np.abs(a.T @ b)


def assign(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """Assign a separate column to each row of [F, F], with the largest sum. Returns the mean of the chosen entries, and the
    entries; NaN if any entry is not finite."""
    if not np.isfinite(matrix).all():
        return float('nan'), np.full(len(matrix), np.nan)
    rows, columns = linear_sum_assignment(matrix, maximize=True)
    return float(matrix[rows, columns].mean()), matrix[rows, columns]


def mcc(context: Context, key: str, num_gen: int) -> Result:
    """Correlation of z with E(G(z, c)) over num_gen latents: does CLR-GAN's encoder find the generator's input?

    z ~ N(0, I), labels of random images of the dataset, constant noise. E encodes one image at a time.
    Values:
      <key>            mean over the coordinates of z of |correlation| with the coordinate of E that is assigned to each
      <key>_same       with the coordinate of the same number, for which the encoder is trained
      <key>_style, <key>_content   <key> over coordinates that are style (living), or content; None if there are none
      <key>_chance     <key> for latents and codes of different images: the value by chance for this number
    Arrays: correlations float64 [z_dim, z_dim].
    Raises UserError for networks without an encoder, and a dataset whose labels do not fit.
    """
    check(context)
    G, D = context.G, context.D

    def read(parts: list[slice]) -> Iterator[torch.Tensor]:
        for part in parts:
            rows = []
            for some in sub_batches(context, range(part.start, part.stop)):
                draws = Draws(context, some, LATENTS)
                z, c = draws.normal(G.z_dim), draws.labels(context.labels_of)
                rows.append(torch.cat([z, inversion.encode(D, G(z, c, noise_mode='const'), c)], dim=1))
            yield torch.cat(rows)

    stats = FeatureStats(capture_all=True, max_items=num_gen)
    extraction.of_batches(context, num_gen, read, lambda rows: rows, stats, 'latents')
    z, code = np.split(distributed.broadcast_from_rank0(lambda: np.array(stats.features())), 2, axis=1)

    matrix = correlations(z, code)
    mean, chosen = assign(matrix)
    shuffled = torch.randperm(num_gen, generator=context.generator(SHUFFLE)).numpy()
    style = G.mapping.style_mask().cpu().numpy()
    values: dict[str, float | None] = {
        key: mean, f'{key}_same': float(matrix.diagonal().mean()),
        **{f'{key}_{kind}': float(chosen[mask].mean()) if mask.any() else None
           for kind, mask in (('style', style), ('content', ~style))},
        f'{key}_chance': assign(correlations(z, code[shuffled]))[0],
    }
    arrays = {'correlations': matrix, 'style': style}
    return Result(values, arrays, lambda: draw(values, arrays, key))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `mcc`."""
    extraction.check_labels(context)
    inversion.check_encoder(context.G, context.D)


def draw(values: dict[str, float | None], arrays: dict[str, np.ndarray], key: str):
    """A figure: the matrix of correlations, and for each coordinate the largest one beside that of the same number."""
    from metrics.plotting import new_figure
    matrix, style = arrays['correlations'], arrays['style']
    figure, (left, right) = new_figure(1, 2, width=10, height=4.2)
    figure.colorbar(left.imshow(matrix, cmap='Blues', vmin=0, vmax=1), ax=left, label='|correlation|')
    left.set(xlabel='coordinate of the code', ylabel='coordinate of the latent', title=f'{key}: {values[key]:.3f}')
    order = np.argsort(-matrix.diagonal())
    places = np.arange(len(order))
    colors = np.where(style[order], 'tab:red', 'tab:blue')
    for kind, mask in (('style', style[order]), ('content', ~style[order])):
        if mask.any():
            right.bar(places[mask], matrix.diagonal()[order][mask], width=1, color=colors[mask], label=kind)
    right.axhline(values[f'{key}_chance'], color='black', linewidth=1, linestyle=':', label='by chance, assigned')
    right.set(xlabel='coordinate, the best found first', ylabel='|correlation| with its own code', ylim=(0, 1),
              title='How well each is found')
    right.legend(frameon=False)
    return figure
