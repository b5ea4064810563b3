"""Which pictures of a run are shown, under which title."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from training.run.report.facts import Facts
from training.run.report.pictures import MOST_FRAMES, Picture, Pictures

MOST_FIGURES = 6   # of metrics
MOST_CAPTIONS = 48  # rows of a picture that can still be read
LEAST_FRAMES = 4   # of each kind and run, where many are compared


class Kind(NamedTuple):
    """Pictures of one kind, over time. frames: (kimg, picture), in their order. captions: of the rows, or []."""

    title: str
    note: str
    frames: list[tuple[int, Picture]]
    captions: list[str]


def make_grids(facts: Facts, pictures: Pictures, runs: int = 1, most_new: int | None = None) -> list[Kind]:
    """All pictures of a run. runs: number of runs on the page. With several, each gets fewer pictures, and only comparable ones.
    most_new: see Pictures.series."""
    run, cell, domains = facts.run, facts.run.image_size(), facts.domains()
    by_domain = facts.options.get('grid_by_domain') is True
    block = len(domains) if by_domain and domains else 1
    most = max(MOST_FRAMES // runs, LEAST_FRAMES)
    titles = {
        'fakes': ('Generated, domains side by side' if by_domain else 'Generated',
                  'Each column is one latent, each row a domain.' if by_domain else 'The same latents all the time.'),
        'recon': ('Reconstructions', 'Real images, each with its reconstruction to the right.'),
    }
    kinds = [Kind(title, note, run_pictures, _captions(domains, run_pictures[-1][1])) for kind, (title, note) in titles.items()
             if (run_pictures := pictures.series(kind, facts.first_kimg, run.kimg, cell, block, most, most_new))]
    if runs > 1:
        return kinds
    if (reals := pictures.one(run.path / 'reals.png', cell, block)) is not None:
        kinds.append(Kind('Training images', '', [(0, reals)], _captions(domains, reals)))
    for name, (kimg, path) in list(_figures(run.path, run.kimg).items())[:MOST_FIGURES]:
        if (figure := pictures.one(path)) is not None:
            kinds.append(Kind(f'Metric {name}', f'After {kimg} kimg.', [(kimg, figure)], []))
    return kinds


def _captions(domains: list[str], picture: Picture) -> list[str]:
    """With labels, the rows of a grid show them in turn."""
    return [domains[row % len(domains)] for row in range(picture.rows)] if domains and picture.rows <= MOST_CAPTIONS else []


def _figures(run_dir: Path, last_kimg: float) -> dict[str, tuple[int, Path]]:
    """{metric: (kimg, its newest figure)}."""
    found: dict[str, tuple[int, Path]] = {}
    for path in run_dir.glob('*-network-snapshot-*.png'):
        match = re.fullmatch(r'([^-]+)-(?:.*-)?network-snapshot-(\d+)', path.stem)
        if match and int(match[2]) <= last_kimg:
            found[match[1]] = max(found.get(match[1], (-1, path)), (int(match[2]), path))
    return dict(sorted(found.items()))
