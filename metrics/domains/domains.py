"""Does G(z, u) belong to domain u, and does it keep its content when u changes? Judged by classifiers trained on the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import UserError
from dnnlib.image_size import height_width
from metrics.context import Context, Result, batches
from metrics.domains.classifier import Trained, predict, shape_of, shrink, train_classifier

LATENTS, SUBSET, DOMAIN, CONTENT = 0, 1, 2, 3  # what random numbers are for
MIN_REALS = 20
NO_CONTENT = ('domains: the dataset has no content labels, so that content_* are null; dataset_tool.py keeps the labels of '
              'a source that it paints (--source=mnist --domains=two-color)')


class Reals(NamedTuple):
    """Images of the dataset: float32 [N, C, S, S] in [-1, 1], shrunk; domains and contents (None without) int64 [N]."""

    images: torch.Tensor
    domains: torch.Tensor
    contents: torch.Tensor | None


def domains(context: Context, num_latents: int = 512, max_reals: int = 10_000, batch: int = 64) -> Result:
    """Domain accuracy and content consistency of num_latents latents z ~ N(0, I), each rendered in every domain u.

    Constant noise, no truncation. The classifiers, one for the domain and one for the content, are trained on at most
    max_reals images of the dataset, shrunk to 32 pixels (metrics.domains.classifier). batch: latents rendered at a time.

    Values:
      domain_test_accuracy, content_test_accuracy   of the classifiers, on held-out real images: the reliability of the rest
      domain_accuracy       share of G(z, u) that are classified as u
      content_consistency   share of z whose content has the same class in all domains
      content_consistency_chance   its value if the domains drew their classes independently, with the same
                            frequencies: Σ_k Π_u p_u(k)
      content_kappa         (consistency - chance) / (1 - chance), 1 at best; None if chance is 1, as for a generator
                            that always draws the digit 1
      content_classes       exp(entropy) of the predicted classes, mean over domains: the effective number of classes
      variety               mean L2 distance of the images of a domain from their mean image, divided by that of the
                            real images, mean over domains: 1 if as varied as the data, 0 for a collapsed generator;
                            not finite if all real images of a domain are equal
    content_* are None where the dataset has no content labels.
    Arrays: domains, contents: predicted classes int64 [num_latents, U]; images: the first 8 z, [8, U, C, H, W].

    Raises UserError for an unconditional network, fewer than 2 domains, and a dataset that does not fit the network or
    has too few images.
    """
    check(context)
    num_domains, num_contents, device = context.G.c_dim, context.dataset.content_dim, context.device
    reals, domain_judge, content_judge = context.once('judges', lambda: train_judges(context, max_reals))

    examples, fakes = render(context, num_latents, batch)          # fakes: [N, U, C, S, S]
    flat = fakes.flatten(end_dim=1).to(device)
    seen = predict(domain_judge.net, flat).reshape(-1, num_domains).cpu()
    values: dict[str, float | None] = {
        'domain_test_accuracy': domain_judge.accuracy,
        'content_test_accuracy': content_judge and content_judge.accuracy,
        'domain_accuracy': float((seen == torch.arange(num_domains)).double().mean()),
    }
    arrays = {'domains': seen.numpy(), 'images': examples.numpy()}
    if content_judge is None:
        values |= dict.fromkeys(CONTENT_VALUES)
    else:
        contents = predict(content_judge.net, shape_of(flat)).reshape(-1, num_domains).cpu()
        values |= content_values(contents, num_contents)
        arrays['contents'] = contents.numpy()
    ratios = [spread(fakes[:, u]) / spread(reals.images[reals.domains == u]) for u in range(num_domains)]
    values['variety'] = float(torch.stack(ratios).mean())
    names = context.dataset.domains or [str(u) for u in range(num_domains)]
    return Result(values, arrays, lambda: draw(arrays, names, num_contents),
                  notes=() if content_judge else (NO_CONTENT,))


def train_judges(context: Context, max_reals: int) -> tuple[Reals, Trained, Trained | None]:
    """Real images, and classifiers of domain and content trained on them; the latter None without content labels."""
    reals, device = read_reals(context, max_reals), context.device
    domain_judge = train_classifier(reals.images.to(device), reals.domains.to(device), context.G.c_dim, context.generator(DOMAIN),
                                    progress=lambda epochs: context.progress(epochs, 'domain classifier'))
    if reals.contents is None:
        return reals, domain_judge, None
    content_judge = train_classifier(shape_of(reals.images).to(device), reals.contents.to(device), context.dataset.content_dim,
                                     context.generator(CONTENT),
                                     progress=lambda epochs: context.progress(epochs, 'content classifier'))
    return reals, domain_judge, content_judge


CONTENT_VALUES = ('content_consistency', 'content_consistency_chance', 'content_kappa', 'content_classes')


def content_values(contents: torch.Tensor, num_classes: int) -> dict[str, float | None]:
    """content_* of `domains`, from the predicted class of each z in each domain: int [N, U]."""
    frequencies = torch.nn.functional.one_hot(contents, num_classes).double().mean(dim=0)  # [U, K]
    consistency = float((contents == contents[:, :1]).all(dim=1).double().mean())
    chance = float(frequencies.prod(dim=0).sum())
    entropy = -(frequencies * frequencies.clamp(min=1e-12).log()).sum(dim=1)               # [U]
    kappa = (consistency - chance) / (1 - chance) if chance < 1 - 1e-9 else None
    return dict(zip(CONTENT_VALUES, (consistency, chance, kappa, float(entropy.exp().mean())), strict=True))


def spread(images: torch.Tensor) -> torch.Tensor:
    """Mean L2 distance of images [N, C, S, S] from their mean image: a scalar float64."""
    flat = images.flatten(start_dim=1).double()
    return (flat - flat.mean(dim=0)).norm(dim=1).mean()


def check(context: Context) -> None:
    """Raise UserError if the network or the dataset is unsuitable."""
    G, data = context.G, context.dataset
    if G.c_dim < 2:
        raise UserError('metrics of domains need a conditional network with at least 2 domains; train with --cond=1')
    if not data.has_onehot_labels or data.label_dim != G.c_dim:
        raise UserError(f'{data.path}: has {data.label_dim if data.has_onehot_labels else "no"} domains, but the network '
                        f'{G.c_dim}; pass the dataset that it was trained on')
    made = [G.img_channels, *height_width(G.img_resolution)]
    if list(data.image_shape) != made:
        raise UserError(f'{data.path}: its images are {list(data.image_shape)}, but the network makes {made}; pass the dataset '
                        'that it was trained on')


def read_reals(context: Context, max_reals: int) -> Reals:
    """All images of the dataset, or a seeded random subset of max_reals. Raises UserError if a domain has none."""
    data: Any = context.dataset
    items = torch.randperm(len(data), generator=context.generator(SUBSET))[:max_reals].sort().values.tolist()
    images, labels = [], []
    for i in context.progress(items, 'real images'):
        pixels, label = data[i]
        images.append(shrink(torch.from_numpy(pixels)[None].to(torch.float32) / 127.5 - 1))
        labels.append(int(label.argmax()))
    missing = set(range(data.label_dim)) - set(labels)
    if len(items) < MIN_REALS:
        raise UserError(f'{data.path}: {len(items)} images are too few to train a classifier; pass at least {MIN_REALS}')
    if missing:
        raise UserError(f'{data.path}: no image of domain {min(missing)}; pass a dataset with images of every domain')
    contents = torch.tensor([data.get_content(i) for i in items]) if data.content_dim > 0 else None
    return Reals(torch.cat(images), torch.tensor(labels), contents)


def render(context: Context, num_latents: int, batch: int, num_examples: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """G(z, u) for all z and u, on the CPU: the first few [E, U, C, H, W], and all of them shrunk [num_latents, U, C, S, S]."""
    G = context.G
    z = context.latents(num_latents, LATENTS)
    labels = torch.eye(G.c_dim, device=context.device)
    examples: list[torch.Tensor] = []
    small = []
    with torch.no_grad():
        for part in context.progress(batches(num_latents, batch), 'generated images'):
            by_domain = [G(z[part], c.expand(len(z[part]), -1), noise_mode='const') for c in labels]
            images = torch.stack(by_domain, dim=1).cpu()
            small.append(shrink(images.flatten(end_dim=1)).unflatten(0, images.shape[:2]))
            if sum(map(len, examples)) < num_examples:
                examples.append(images)
    return torch.cat(examples)[:num_examples], torch.cat(small)


def draw(arrays: dict[str, np.ndarray], names: list[str], num_classes: int):
    """A figure: some z in every domain, with their predicted classes; and a matrix of all z.

    The matrix counts pairs of predicted contents of the same z in two domains; without contents, pairs of requested and predicted
    domains.
    """
    from metrics.plotting import new_figure, show_image
    images, seen, contents = arrays['images'], arrays['domains'], arrays.get('contents')
    rows, columns = images.shape[1], len(images)
    figure, _ = new_figure(1, 1, width=columns + 5, height=max(1.25 * rows, 4))
    figure.clear()
    parts: Any = figure.subfigures(1, 2, width_ratios=[columns, 5])
    left, right = parts
    cells = left.subplots(rows, columns, squeeze=False)
    for u in range(rows):
        cells[u, 0].set_ylabel(names[u])
        for i in range(columns):
            show_image(cells[u, i], images[i, u])
            text = names[seen[i, u]] if contents is None else f'{contents[i, u]}, {names[seen[i, u]]}'
            fine = seen[i, u] == u and (contents is None or contents[i, u] == contents[i, 0])
            cells[u, i].set_xlabel(text, fontsize='small', color='black' if fine else 'tab:red')
    left.suptitle('One z in each column, and what the classifiers see (red: wrong domain, or another content than above)',
                  fontsize='small')

    axes = right.subplots()
    if contents is None:
        matrix = np.stack([np.bincount(seen[:, u], minlength=rows) for u in range(rows)])
        axes.set(xlabel='domain seen', ylabel='domain asked for', xticks=range(rows), yticks=range(rows), xticklabels=names,
                 yticklabels=names)
    else:
        pairs = [contents[:, a] * num_classes + contents[:, b] for a in range(rows) for b in range(a + 1, rows)]
        matrix = np.bincount(np.concatenate(pairs), minlength=num_classes ** 2).reshape(num_classes, num_classes)
        of = [names[0], names[1]] if rows == 2 else ['one domain', 'a later domain']
        axes.set(ylabel=f'content in {of[0]}', xlabel=f'content of the same z in {of[1]}')
        if num_classes <= 20:  # else there is no room for all of them
            axes.set(xticks=range(num_classes), yticks=range(num_classes))
    figure.colorbar(axes.imshow(matrix, cmap='Blues'), ax=axes, label='number of z')
    return figure
