"""`weight-averages-<kimg>.pt`: averages of G's weights that a run keeps beside a network snapshot (--post-hoc-ema=1), and G_ema
of any length made from them.

The numbers are rounded to half precision: two averages take a third as many bytes as the snapshot. Exact resume does not depend
on
these files; the training state has the averages in full precision.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from dnnlib.files import atomic_open
from dnnlib.seal import check_file, seal
from dnnlib.util import UserError
from torch_utils.persistence import halved
from training.networks.power_average import PowerAverages, combination

FORMAT = 1
PATTERN = 'weight-averages-*.pt'


class Averages(NamedTuple):
    """The content of a file. cur_nimg: images that the run had seen; seen_nimg: since the averages began. values: by σ_rel and
    name."""

    path: Path
    cur_nimg: int
    seen_nimg: int
    values: dict[float, dict[str, torch.Tensor]]


def averages_path(network_pkl: Path) -> Path:
    """The path of the averages of a network snapshot."""
    return network_pkl.with_name(f'weight-averages-{network_pkl.stem.removeprefix("network-snapshot-")}.pt')


def save_averages(path: Path, averages: PowerAverages, cur_nimg: int) -> None:
    """Write them as they are now, atomically, with a checksum."""
    state = averages.state_dict()
    values = {sigma: {name: halved(t.cpu()) for name, t in average.items()} for sigma, average in state['values'].items()}
    with atomic_open(path, 'w+b') as f:
        torch.save({'format': FORMAT, 'cur_nimg': cur_nimg, 'seen_nimg': state['seen_nimg'], 'values': values}, f)
        seal(f, zipped=True)


def load_averages(path: Path) -> Averages:
    """Read a file. Raises UserError if it is missing, corrupt, or something else."""
    try:
        if check_file(path)[0] is not True:
            raise ValueError('its checksum does not fit' if path.is_file() else 'no such file')
        saved = torch.load(path, map_location='cpu', weights_only=True, mmap=True)  # files of a run can exceed the memory
        if saved['format'] != FORMAT:
            raise ValueError(f'its format is not {FORMAT}')
        values = {float(sigma): dict(average) for sigma, average in saved['values'].items()}
        return Averages(path, int(saved['cur_nimg']), int(saved['seen_nimg']), values)
    except (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError,
            pickle.UnpicklingError, struct.error, zipfile.BadZipFile) as err:
        raise UserError(f'{path}: not a readable file of averages ({" ".join(str(err).split())[:200]}); move it away to average '
                        'without it') from err


def averages_up_to(network_pkl: Path) -> list[Averages]:
    """The files of a run from the start of its averages up to a network snapshot, in order.

    Raises UserError if the file of the snapshot itself is missing, or any file cannot be read.
    """
    last = averages_path(network_pkl)
    if not last.is_file():
        raise UserError(f'{last}: no such file; runs write it with --post-hoc-ema=1')
    earlier = [path for path in last.parent.glob(PATTERN)
               if re.fullmatch(r'weight-averages-\d+', path.stem) and _kimg(path) < _kimg(last)]
    end = load_averages(last)
    found = [load_averages(path) for path in sorted(earlier, key=_kimg)]
    began = end.cur_nimg - end.seen_nimg
    return [*(each for each in found if each.cur_nimg - each.seen_nimg == began and each.cur_nimg < end.cur_nimg), end]


def _kimg(path: Path) -> int:
    return int(path.stem.rpartition('-')[2])


class Reconstruction(NamedTuple):
    """Parameters by name, float32, and the error of their profile (power_average.combination)."""

    parameters: dict[str, torch.Tensor]
    error: float


def reconstruct(files: Sequence[Averages], sigma: float) -> Reconstruction:
    """The average of length `sigma` that ends at the last file."""
    parts = [(each.seen_nimg, s, average) for each in files for s, average in each.values.items()]
    times, sigmas = (np.array(column, dtype=np.float64) for column in list(zip(*parts, strict=True))[:2])
    factors, error = combination(times, sigmas, times[-1], sigma)
    total = {name: torch.zeros(t.shape, dtype=torch.float64) for name, t in parts[-1][2].items()}
    for factor, (_, _, average) in zip(factors, parts, strict=True):
        for name, tensor in average.items():
            total[name].add_(tensor.double(), alpha=factor)
    return Reconstruction({name: t.float() for name, t in total.items()}, error)


def put(parameters: dict[str, torch.Tensor], G_ema: nn.Module, source: Any) -> None:
    """Give G_ema these weights; its buffers stay. Raises UserError that names `source` if they belong to another network."""
    own = dict(G_ema.named_parameters())
    if {name: p.shape for name, p in own.items()} != {name: t.shape for name, t in parameters.items()}:
        raise UserError(f'{source}: its averages are of another network than the snapshot beside it; move them away')
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(parameters[name])
