"""Modes: the number of classes of the dataset among samples, and the divergence of their frequencies (Metz et al. 2017,
arXiv 1611.02163; Srivastava et al. 2017, arXiv 1705.07761)?"""

from __future__ import annotations

import numpy as np
import torch

from metrics.context import Context, Result
from metrics.features import extraction
from metrics.quality.class_judge import ClassJudge, make_class_judge
from torch_utils import distributed

SHOWN, COLUMNS = 24, 6  # samples in the picture
DOUBTFUL = 0.8  # below this accuracy of the classifier, a note warns the user


def mode_values(seen: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """modes: number of classes that occur in `seen`. kl: KL(generated ‖ real) = Σ_k p_k log(p_k / q_k) in nats.

    seen: classes of samples, int64 [M]. real: q, the shares of the classes in the dataset, float64 [K], positive for every class
    of a sample.
    """
    p = np.bincount(seen, minlength=len(real)) / len(seen)
    hit = p > 0
    return dict(modes=int(hit.sum()), kl=float((p[hit] * np.log(p[hit] / real[hit])).sum()))


def modes(context: Context, key: str, num_gen: int) -> Result:
    """Classes of num_gen samples, by a classifier that is trained on the labels of the dataset.

    Values: <key>, the number of classes among the samples; <key>_kl, see mode_values; <key>_of, the number of classes in the
    dataset; <key>_test_accuracy, of the classifier on held-out images. The network may be unconditional.
    Raises UserError if the dataset does not fit the network, or has no classes, too few images, or more classes than num_gen.
    """
    extraction.check_classes(context, key, num_gen)
    judge = context.once('class judge', lambda: make_class_judge(context))
    net = judge.net.to(context.device)
    judge = judge._replace(net=net)
    stats = extraction.of_generator(context, None, num_gen, every=True, text='classes of samples',
                                    compute=lambda images: judge.classify(images).to(torch.float32)[:, None])
    seen = distributed.broadcast_from_rank0(lambda: stats.features()[:, 0].astype(np.int64))
    found = mode_values(seen, judge.real)
    values = {key: found['modes'], f'{key}_kl': found['kl'], f'{key}_of': int((judge.real > 0).sum()),
              f'{key}_test_accuracy': judge.accuracy}
    notes = (f'{key}: the classifier is right for only {judge.accuracy:.0%} of held-out images, so that modes and KL are rough; '
             'pass a dataset with more images of each class',) if judge.accuracy < DOUBTFUL else ()
    samples = extraction.samples(context, range(min(SHOWN, num_gen)))
    return Result(values, dict(seen=seen, real=judge.real), lambda: draw(key, values, samples, seen, judge), notes=notes)


def draw(key: str, values: dict[str, float], samples: list[np.ndarray], seen: np.ndarray, judge: ClassJudge):
    """A figure: samples with their classes, and the shares of the classes, sorted by their shares among samples."""
    from metrics.plotting import new_figure, show_cells
    figure, (left, axes) = new_figure(1, 2, width=12, height=4.6)
    texts = [f'{label:03d}' if judge.stacked else str(label) for label in seen[:len(samples)]]
    rows = [slice(i, i + COLUMNS) for i in range(0, len(samples), COLUMNS)]
    show_cells(left, [samples[part] for part in rows], [texts[part] for part in rows])
    present = judge.real > 0
    shares, real = (np.bincount(seen, minlength=len(present)) / len(seen))[present], judge.real[present]
    order = np.argsort(-shares, kind='stable')
    axes.fill_between(np.arange(len(order)), shares[order], step='mid', color='tab:blue', alpha=0.6, label='samples')
    axes.step(np.arange(len(order)), real[order], where='mid', color='tab:orange', linewidth=0.8, label='dataset')
    axes.set(xlabel='classes, the most frequent among samples first', ylabel='share', yscale='log',
             ylim=(0.5 / len(seen), None))
    axes.legend(frameon=False)
    figure.suptitle(f'{key}: {values[key]} of {values[f"{key}_of"]} classes in {len(seen)} samples, KL '
                    f'{values[f"{key}_kl"]:.3g}; the classifier is right for {judge.accuracy:.1%} of held-out images',
                    fontsize='medium')
    return figure
