"""Labels of images in a separate file: a table (CSV, tabs, blanks) or JSON, such as the attributes of CelebA."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dnnlib import UserError
from dnnlib.files import open_regular
from training.data.labels import MOST_CLASSES, check_labels, clean_name, find_labels

MOST_FRACTIONS = 100  # largest number of different fractions in a column that become domains. More are measurements
FILE_COLUMNS = ('file', 'filename', 'file_name', 'image', 'image_id', 'image_name', 'name', 'path')  # in any case


class LabelTable(NamedTuple):
    """labels: file name with `/` -> class number or list of numbers. domains: names of the classes, or None."""

    path: str
    labels: dict[str, Any]
    domains: list[str] | None

    def of(self, names: Sequence[str], archive: str | Path) -> dict[str, Any]:
        """The labels of the images `names`, found by their paths, or by their last parts if these are unambiguous. Case and the
        composition of accents matter only if names differ in nothing else.

        Raises UserError if an image has no label.
        """
        found, unused = self._found(names)
        missing = [name for name in names if name not in found]
        if missing:
            others = f' and {len(missing) - 1} other images' if len(missing) > 1 else ''
            entry = f'; its entry {unused[0]!r} fits none' if unused else ''
            raise UserError(f'{self.path}: no label for {missing[0]}{others} of {archive}{entry}; add them, or remove the images')
        return found

    def notes(self, names: Sequence[str]) -> list[str]:
        """Notes about entries without an image."""
        unused = self._found(names)[1]
        return [f'{len(unused)} entries of {self.path} fit no image, such as {unused[0]!r}'] if unused else []

    def _found(self, names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        found, unused = find_labels(self.labels, names)
        last = {name.rpartition('/')[2]: name for name in names}
        if len(found) < len(names) == len(last):
            by_last, unused = find_labels({name: self.labels[name] for name in unused},
                                          [end for end, name in last.items() if name not in found])
            found |= {last[end]: label for end, label in by_last.items()}
        return found, unused


def read_label_table(path: str, columns: Sequence[str] | None = None) -> LabelTable:
    """Read a `.json` file, `{"labels": [[file, label], ...]}` as in dataset.json or `{file: label}`, or a table. Its columns are
    separated by commas, semicolons, tabs or blanks. The first line has their names, unless it is a line of a file. As in CelebA,
    a line with the number of images may come first, and the column of files may have no name.

    columns: names of the columns with the label; required if there are several. One column of integers from 0 gives classes.
    Other values in one column are numbered in order and become the names of domains. Several columns give a vector of numbers.
    Raises UserError if the file has another form.
    """
    try:
        with open_regular(path) as f:
            text = f.read().decode('utf-8-sig')
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f'--labels={path}: cannot be read ({err})') from err
    if path.lower().endswith('.json'):
        if columns:
            raise UserError(f'--labels={path}: --label-column is for tables, not for JSON')
        rows, prefix = _json_rows(path, text), ''
    else:
        rows, prefix = _table_rows(path, text, columns)
    labels: dict[str, Any] = {}
    for name, label in rows:
        name = clean_name(name)
        if isinstance(label, float) and label.is_integer():
            label = int(label)  # pandas writes integers as floats in a column with gaps
        if labels.setdefault(name, label) != label:
            raise UserError(f'--labels={path}: {name} has two different labels, {labels[name]} and {label}; leave one of them')
    if not labels:
        raise UserError(f'--labels={path}: holds no labels')
    values = list(labels.values())
    if all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            raise UserError(f'--labels={path}: labels differ in length')
        return LabelTable(path, labels, None)
    if any(isinstance(value, list) for value in values):
        raise UserError(f'--labels={path}: labels differ in kind; either all are lists of numbers or none')
    if all(type(value) is int and 0 <= value < 2 ** 31 for value in values):
        check_labels(labels, list(labels), f'--labels={path}')
        return LabelTable(path, labels, None)
    fractions = [name for name, value in labels.items() if isinstance(value, float)]
    if fractions and len(set(values)) > MOST_FRACTIONS:
        raise UserError(f'--labels={path}: the label of {fractions[0]} is {labels[fractions[0]]}, which is no class, and there '
                        f'are {len(set(values))} different ones; for vectors give JSON: {{"{fractions[0]}": '
                        f'[{labels[fractions[0]]}], ...}}')
    if len(set(values)) > MOST_CLASSES:
        raise UserError(f'--labels={path}: has {len(set(values))} different labels, more than {MOST_CLASSES} classes; choose '
                        'another column with --label-column')
    different = sorted(set(values), key=lambda value: (isinstance(value, str), value))  # numbers first
    number = {value: i for i, value in enumerate(different)}
    return LabelTable(path, {name: number[value] for name, value in labels.items()},
                      [f'{prefix}{value}' for value in different])


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _label(text: str, file: str, path: str) -> int | float | str:
    """A cell as a label. Raises UserError if it is empty or a marker for that."""
    value = _number(text)
    if not text or (isinstance(value, float) and not abs(value) < math.inf):
        raise UserError(f'--labels={path}: no label for {file}, whose cell is {text or "empty"}; fill it in, or remove the line '
                        'and the image')
    return value


def _is_unnamed(column: str) -> bool:
    """Whether this is the heading of an index that pandas wrote."""
    return not column or re.fullmatch(r'Unnamed: \d+', column) is not None


def _table_rows(path: str, text: str, columns: Sequence[str] | None) -> tuple[list[tuple[str, Any]], str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].strip().isdecimal():
        del lines[0]  # the number of images
    first = lines[0] if lines else ''
    separator = next((mark for mark in ',;\t' if mark in first), None)
    rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True)) if separator else [line.split() for line in lines]
    rows = [[cell.strip() for cell in row] for row in rows]
    if not rows:
        return [], ''
    header: list[str] | None = None
    if '.' not in rows[0][0] or rows[0][0].lower() in FILE_COLUMNS:
        header = rows.pop(0)
        if rows and len(header) == len(rows[0]) - 1:
            header = ['file', *header]
    width = len(header or rows[0])
    for row in rows:
        if len(row) != width:
            raise UserError(f'--labels={path}: the line of {row[0]} has {len(row)} columns, not {width}')
    names = header or [str(i) for i in range(width)]
    file_column = next((i for i, name in enumerate(names) if header and name.lower() in FILE_COLUMNS), 0)
    others = [i for i in range(width) if i != file_column and not (header and _is_unnamed(names[i]))]
    if columns:
        unknown = [name for name in columns if name not in names]
        twice = [name for name in columns if names.count(name) > 1]
        if twice:
            raise UserError(f'--label-column={twice[0]}: {path} has several columns of this name; rename them')
        if unknown:
            others = ', '.join(names[i] for i in others)[:400]
            raise UserError(f'--label-column={unknown[0]}: {path} has no such column, but {others}')
        others = [names.index(name) for name in columns]
    elif len(others) != 1:
        raise UserError(f'--labels={path}: has {len(others)} columns beside the files; choose with --label-column, such as '
                        f'{names[others[0]] if others else "class"}')
    if len(others) == 1:
        prefix = f'{names[others[0]]}=' if header and all(_is_number(row[others[0]]) for row in rows) else ''
        return [(row[file_column], _label(row[others[0]], row[file_column], path)) for row in rows], prefix
    vectors = []
    for row in rows:
        if not all(_is_number(row[i]) for i in others):
            raise UserError(f'--labels={path}: {row[file_column]} has labels that are no numbers; several columns need numbers')
        vectors.append((row[file_column], [float(row[i]) for i in others]))
    return vectors, ''


def _is_number(text: str) -> bool:
    value = _number(text)
    return not isinstance(value, str) and abs(value) < 2 ** 31  # NaN is not less either


def _json_rows(path: str, text: str) -> list[tuple[str, Any]]:
    try:
        fields = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as err:
        raise UserError(f'--labels={path}: not valid JSON ({err})') from err
    if isinstance(fields, dict) and isinstance(fields.get('labels'), list):
        fields = fields['labels']
    pairs = fields.pairs if isinstance(fields, _Pairs) else fields
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        good = isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        if not good or not _is_label(pair[1]):
            raise UserError(f'--labels={path}: must hold pairs of a file and a label, not {json.dumps(pair)[:80]}')
    return [(name, label) for name, label in pairs]


class _Pairs(dict):
    """A JSON object with all its pairs, including repeated names."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        self.pairs = pairs


def _is_label(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(v) in (int, float) and abs(v) < 2 ** 31 for v in value)
    return isinstance(value, str) or (type(value) in (int, float) and abs(value) < 2 ** 31)
