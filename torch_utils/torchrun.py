"""Read what torchrun or torch_utils.launching passes to each rank that it starts. Does not import torch."""

from __future__ import annotations

import os

import psutil

from dnnlib.errors import OptionError

STARTED = 'STYLEGAN_STARTED'  # start time of the program; set only by torch_utils.launching


def under_torchrun() -> bool:
    """Whether this process was started as a rank of a group, perhaps as the only one."""
    return all(name in os.environ for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'))


def was_launched() -> bool:
    """Whether torch_utils.launching started this process."""
    return STARTED in os.environ


def num_started() -> int:
    """World size once all ranks have joined."""
    return int(os.environ['WORLD_SIZE']) if under_torchrun() else 1


def num_local() -> int:
    """Number of ranks on this machine."""
    return int(os.environ.get('LOCAL_WORLD_SIZE', 1)) if under_torchrun() else 1


def own_options() -> list[str] | None:
    """Options of torchrun that start as many ranks on as many machines again, or None if torchrun did not start this process.
    HOST stands for one of the machines."""
    if not under_torchrun() or was_launched():
        return None
    machines = -(-num_started() // num_local())
    meet = [f'--nnodes={machines}', '--rdzv-backend=c10d', '--rdzv-endpoint=HOST:29400'] if machines > 1 else []
    return [f'--nproc-per-node={num_local()}', *meet]


def how_many(gpus: int | None) -> int:
    """World size for --gpus=N (None: not given). Raises OptionError if torchrun started another number."""
    started = num_started()
    if gpus not in (None, started) and under_torchrun():
        raise OptionError(f'--gpus={gpus}, but torchrun started {started}; leave it out')
    return started if gpus is None else gpus


def was_started_again() -> bool:
    """Whether torchrun has restarted the ranks after a failure. Each machine counts its own restarts."""
    return int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) > 0


def started_at() -> float:
    """Start time of the program, in seconds since the epoch.

    Under torchrun, it is the start of torchrun. Elsewhere the parent process does not count, even if a rank's variables are set:
    it may be a shell that is days old, or missing (Kubernetes starts a container's program as process 1).
    """
    if was_launched():
        return float(os.environ[STARTED])
    me = psutil.Process()
    parent = me.parent() if 'TORCHELASTIC_RUN_ID' in os.environ else None
    return (parent or me).create_time()
