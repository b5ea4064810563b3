"""The name of the processor."""

from __future__ import annotations

import platform
from pathlib import Path


def model_name() -> str:
    """Return a name such as 'Intel(R) Xeon(R) Processor @ 2.60GHz'. Falls back to a coarser name, and to '' if none is known."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '') or platform.processor()
