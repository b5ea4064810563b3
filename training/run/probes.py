"""Measurements for the rules of training.run.symptoms: variety, zero gradients, D on held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from dnnlib.util import EasyDict, construct_class_by_name
from torch_utils import distributed, training_stats
from torch_utils.devices import computes
from training.inputs import labels_of
from training.networks.layers import Block

IMAGES = 128  # held-out images that D sees in each tick
SIDE = 32     # of the images whose variety is measured: larger ones are thinned out


def variety(fakes: np.ndarray, reals: np.ndarray, labels: np.ndarray) -> float:
    """The deviation of generated images from their mean, divided by that of real images.

    fakes, reals: [N, C, H, W] in the same scale. labels [N, label_dim]: deviations are taken among images of one label. 1: as
    varied as real images. 0: all images of a label are alike. NaN if the real images of each label are alike.
    """
    groups = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1) if labels.shape[1] else np.zeros(len(labels), int)
    step = max(max(reals.shape[2:]) // SIDE, 1)
    ours, theirs = (sum(images[groups == g, :, ::step, ::step].astype(np.float64).var(axis=0).sum() * (groups == g).sum()
                        for g in range(groups.max() + 1)) for images in (fakes, reals))
    return float(ours / theirs) ** 0.5 if theirs > 0 else float('nan')


def zero_gradients(networks: Mapping[str, nn.Module]) -> float | None:
    """The share of exact zeros among the gradients of float16 layers after the last step; None without such layers. Gradients
    below 6e-8 become zero in float16."""
    grads = [p.grad for net in networks.values() for block in net.modules()
             if isinstance(block, Block) and block.use_fp16 and block.half_dtype == torch.float16
             for p in block.parameters() if p.grad is not None and computes(torch.float16, p.device)]
    if not grads:
        return None
    zeros = torch.stack([(grad == 0).sum() for grad in grads]).sum()
    return float(zeros) / sum(grad.numel() for grad in grads)


class Probes:
    """Reports after each tick: living style coordinates, zero gradients, and D's scores of held-out images.

    If c.eval_set_kwargs names held-out images, Health/held_out is (D(training) - D(held out)) / (D(training) - D(generated)),
    of mean scores without augmentation. 0: D sees no difference between training and held-out images. 1: D scores held-out images
    like generated ones. Rank 0 measures; all ranks must call `report`.
    """

    def __init__(self, c: EasyDict, training_set: Any, networks: Mapping[str, nn.Module], device: torch.device):
        self._G, self._D = networks['G'], networks['D']
        self._held_out = c.get('eval_set_kwargs') is not None
        measures = self._held_out and distributed.is_rank0()
        self._batches = held_out_batches(c, training_set, self._G.z_dim, device) if measures else []

    def report(self) -> None:
        if self._G.mapping.i_dim > 0:
            training_stats.report0('Progress/style_dims', self._G.mapping.style_mask().sum())
        if (zeros := zero_gradients({'G': self._G, 'D': self._D})) is not None:
            training_stats.report0('Health/zero_gradients', zeros)
        if self._held_out:
            training_stats.report0('Health/held_out', self._measure())

    @torch.no_grad()
    def _measure(self) -> float | list:
        scores = torch.zeros(3)
        for z, seen, seen_c, held_out, held_out_c in self._batches:
            generated = self._G(z, seen_c, noise_mode='const')
            pairs = [(seen, seen_c), (held_out, held_out_c), (generated, seen_c)]
            scores += torch.stack([self._D(x, c).mean() for x, c in pairs]).cpu()
        seen, held_out, generated = scores.tolist()
        return (seen - held_out) / (seen - generated) if seen > generated else []  # nothing to compare with


def held_out_batches(c: EasyDict, training_set: Any, z_dim: int, device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    """Batches of (z, training images, their labels, held-out images, their labels), seeded; about IMAGES of each in all."""
    held_out = construct_class_by_name(**c.eval_set_kwargs, use_labels=c.training_set_kwargs['use_labels'])
    rng, size = np.random.default_rng(c.random_seed), c.batch_gpu  # whole groups of minibatch stddev, as in training
    count = max(IMAGES // size, 1) * size
    columns = [torch.from_numpy(rng.standard_normal([count, z_dim], dtype=np.float32)).to(device)]
    for data in (training_set, held_out):
        items = rng.permutation(len(data))[np.arange(count) % len(data)]
        pixels = np.stack([data[int(i)][0] for i in items])
        columns += [torch.from_numpy(pixels).to(device, torch.float32) / 127.5 - 1, labels_of(data, items).to(device)]
    return list(zip(*(column.split(size) for column in columns), strict=True))
