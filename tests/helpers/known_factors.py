"""Factors drawn at random, and codes of which it is known how well they recover them."""

import numpy as np

from metrics.identifiability.factors import Factor

COUNT = 1000


def factors(count=COUNT, seed=0):
    """Two numbers, a class and a circle that are content; a number and a circle that are style."""
    rng = np.random.default_rng(seed)
    return [Factor('x', rng.uniform(-1, 1, count)), Factor('y', rng.normal(size=count)),
            Factor('shape', rng.integers(0, 3, count).astype(float), 'class'), Factor('turn', rng.uniform(size=count), 'circle'),
            Factor('grey', rng.normal(size=count), 'number', True), Factor('hue', rng.uniform(size=count), 'circle', True)]


def numbers(some):
    """The factors that are numbers, alone."""
    return [factor for factor in some if factor.kind == 'number']


def perfect(some):
    """Codes [N, F] that are the factors; and the numbers of the columns that are content, and style."""
    parts = [factor.columns() for factor in some]
    style = np.concatenate([[factor.style] * part.shape[1] for factor, part in zip(some, parts, strict=True)])
    return np.concatenate(parts, axis=1), np.flatnonzero(~style), np.flatnonzero(style)


def mixed(codes, seed=0):
    """A random rotation of standardised codes: each of the new ones has a part of all."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=[codes.shape[1]] * 2))
    return (codes - codes.mean(axis=0)) / codes.std(axis=0) @ rotation


def noise(width, count=COUNT, seed=5):
    return np.random.default_rng(seed).normal(size=(count, width))
