"""The small trained networks in `models/`, by name: `two-color-mnist/i-stylegan` is the snapshot in the folder of that name.

No torch here.
"""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / 'models'


def names() -> list[str]:
    """The names of all shipped networks."""
    files = [*MODELS.glob('*/*/network-snapshot-*.pkl'), *MODELS.glob('*/*/config.json')]
    return sorted({path.parent.relative_to(MODELS).as_posix() for path in files})


def path_of(source: str) -> str:
    """The snapshot or exported generator with this name. Anything else stays unchanged, including an existing file or folder."""
    if source not in names() or Path(source).exists():
        return source
    return str(max((MODELS / source).glob('network-snapshot-*.pkl'), default=MODELS / source))
