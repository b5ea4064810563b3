"""What the processor is called."""

from __future__ import annotations

import platform
from pathlib import Path


def model_name() -> str:
    """'Intel(R) Xeon(R) Processor @ 2.60GHz', or a coarser name where the system does not say; '' if nothing is known."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '') or platform.processor()
