"""Results of calibrations in the feature cache, so that metrics can warn of a distance that fails on their dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from metrics.calibration.measure import KINDS, RISES, Finding
from metrics.features.cache import FeatureCache

VERSION = 1
FAMILIES = {'fid': 'fd', 'fd': 'fd', 'kid': 'kd', 'kd': 'kd'}  # of metrics -> kind of distance


def save(cache: FeatureCache, dataset: Any, findings: Sequence[Finding]) -> None:
    """Store the findings of one detector for each of KINDS. A later calibration replaces an earlier one."""
    detector = findings[0].detector
    troubles = {finding.kind: trouble_of(finding) for finding in findings}
    cache.save_arrays(_key(dataset, detector), dict(troubles=np.array(json.dumps(troubles))),
                      name=f'{dataset.name}-{detector}-calibration')


def trouble_of(finding: Finding) -> str:
    """The problem of a distance in a few words; '' if it rises with every damage, and light damage gives a smaller distance than
    total damage."""
    parts = [f'{curve.damage} ({curve.verdict})' for curve in finding.curves if curve.verdict != RISES]
    parts += [f'light {light} is farther than total {total}' for light, total in finding.inverted]
    return ', '.join(parts)


def warning(cache: FeatureCache | None, dataset: Any, name: str, family: str, detector: str) -> str | None:
    """A warning about a metric whose distance does not rise with damage of this dataset, if a calibration is known. None if
    nothing is wrong or known. name, family: of the metric."""
    kind = FAMILIES.get(family)
    if cache is None or kind not in KINDS or not hasattr(dataset, 'identity'):
        return None
    arrays = cache.load_arrays(_key(dataset.all_images(False), detector))
    trouble = json.loads(str(arrays['troubles'])).get(kind, '') if arrays is not None else ''
    if not trouble:
        return None
    return (f'{name}: on {dataset.path} this distance does not rise with damage as it should: {trouble}; compare with another '
            f'--detector (docs/metrics-offline.md)')


def _key(dataset: Any, detector: str) -> dict[str, Any]:
    return dict(calibration=VERSION, images=dataset.identity(), detector=detector)
