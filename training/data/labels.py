"""The `dataset.json` of a dataset: `{"labels": [["00000/img00000000.png", 3], ...], "domains": ["cat", ...]}`.

Beside "labels" there may be "content", of the same form: what an image shows, whatever its domain, such as the digit.
Nothing is trained on it; metrics are. Other tools ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.archive import FolderArchive, ZipArchive

FILE_NAME = 'dataset.json'
_REMEDY = 'correct it, or write the dataset anew with dataset_tool.py'


class LabelFile(NamedTuple):
    """What `dataset.json` holds.

    labels: file name with `/` -> int or list of floats; None without labels.
    domains: names of the labels 0, 1, ...; None if not given.
    content: file name -> class of the content, an int; None if not given.
    """

    labels: dict[str, Any] | None
    domains: list[str] | None
    content: dict[str, int] | None = None


def read_label_file(archive: FolderArchive | ZipArchive) -> LabelFile:
    """Read `dataset.json` at the root of an archive; absent means no labels. Raises UserError if it is malformed."""
    if FILE_NAME not in archive.names:
        return LabelFile(None, None)
    where = archive.where(FILE_NAME)
    try:
        fields = json.loads(archive.read(FILE_NAME).decode('utf-8-sig'))
    except (ValueError, RecursionError) as err:
        raise UserError(f'{where}: not valid JSON ({err}); {_REMEDY}') from err
    if not isinstance(fields, dict):
        raise UserError(f'{where}: must be an object with "labels"; {_REMEDY}')

    # "domains" and "content" are our own keys: in a file of another tool they may mean anything.
    domains = fields.get('domains')
    if not (isinstance(domains, list) and all(isinstance(name, str) for name in domains)):
        domains = None
    pairs = fields.get('content')
    content = None
    if isinstance(pairs, list) and pairs and all(_is_entry(pair) and type(pair[1]) is int for pair in pairs):
        content = {name.replace('\\', '/'): value for name, value in pairs}

    entries = fields.get('labels')
    if entries is None:
        return LabelFile(None, domains, content)
    labels = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not _is_entry(entry):
            raise UserError(f'{where}: "labels" must be a list of ["<file name>", <number or list of numbers>], '
                            f'not {json.dumps(entry)[:80]}; {_REMEDY}')
        labels[entry[0].replace('\\', '/')] = entry[1]
    return LabelFile(labels, domains, content)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and _is_label(entry[1])


def _is_label(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(v, (int, float)) and abs(v) < 2 ** 31 for v in values)


def label_array(labels: dict[str, Any], names: Sequence[str], archive: FolderArchive | ZipArchive,
                kind: str = 'label') -> np.ndarray:
    """The labels of the images `names`, in that order: int64 [N] (classes) or float32 [N, label_dim] (vectors).

    kind: what messages call them. Raises UserError if an image has no label, a class is negative, or the labels
    differ in kind or length.
    """
    where = archive.where(FILE_NAME)
    missing = [name for name in names if name not in labels]
    if missing:
        others = f' and {len(missing) - 1} other images' if len(missing) > 1 else ''
        raise UserError(f'{where}: no {kind} for {missing[0]}{others}; {_REMEDY}')
    values = [labels[name] for name in names]
    lengths = [len(v) if isinstance(v, list) else None for v in values]
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is not None:
        raise UserError(f'{where}: the labels of {names[0]} and {names[odd]} differ in kind or length; {_REMEDY}')
    if lengths[0] is not None:
        return np.array(values, dtype=np.float32)
    classes = np.array(values).astype(np.int64)
    if classes.min() < 0:
        raise UserError(f'{where}: the {kind} of {names[int(classes.argmin())]} is negative; {_REMEDY}')
    return classes
