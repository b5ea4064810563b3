"""Distances of damaged real images from other real images, by each detector, and a verdict on the detector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import UserError
from metrics.calibration.damage import DAMAGES, LIGHT, TOTAL, Damage
from metrics.context import Context, batches
from metrics.features import extraction
from metrics.quality.frechet import frechet_of_rows
from metrics.quality.kid import kernel_distance

CHOICE, SPLITS, DAMAGE, SUBSETS = 910, 911, 912, 913  # what random numbers are for
FEWEST = 20           # images in each half
NUM_SPLITS = 20       # of the undamaged images into halves, for the spread of the distance without damage
SURE = 3              # deviations of that spread: the least rise that counts, and the most that a step may fall
KINDS = ('kd', 'fd')  # kernel and Fréchet distance
RISES, BLIND, FALLS = 'rises', 'blind', 'falls'


class Halves(NamedTuple):
    """Real images to compare with, and as many others to damage: uint8 [N, C, H, W] on the device. labels: the classes of the
    second half, int64 [N], 0 without classes; finest: its contents if known, else the labels. own_labels: classes of the first
    half."""

    reference: torch.Tensor
    images: torch.Tensor
    own_labels: np.ndarray
    labels: np.ndarray
    finest: np.ndarray


class Curve(NamedTuple):
    """distances: without damage and for each level, by one detector and kind of distance. verdict: RISES, BLIND (no level exceeds
    the spread of undamaged images) or FALLS (more damage gives a smaller distance)."""

    damage: str
    distances: tuple[float, ...]
    verdict: str


class Finding(NamedTuple):
    """The findings for one detector and kind of distance. inverted: pairs (light, total) of damages in the wrong order."""

    detector: str
    kind: str
    floor: float
    spread: float
    curves: tuple[Curve, ...]
    inverted: tuple[tuple[str, str], ...]


def choose_halves(context: Context, num: int) -> Halves:
    """2 num random images of the dataset, or all if there are fewer. Raises UserError for fewer than 2 FEWEST."""
    dataset = context.dataset.all_images(False)
    if len(dataset) < 2 * FEWEST:
        raise UserError(f'{dataset.path}: has {len(dataset)} images, and a calibration needs {2 * FEWEST}; pass more of them')
    num = min(num, len(dataset) // 2)
    items = torch.randperm(len(dataset), generator=context.generator(CHOICE))[:2 * num].numpy()
    parts = [items[part] for part in batches(len(items), context.batch)]
    images = torch.cat(list(extraction.read_images(context, dataset, parts)))
    labels = np.zeros(len(items), np.int64)
    if dataset.label_dim and dataset.has_onehot_labels:
        labels = np.array([int(dataset.get_details(i).raw_label) for i in items])
    finest = np.array([dataset.get_content(int(i)) for i in items]) if getattr(dataset, 'content_dim', 0) > 1 else labels
    return Halves(images[:num], images[num:], labels[:num], labels[num:], finest[num:])


def applicable(halves: Halves) -> dict[str, Damage]:
    """The damages that change anything in these images."""
    left_out = set()
    red, green = (halves.images[:, min(k, halves.images.shape[1] - 1)] for k in (0, 1))
    if halves.images.shape[1] < 3 or torch.equal(red, green):
        left_out.add('colours')
    if len(np.unique(halves.finest)) < 2:
        left_out.add('classes')
    if len(np.unique(halves.labels)) < 2 or set(halves.labels) != set(halves.own_labels):
        left_out.add('swapped')
    return {name: damage for name, damage in DAMAGES.items() if name not in left_out}


def damaged(name: str, level: float, halves: Halves, context: Context) -> torch.Tensor | np.ndarray:
    """Damaged images uint8 [N, C, H, W]; or, for a damage that chooses, the numbers int64 [N] of the images taken."""
    damage = DAMAGES[name]
    rng = np.random.default_rng([context.seed, DAMAGE, list(DAMAGES).index(name)])
    if damage.change is not None:
        return damage.change(halves.images, halves.labels, level, rng)
    return damage.choose(halves.finest if name == 'classes' else halves.labels, level, rng)


def measure(context: Context, detector: str, halves: Halves) -> list[Finding]:
    """The findings for one detector, one for each of KINDS."""
    net = context.detector(detector)
    wanted = applicable(halves)
    num_passes = 2 + sum(len(damage.levels) for damage in wanted.values() if damage.change)
    with context.count(f'images, {detector}', num_passes * len(halves.images)) as progress:
        def features(images: Any) -> np.ndarray:
            rows = []
            for part in batches(len(images), context.batch):
                rows.append(net.features(images[part]).cpu().numpy())
                progress.advance(len(images[part]))
            return np.concatenate(rows).astype(np.float64)

        reference, clean = features(halves.reference), features(halves.images)
        rows: dict[str, list[np.ndarray]] = {}
        for name, damage in wanted.items():
            found = [damaged(name, level, halves, context) for level in damage.levels]
            rows[name] = [features(x) if damage.change else clean[x] for x in found]
    return [_finding(context, detector, kind, halves, reference, clean, rows) for kind in KINDS]


def _finding(context: Context, detector: str, kind: str, halves: Halves, reference: np.ndarray, clean: np.ndarray,
             rows: Mapping[str, list[np.ndarray]]) -> Finding:
    floor, spread = _without_damage(context, kind, reference, clean)
    curves = []
    for name, damaged_rows in rows.items():
        base, noise = floor, spread
        if DAMAGES[name].within:
            groups = [(halves.own_labels == k, halves.labels == k) for k in np.unique(halves.labels)]
            found = [float(np.mean([distance(context, kind, reference[a], x[b]) for a, b in groups]))
                     for x in [clean, *damaged_rows]]
            noise *= len(groups)  # of smaller groups
            base = found[0]
        else:
            found = [floor, *(distance(context, kind, reference, x) for x in damaged_rows)]
        curves.append(Curve(name, tuple(found), verdict(found, base, noise)))
    by_name = {curve.damage: curve.distances for curve in curves}
    inverted = tuple((light, total) for light in LIGHT for total in TOTAL if by_name[light][1] > by_name[total][-1])
    return Finding(detector, kind, floor, spread, tuple(curves), inverted)


def verdict(distances: Sequence[float], floor: float, spread: float) -> str:
    """RISES, BLIND or FALLS. distances: without damage, and of each level."""
    if distances[-1] < floor + SURE * spread:
        return BLIND if max(distances) < floor + SURE * spread else FALLS
    return FALLS if any(b < a - SURE * spread for a, b in itertools.pairwise(distances)) else RISES


def _without_damage(context: Context, kind: str, *halves: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the distance between random halves of undamaged images."""
    both = np.concatenate(halves)
    rng = np.random.default_rng([context.seed, SPLITS])
    found = []
    for _ in range(NUM_SPLITS):
        order = rng.permutation(len(both))
        found.append(distance(context, kind, both[order[:len(halves[0])]], both[order[len(halves[0]):]]))
    return float(np.mean(found)), float(np.std(found, ddof=1))


def distance(context: Context, kind: str, real: np.ndarray, fake: np.ndarray) -> float:
    """Kernel distance ('kd') or Fréchet distance ('fd') of features [N, F]."""
    if kind == 'fd':
        return frechet_of_rows(real, fake)
    return kernel_distance(real, fake, context.generator(SUBSETS))


def as_record(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{**finding._asdict(), 'curves': [curve._asdict() for curve in finding.curves]} for finding in findings]
