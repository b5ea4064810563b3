"""sessions.jsonl: a line for each start and resume of a run, with its command, revision and machine."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from dnnlib.jsonl import append_line
from torch_utils import torchrun

ROOT = Path(__file__).parents[2]
FILE_NAME = 'sessions.jsonl'
PACKAGES = ('torch', 'numpy', 'pillow', 'scipy')


def append_session(run_dir: Path, start_nimg: int, training_set: Any, **facts: Any) -> None:
    """Add a line for this process. start_nimg: images at which it begins. facts: further entries. Raises OSError."""
    append_line(run_dir / FILE_NAME, dict(
        started=time.time(), kimg=start_nimg / 1000, command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        torchrun=torchrun.own_options(), **revision(), **facts,
        images=len(training_set), image_shape=list(training_set.image_shape), labels=training_set.label_dim,
        one_hot=training_set.has_onehot_labels, domains=training_set.domains,
        python=platform.python_version(), packages={name: version for name in PACKAGES if (version := _version(name))},
        system=f'{platform.system()} {platform.machine()}', cores=os.cpu_count(),
        memory_gib=round(psutil.virtual_memory().total / 2 ** 30, 1),
    ))


def revision() -> dict[str, Any]:
    """The commit of this checkout, and whether files differ from it; {} without git or without a checkout."""
    def git(*args: str) -> str:
        done = subprocess.run(['git', '-C', str(ROOT), *args], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if Path(git('rev-parse', '--show-toplevel')).resolve() == ROOT:
            return dict(revision=git('rev-parse', 'HEAD'), changed=bool(git('status', '--porcelain', '--untracked-files=no')))
    return {}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
