"""Findings as text and as JSON, without the name of the user's home."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from training.doctor.findings import MISSING, Finding

WIDTH = 128  # characters of a line
NAMES, STATUSES = 24, 9  # width of the columns


def without_home(text: str) -> str:
    """Paths below the home directory begin with ~."""
    home = os.path.expanduser('~')
    for name in sorted({home, os.path.realpath(home)} - {'/'}, key=len, reverse=True):
        text = re.sub(re.escape(name) + r'(?![\w.-])', '~', text)
    return text


def lines(finding: Finding) -> Iterable[str]:
    """A finding in aligned lines: name, status, text; below, what to do."""
    indent = ' ' * (NAMES + STATUSES)
    begin = f'{finding.name:{NAMES}}{finding.status:{STATUSES}}'
    yield from _wrapped(finding.text, begin, indent)
    if finding.remedy:
        yield from _wrapped(finding.remedy, f'{indent}-> ', f'{indent}   ')


def _wrapped(text: str, begin: str, indent: str) -> list[str]:
    return textwrap.wrap(without_home(text), width=WIDTH, initial_indent=begin, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)


def can_train(findings: Sequence[Finding]) -> bool:
    """Whether everything that training requires is available."""
    return not any(finding.essential and finding.status == MISSING for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """Everything, for issue reports."""
    content: dict[str, Any] = {'can_train': can_train(findings),
                               'findings': [dataclasses.asdict(finding) for finding in findings]}
    for record in content['findings']:
        record['measured'] = {name: float(f'{value:.4g}') for name, value in record['measured'].items()}
        record.update({key: without_home(record[key]) for key in ('text', 'remedy')})
    return json.dumps(content, indent=1)
