"""--transfer=partial: copy the tensors that fit from networks of another shape.

Tensors are matched by name. Blocks are named after their level (training.start_grid), which is their resolution if the images are
squares of a power of two. So b32 is copied from b32, regardless of the number of other blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import torch
from torch import nn

from dnnlib.errors import UserError


def transfer_partially(source_name: str, sources: Mapping[str, nn.Module], targets: Mapping[str, nn.Module]) -> None:
    """Copy the tensors that fit from each network in `sources` into its namesake in `targets`, and print a table.

    A tensor fits if its namesake has the same shape. This holds for parameters and buffers. Raises UserError, before anything is
    copied, if no parameter of a network fits.
    """
    states = {name: (net.state_dict(), targets[name].state_dict()) for name, net in sources.items()}
    for name, (there, here) in states.items():
        if not any(_fits(key, there, here) for key, _ in targets[name].named_parameters()):
            raise UserError(f'{source_name}: its {name} has no tensor that fits this run; resume from another network')
    with torch.no_grad():
        for there, here in states.values():
            for key in here:
                if _fits(key, there, here):
                    here[key].copy_(there[key])
    tables: dict[tuple, list[str]] = {}  # G_ema usually has the same rows as G
    for name, (there, here) in states.items():
        tables.setdefault(tuple(_rows(there, here)), []).append(name)
    print('Partial transfer: tensors taken, and what was not')
    _print_table([(', '.join(names) if i == 0 else '', *row) for rows, names in tables.items() for i, row in enumerate(rows)])


def _fits(key: str, there: Mapping[str, torch.Tensor], here: Mapping[str, torch.Tensor]) -> bool:
    return key in there and there[key].shape == here[key].shape


def _rows(there: Mapping[str, torch.Tensor], here: Mapping[str, torch.Tensor]) -> list[tuple[str, str, str]]:
    """(part of the network, `7 of 9`, tensors not copied) for each part with tensors in either network."""
    rows = []
    for part, keys in _by_part([*here, *(key for key in there if key not in here)]):
        wanted = [key for key in keys if key in here]
        taken = [key for key in wanted if _fits(key, there, here)]
        new = [key for key in wanted if key not in there]
        other = [f'{key.removeprefix(part + ".")} {_shape(there[key])} -> {_shape(here[key])}'
                 for key in wanted if key in there and key not in taken]
        unused = [key for key in keys if key not in here]
        notes = [listed('other shape: ', other), _what('new', new, keys, part), _what('not used', unused, keys, part)]
        rows.append((part, f'{len(taken)} of {len(wanted)}', '; '.join(filter(None, notes))))
    return rows


def _by_part(keys: Iterable[str]) -> Iterable[tuple[str, list[str]]]:
    """Names of tensors by the part of the network that they are in: a block, or the mapping network; blocks by their level."""
    def part(key: str) -> str:
        words = key.split('.')[:-1] or [key]
        return '.'.join(words[:2] if words[0] == 'synthesis' else words[:1])

    def order(key: str) -> tuple[str, int]:
        name = part(key)
        level = name.rpartition('b')[2]
        return (name.removesuffix(level), int(level)) if level.isdecimal() else (name, 0)

    return [(name, list(group)) for name, group in groupby(sorted(keys, key=order), part)]


def _what(title: str, keys: Sequence[str], all_keys: Sequence[str], part: str) -> str:
    if len(keys) == len(all_keys):
        return title
    return listed(f'{title}: ', [key.removeprefix(part + '.') for key in keys])


def _shape(tensor: torch.Tensor) -> str:
    return 'x'.join(map(str, tensor.shape)) or 'a number'


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print('  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def listed(title: str, names: Sequence[str], most: int = 6) -> str:
    """`title: a, b and 3 more`; '' without names."""
    if not names:
        return ''
    rest = f' and {len(names) - most} more' if len(names) > most else ''
    return title + ', '.join(names[:most]) + rest
