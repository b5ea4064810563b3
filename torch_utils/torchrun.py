"""What torchrun, or torch_utils.launching, tells a process that it starts as one of several workers. No torch here."""

from __future__ import annotations

import os

import psutil

from dnnlib.errors import OptionError

# Set by torch_utils.launching alone: the name of the group, and when the program began.
LAUNCHED, STARTED = 'STYLEGAN_LAUNCHED', 'STYLEGAN_STARTED'


def under_torchrun() -> bool:
    """Whether this process was started as a worker of a group, perhaps as the only one."""
    return all(name in os.environ for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'))


def was_launched() -> bool:
    """Whether that was done by torch_utils.launching."""
    return LAUNCHED in os.environ


def num_started() -> int:
    """How many workers there will be once all have joined."""
    return int(os.environ['WORLD_SIZE']) if under_torchrun() else 1


def num_local() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if under_torchrun() else 1


def how_many(gpus: int | None) -> int:
    """The number of workers for --gpus=N, None where it was not given. Raises OptionError if torchrun started another one."""
    started = num_started()
    if gpus not in (None, started) and under_torchrun():
        raise OptionError(f'--gpus={gpus}, but torchrun started {started}; leave it out')
    return started if gpus is None else gpus


def was_started_again() -> bool:
    """Whether torchrun started the workers after others that failed, as far as it counts on this machine."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0


def started_at() -> float:
    """When the program began, of which this process is a rank: seconds since the epoch.

    Under torchrun, that is when torchrun began. Elsewhere the parent does not count, even if the variables of a rank are set: it
    may be a shell that is days old, or missing (Kubernetes starts a container's program as process 1).
    """
    if STARTED in os.environ:
        return float(os.environ[STARTED])
    me = psutil.Process()
    parent = me.parent() if 'TORCHELASTIC_RUN_ID' in os.environ else None
    return (parent or me).create_time()
