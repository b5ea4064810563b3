"""What is the most that the measures of identifiability can find? An encoder is trained with the true factors.

    python docs/experiments/identifiability/supervised.py                # 40,000 images, 12 epochs: 10 minutes of one core
    python docs/experiments/identifiability/supervised.py --images=2000 --epochs=2

It prints R² of each factor and all measures, on 1,000 other images. Classes are learned by cross entropy, circles by the cosine
of the angle between what is found and what is true, and numbers by the mean square.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from metrics.domains.classifier import apply
from metrics.domains.regression import make_network, make_schedule
from metrics.identifiability.factors import Factor
from metrics.identifiability.measures import measures
from metrics.identifiability.regression import factor_r2
from training.data.making.rendering import render
from training.data.making.synthetic import FACTORS, draw_factors

DOMAINS, SIZE, HELD_OUT, BATCH, RATE = 9, 32, 1000, 64, 3e-3
WIDTHS, HIDDEN = (32, 64, 128), 256


class Truth:
    """Images with their factors. The last HELD_OUT images are held out for measuring."""

    def __init__(self, images: int):
        self.values, _, _ = draw_factors(images + HELD_OUT, DOMAINS, False, 0)
        parts = np.array_split(self.values, max(len(self.values) // 1000, 1))
        self.pixels = torch.from_numpy(np.concatenate([render(part, SIZE) for part in parts])).permute(0, 3, 1, 2).contiguous()
        self.factors = [Factor(name, values, kind, role == 'style')
                        for (name, kind, role), values in zip(FACTORS, self.values.T, strict=True)]
        columns = [targets_of(factor, images) for factor in self.factors]
        self.widths = [part.shape[1] for part in columns]
        self.targets = torch.from_numpy(np.concatenate(columns, axis=1)).float()
        self.style = np.repeat([factor.style for factor in self.factors], self.widths)

    def images(self, rows: torch.Tensor | slice) -> torch.Tensor:
        return self.pixels[rows].float() / 127.5 - 1


def targets_of(factor: Factor, images: int) -> np.ndarray:
    """The columns of a factor; numbers have mean 0 and deviation 1 over the first images, or learning them is slow."""
    columns = factor.columns()
    if factor.kind in ('class', 'circle'):
        return columns
    return (columns - columns[:images].mean(axis=0)) / columns[:images].std(axis=0)


def loss_of(truth: Truth, found: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sum the losses of all factors."""
    total = found.new_zeros([])
    for factor, ours, theirs in zip(truth.factors, found.split(truth.widths, 1), targets.split(truth.widths, 1), strict=True):
        if factor.kind == 'class':
            total = total + F.cross_entropy(ours, theirs.argmax(dim=1))
        elif factor.kind == 'circle':
            total = total + (1 - F.cosine_similarity(ours, theirs)).mean()
        else:
            total = total + (ours - theirs).square().mean()
    return total


def codes_of(truth: Truth, found: torch.Tensor) -> np.ndarray:
    """Convert outputs to codes: probabilities of classes, points on the unit circle, numbers."""
    codes = [{'class': lambda x: x.softmax(dim=1), 'circle': lambda x: F.normalize(x, dim=1)}.get(factor.kind, lambda x: x)(part)
             for factor, part in zip(truth.factors, found.split(truth.widths, 1), strict=True)]
    return torch.cat(codes, dim=1).numpy()


def train(truth: Truth, images: int, epochs: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    net = make_network((3, SIZE, SIZE), sum(truth.widths), generator, WIDTHS, HIDDEN)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
    schedule = make_schedule(optimizer, epochs * (images // BATCH))
    for epoch in range(epochs):
        for rows in torch.randperm(images, generator=generator)[:images // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            loss = loss_of(truth, net(truth.images(rows)), truth.targets[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f'epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}', flush=True)
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=40_000, help='to train with (default: %(default)s)')
    parser.add_argument('--epochs', type=int, default=12, help='(default: %(default)s)')
    args = parser.parse_args()
    truth = Truth(args.images)
    net = train(truth, args.images, args.epochs)
    held_out = slice(args.images, None)
    codes = codes_of(truth, apply(net, truth.images(held_out)))
    test = [factor.rows(held_out) for factor in truth.factors]
    for factor, found in zip(truth.factors, factor_r2(codes, test), strict=True):
        print(f'{factor.name:12} R² {found:.3f}')
    for name, value in measures(codes, np.flatnonzero(~truth.style), np.flatnonzero(truth.style), test).items():
        print(f'{name:26} {value:.3f}')


if __name__ == '__main__':
    main()
