"""Does a real image keep its content when it is translated to another domain? Judged by classifiers trained on the data.

x' = G(E(x), u): CLR-GAN's discriminator, a trained encoder or an optimisation finds the latent E(x). The generator draws it in
domain u.
"""

from __future__ import annotations

import numpy as np
import torch

from metrics.context import ENCODER, Context, Result, batches
from metrics.domains import domains, inversion, latents
from metrics.domains.classifier import predict, shape_of, shrink

CHOICE = 4  # what random numbers are for


def translation(context: Context, num_images: int = 512, max_reals: int = 10_000, batch: int = 32) -> Result:
    """Reconstructions in their own domain, and translations to all others, of num_images random images of the dataset.

    Constant noise. A discriminator encodes images in batches, as in training, unless its latents are refined. Because of
    minibatch stddev, codes then depend slightly on the other images.

    Values:
      domain_test_accuracy, content_test_accuracy   of the classifiers, on real images held out
      reconstruction_mse        mean (G(E(x), own domain) - x)², of values in [-1, 1]
      reconstruction_content    share of the reconstructions with the same predicted content as x
      translation_content       the same of the translations
      translation_domain        share of the translations whose predicted domain is the target
    *_content are None where the dataset has no content labels.
    Arrays: images: [8, 2 + U, C, H, W], each image, its reconstruction, and it in every domain.

    Raises UserError if an encoder is requested whose codes are not latents of the generator, and as `domains` does.
    """
    check(context)
    G, D, data = context.G, context.D, context.dataset
    _, domain_judge, content_judge = context.once('judges', lambda: domains.train_judges(context, max_reals))
    items = torch.randperm(len(data), generator=context.generator(CHOICE))[:num_images].tolist()
    in_batches = latents.way(context) == ENCODER and latents.steps(context) == 0
    found = None if in_batches else latents.find(context, data, items, 'images').z
    labels = torch.eye(G.c_dim, device=context.device)
    errors, absolute, contents, seen = [], [], [], []
    examples: list[torch.Tensor] = []
    for part in context.progress(batches(len(items), batch), 'translations'):
        pixels, own = zip(*(data[i] for i in items[part]), strict=True)
        x = torch.from_numpy(np.stack(pixels)).to(context.device, torch.float32) / 127.5 - 1
        c = torch.from_numpy(np.stack(own)).to(context.device)
        with torch.no_grad():
            code = D(x, c, return_latent=True)[1] if found is None else found[part]
            drawn = [G(code, label.expand(len(x), -1), noise_mode='const') for label in (c, *labels)]
        errors.append((drawn[0] - x).square().mean(dim=(1, 2, 3)))
        absolute.append((drawn[0].clamp(-1, 1) - x).abs().mean(dim=(1, 2, 3)) / 2)
        small = [shrink(images) for images in drawn]
        seen.append(torch.stack([predict(domain_judge.net, images) for images in small], dim=1))
        if content_judge is not None:
            contents.append(torch.stack([predict(content_judge.net, shape_of(images)) for images in small], dim=1))
        if sum(map(len, examples)) < 8:
            examples.append(torch.stack([x, *drawn], dim=1).cpu())

    own = torch.tensor([int(data.get_label(i).argmax()) for i in items], device=context.device)
    others = torch.arange(G.c_dim, device=context.device) != own[:, None]  # [N, U]: all domains except the own one
    seen = torch.cat(seen)[:, 1:]
    values: dict[str, float | None] = {
        'domain_test_accuracy': domain_judge.accuracy,
        'content_test_accuracy': content_judge and content_judge.accuracy,
        'reconstruction_mse': float(torch.cat(errors).double().mean()),
        'reconstruction_content': None, 'translation_content': None,
        'translation_domain': float((seen == torch.arange(G.c_dim, device=seen.device))[others].double().mean()),
    }
    if content_judge is not None:
        right = torch.cat(contents) == torch.tensor([data.get_content(i) for i in items], device=context.device)[:, None]
        values['reconstruction_content'] = float(right[:, 0].double().mean())
        values['translation_content'] = float(right[:, 1:][others].double().mean())
    arrays = {'images': torch.cat(examples)[:8].numpy()}
    names = data.domains or [str(u) for u in range(G.c_dim)]
    used = latents.Latents(found, torch.cat(absolute).double().cpu().numpy(), latents.way(context))
    return Result(values, arrays, lambda: draw(arrays['images'], names), facts=latents.facts(context, [used]))


def check(context: Context) -> None:
    """Raise UserError for unsuitable input of `translation`."""
    domains.check(context)
    if context.by == 'encoder':
        inversion.choose(context.by, context.G, context.D, context.device, context.encoder)


def draw(images: np.ndarray, names: list[str]):
    """A figure: each image, its reconstruction, and it in every domain."""
    from metrics.plotting import new_figure, show_image
    count, rows = images.shape[:2]
    figure, cells = new_figure(rows, count, width=count, height=1.1 * rows, squeeze=False)
    for row, title in enumerate(['image', 'rebuilt', *(f'to {name}' for name in names)]):
        cells[row, 0].set_ylabel(title)
        for i in range(count):
            show_image(cells[row, i], images[i, row])
    return figure
