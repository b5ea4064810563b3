"""The metrics by name. A new one is a file with a function `Context -> Result`, and a line here.

Names are known without importing torch; a metric is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dnnlib.util import OptionError, format_time
from metrics.context import Context, Result


class Metric(NamedTuple):
    """function: `module:name` of a function `(Context, **kwargs) -> Result`. needs_data, needs_D: whether it looks at the
    dataset, and at the discriminator."""

    function: str
    needs_data: bool
    kwargs: Mapping[str, Any] = MappingProxyType({})
    needs_D: bool = False


METRICS = {
    'jacobian': Metric('metrics.jacobian:jacobian', needs_data=False),
    'domains': Metric('metrics.domains:domains', needs_data=True),
    'translation': Metric('metrics.translation:translation', needs_data=True, needs_D=True),
}


def parse_metrics(value: str) -> list[str]:
    """The names in the value of --metrics, each once; 'none' and '' are the empty list. Raises OptionError for others."""
    if value.lower() in ('', 'none'):
        return []
    names = list(dict.fromkeys(name.strip() for name in value.split(',')))
    if any(name not in METRICS for name in names):
        raise OptionError(f'--metrics can only contain the following values: {", ".join(METRICS)}')
    return names


def calc_metric(name: str, context: Context) -> tuple[Result, dict[str, Any]]:
    """Evaluate one metric. Returns what it found, and its record: a dict for one line of JSON, in the published order.

    Values that are not finite (a generator that diverged) become None in the record, for JSON has no other word.
    """
    metric = METRICS[name]
    module, _, function = metric.function.partition(':')
    start = time.monotonic()
    result = getattr(importlib.import_module(module), function)(context, **metric.kwargs)
    seconds = time.monotonic() - start
    values = {key: value if value is None or math.isfinite(value) else None for key, value in result.values.items()}
    return result, dict(results=values, metric=name, total_time=seconds, total_time_str=format_time(seconds), num_gpus=1)
