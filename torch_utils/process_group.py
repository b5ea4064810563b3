"""Join a group of ranks, and leave it with an error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import distributed as dist

from dnnlib.util import OptionError, UserError
from torch_utils import distributed, torchrun

T = TypeVar('T')
TIMEOUT = 'STYLEGAN_TIMEOUT'  # environment variable: seconds that ranks wait for each other
DEFAULT_TIMEOUT = 600
GRACE = 3.0  # seconds that a rank waits after a failed collective call, so that the agent sees which rank failed first
_COLLECTIVE = str(Path(dist.__file__).parent)
_shared: dist.Store | None = None  # store where ranks meet; under torchrun it outlives them


@contextlib.contextmanager
def joined(device_type: str) -> Iterator[None]:
    """Join the group that the environment describes, as one of its ranks. torchrun or torch_utils.launching sets the
    environment.

    device_type: 'cuda' (NCCL; each rank takes the GPU of its local number) or 'cpu' (Gloo). Output to stdout is dropped on all
    ranks but rank 0.

    If a rank fails, the collective calls of the others fail, or its agent ends them. In a collective call, ranks wait for each
    other for STYLEGAN_TIMEOUT seconds (default 600). A UserError on another machine is raised here, too.
    Raises OptionError for a device that is not available, UserError if the other ranks cannot be reached.
    """
    global _shared
    if device_type == 'cuda':
        _take_gpu()
    elif device_type != 'cpu':
        raise OptionError(f'--device={device_type} does not support several processes; use --device=cuda or cpu')
    timeout = timedelta(seconds=timeout_seconds())
    me, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    with contextlib.ExitStack() as stack:
        if me > 0:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, 'w', encoding='utf-8'))))
        try:
            _shared = next(dist.rendezvous('env://', timeout=timeout))[0]
            store, name = _new_store(_shared, me, timeout)
            dist.init_process_group('cpu:gloo,cuda:nccl' if device_type == 'cuda' else 'gloo', store=store, rank=me,
                                    world_size=size, timeout=timeout)
        except (RuntimeError, ValueError) as err:
            where = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
            raise UserError(f'cannot connect to the other ranks at {where} ({str(err).splitlines()[0]}); check the network, the '
                            'address given to torchrun, and the output of the other ranks') from err
        try:
            distributed.barrier()
            yield
            distributed.barrier()
        except Exception as err:
            _leave(err, dist.PrefixStore(f'errors/{name}', _shared))
            raise
        _shared = None
        dist.destroy_process_group()


def timeout_seconds() -> float:
    """Return the value of STYLEGAN_TIMEOUT. Raises OptionError if it is not a positive number."""
    text = os.environ.get(TIMEOUT, DEFAULT_TIMEOUT)
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1e9:
            return float(text)
    raise OptionError(f'{TIMEOUT}={text} is not a number of seconds; leave it out, or set it to {DEFAULT_TIMEOUT}')


def _new_store(shared: dist.Store, me: int, timeout: timedelta) -> tuple[dist.Store, str]:
    """Return (a store that only this group uses, its address).

    torchrun keeps its store, with everything that previous ranks wrote, when it restarts ranks. Its restart count cannot name a
    group, because each machine counts separately. So rank 0 opens a new store; the old address no longer answers.
    """
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':  # rank 0 has just opened the shared store
        return dist.PrefixStore('group', shared), 'group'
    host, deadline = os.environ['MASTER_ADDR'], time.monotonic() + timeout.total_seconds()
    if me == 0:
        store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        shared.set('rank 0', str(store.port))
        return store, str(store.port)
    while True:
        port = shared.get('rank 0').decode()
        try:
            socket.create_connection((host, int(port)), timeout=2).close()  # TCPStore would print pages for an old address
            return dist.TCPStore(host, int(port), is_master=False, timeout=timeout), port
        except (OSError, RuntimeError) as err:
            if time.monotonic() > deadline:
                raise RuntimeError(f'rank 0 does not answer: {err}') from err
            time.sleep(0.1)


def _leave(err: Exception, errors: dist.Store) -> None:
    """Prepare the end of this rank after an error.

    The user's error on this rank is reported to the other machines. If another rank's failure caused the error, this rank waits.
    The agent then sees and reports the first failure, and ends this process. If the agent does not end it, a UserError is
    raised: the user's error from another machine, or the loss of another rank. In that case the run's log holds the traceback.
    """
    if isinstance(err, UserError) and not hasattr(err, 'from_rank'):
        text = json.dumps([socket.gethostname(), err.exit_status, ' '.join(str(err).split())])
        _attempt(lambda: errors.set('user error', text))
        return
    frames = traceback.extract_tb(err.__traceback__)
    lost = isinstance(err, RuntimeError) and any(frame.filename.startswith(_COLLECTIVE) for frame in frames)
    if not hasattr(err, 'from_rank') and not lost:
        return
    time.sleep(GRACE)
    known = _attempt(lambda: json.loads(errors.get('user error')) if errors.check(['user error']) else None)
    if known is None and lost:
        reason = re.sub(r'^\[.*?\] ', '', str(err)).split('. ')[0].splitlines()[0]  # without gloo's file name and advice
        frame = next(frame for frame in reversed(frames) if not frame.filename.startswith((_COLLECTIVE, distributed.__file__)))
        raise UserError(f'another rank failed, or did not answer rank {distributed.rank()} within {timeout_seconds():g} s, in '
                        f'{frame.name} ({Path(frame.filename).name}:{frame.lineno}: {reason}); see the output of all ranks. '
                        f'{TIMEOUT} sets the time') from err
    if known is None:
        return
    host, exit_status, text = known
    if host == socket.gethostname() or os.environ.get('LOCAL_RANK', '0') != '0':  # one line per machine
        sys.exit(exit_status)
    raise (OptionError if exit_status == OptionError.exit_status else UserError)(text) from None


def _attempt(call: Callable[[], T]) -> T | None:
    """Call a store. Returns None if the call fails or takes long: without a network, it waits until TCP gives up."""
    found = []

    def make() -> None:
        with contextlib.suppress(RuntimeError):
            found.append(call())

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(GRACE)
    return found[0] if found else None


def remember(key: str, value: str) -> None:
    """Store a value for ranks that the same torchrun starts later."""
    if _shared is not None:
        _shared.set(f'remembered/{key}', value)


def recall(key: str) -> str | None:
    """Return the value that earlier ranks of the same torchrun stored. None if there is none, or if torchrun shares no store."""
    key = f'remembered/{key}'
    return _shared.get(key).decode() if _shared is not None and _shared.check([key]) else None


def _take_gpu() -> None:
    local, there = int(os.environ.get('LOCAL_RANK', 0)), torch.cuda.device_count()
    if local >= there:
        raise OptionError(f'{torchrun.num_local()} ranks on a machine with {there} GPUs: each needs its own; start as many as '
                          'there are, or use --device=cpu')
    torch.cuda.set_device(local)
