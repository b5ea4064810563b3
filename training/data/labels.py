"""The `dataset.json` of a dataset: `{"labels": [["00000/img00000000.png", 3], ...], "domains": ["cat", ...]}`.

An optional "content" of the same form tells what an image shows in any domain, such as the digit. Only metrics use it. Other
tools ignore it. Rendered images also have "factors" of the same form, a list of numbers for each image, and "factor_names", which
describe them: [["hue", "circle", "style"], ...].
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dnnlib import UserError
from dnnlib.archive import FolderArchive, ZipArchive

FILE_NAME = 'dataset.json'
MOST_CLASSES = 1 << 16  # also the limit for vectors: networks have a weight matrix of this size. ImageNet-21k has 21,841
_REMEDY = 'correct it, or write the dataset again with dataset_tool.py'


MAKE_FACTORS = 'dataset_tool.py --source=synthetic'
FACTOR_KINDS, FACTOR_ROLES = ('class', 'number', 'circle'), ('content', 'style')


class Factor(NamedTuple):
    """Description of a factor of images. kind: 'class' (whole numbers from 0), 'number', or 'circle' (in turns: 0 and 1 are the
    same). role: 'content' (the same in all domains) or 'style'."""

    name: str
    kind: str
    role: str


class LabelFile(NamedTuple):
    """The content of `dataset.json`.

    labels: file name with `/` -> int or list of floats; None without labels.
    domains: names of the labels 0, 1, ...; None if not given.
    content: file name -> class of the content, an int; None if not given.
    factors: file name -> list of the values of factor_names; None if not given.
    """

    labels: dict[str, Any] | None
    domains: list[str] | None
    content: dict[str, int] | None = None
    factors: dict[str, list[float]] | None = None
    factor_names: list[Factor] | None = None


def read_label_file(archive: FolderArchive | ZipArchive) -> LabelFile:
    """Read `dataset.json` at the root of an archive; absent means no labels. Raises UserError if it is malformed."""
    where = archive.where(FILE_NAME)
    if FILE_NAME not in archive.names:
        if isinstance(archive, FolderArchive) and FILE_NAME in archive.left_out:
            raise UserError(f'{where}: {archive.left_out[FILE_NAME]}; put a file in its place')
        return LabelFile(None, None)
    try:
        fields = json.loads(archive.read(FILE_NAME).decode('utf-8-sig'))
    except (ValueError, RecursionError) as err:
        raise UserError(f'{where}: not valid JSON ({err}); {_REMEDY}') from err
    if not isinstance(fields, dict):
        raise UserError(f'{where}: must be an object with "labels"; {_REMEDY}')

    # All keys except "labels" are our own. In a file of another tool, they may have another meaning.
    domains = fields.get('domains')
    if not (isinstance(domains, list) and all(isinstance(name, str) for name in domains)):
        domains = None
    pairs = fields.get('content')
    content = None
    if isinstance(pairs, list) and pairs and all(_is_entry(pair) and type(pair[1]) is int for pair in pairs):
        content = {clean_name(name): value for name, value in pairs}
    factor_names, factors = _read_factors(fields)

    entries = fields.get('labels')
    if entries is None:
        return LabelFile(None, domains, content, factors, factor_names)
    labels: dict[str, Any] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not _is_entry(entry):
            raise UserError(f'{where}: "labels" must be a list of ["<file name>", <number or list of numbers>], '
                            f'not {json.dumps(entry)[:80]}; {_REMEDY}')
        name, label = clean_name(entry[0]), entry[1]
        if labels.setdefault(name, label) != label:
            raise UserError(f'{where}: {name} has two different labels, {labels[name]} and {label}; {_REMEDY}')
    return LabelFile(labels, domains, content, factors, factor_names)


def _read_factors(fields: dict[str, Any]) -> tuple[list[Factor] | None, dict[str, list[float]] | None]:
    """Descriptions of the factors, and the values of each image; None and None unless both have the form above."""
    names, pairs = fields.get('factor_names'), fields.get('factors')
    if not (isinstance(names, list) and isinstance(pairs, list) and names and pairs):
        return None, None
    for entry in names:
        if not (isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str) and entry[1] in FACTOR_KINDS
                and entry[2] in FACTOR_ROLES):
            return None, None
    if not all(_is_entry(pair) and isinstance(pair[1], list) and len(pair[1]) == len(names) for pair in pairs):
        return None, None
    return [Factor(*entry) for entry in names], {clean_name(name): values for name, values in pairs}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and _is_label(entry[1])


def _is_label(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(v, (int, float)) and abs(v) < 2 ** 31 for v in values)


def clean_name(name: str) -> str:
    """A file name as in archives: with `/` between its parts, and without `./`."""
    if '\\' not in name and './' not in name and '//' not in name and not name.startswith('/'):
        return name
    return '/'.join(part for part in name.replace('\\', '/').split('/') if part not in ('', '.'))


def loose_name(name: str) -> str:
    """A key that is equal for names that differ only in case or in the composition of accents."""
    return unicodedata.normalize('NFC', clean_name(name)).casefold()


def find_labels(labels: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """(the labels of those images `names` that have one, the names in `labels` that no image has).

    Names match if they are equal, or differ only in case or composition of accents and the match is unambiguous.
    """
    names = list(names)
    found = {name: labels[name] for name in names if name in labels}
    unused = [name for name in labels if name not in found]
    if len(found) < len(names) and unused:
        by_loose: dict[str, list[str]] = {}
        images: dict[str, list[str]] = {}
        for name in unused:
            by_loose.setdefault(loose_name(name), []).append(name)
        for name in names:
            if name not in found:
                images.setdefault(loose_name(name), []).append(name)
        used = set()
        for key, (image, *others) in images.items():
            entries = by_loose.get(key, [])
            if not others and len(entries) == 1:
                found[image] = labels[entries[0]]
                used.add(entries[0])
        unused = [name for name in unused if name not in used]
    return found, unused


def missing_labels(missing: Sequence[str], unused: Sequence[str], kind: str = 'label') -> str:
    """The message about images without a label and entries without an image."""
    others = f' and {len(missing) - 1} other images' if len(missing) > 1 else ''
    return f'no {kind} for {missing[0]}{others}' + (f'; its entry {unused[0]!r} fits no image' if unused else '')


def label_array(labels: dict[str, Any], names: Sequence[str], archive: FolderArchive | ZipArchive,
                kind: str = 'label') -> np.ndarray:
    """The labels of the images `names`, in that order: int64 [N] (classes) or float32 [N, label_dim] (vectors).

    kind: what messages call them. Raises UserError if an image has no label, or `check_labels` does.
    """
    where = archive.where(FILE_NAME)
    found, unused = find_labels(labels, names)
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f'{where}: {missing_labels(missing, unused, kind)}; {_REMEDY}')
    return check_labels(found, names, where, kind)


def check_labels(labels: Mapping[str, Any], names: Sequence[str], where: str, kind: str = 'label') -> np.ndarray:
    """The labels as an array, if every image has one. Raises UserError, naming the image, if labels differ in kind or length, a
    class is negative or a fraction, or there are more than MOST_CLASSES classes."""
    values = [labels[name] for name in names]
    lengths = [len(v) if isinstance(v, list) else None for v in values]
    odd = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    if odd is not None:
        raise UserError(f'{where}: the {kind}s of {names[0]} and {names[odd]} differ in kind or length; {_REMEDY}')
    if lengths[0] is not None:
        if lengths[0] > MOST_CLASSES:
            raise UserError(f'{where}: the {kind} of {names[0]} is a vector of {lengths[0]} numbers, more than {MOST_CLASSES}; '
                            f'{_REMEDY}')
        return np.array(values, dtype=np.float32)
    for name, value in zip(names, values, strict=True):
        if value != int(value):
            raise UserError(f'{where}: the {kind} of {name} is {value}, but a class is a whole number; write [{value}] for a '
                            'label that is a vector')
        if value < 0:
            raise UserError(f'{where}: the {kind} of {name} is negative; {_REMEDY}')
        if value >= MOST_CLASSES:
            raise UserError(f'{where}: the {kind} of {name} is {int(value)}, which makes {int(value) + 1} classes, more than '
                            f'{MOST_CLASSES}; number the classes from 0')
    return np.array(values).astype(np.int64)
