"""How workers find each other, whatever earlier workers left behind.

The store at MASTER_ADDR:MASTER_PORT may be older than the workers: torchrun keeps it over its restarts, with all that the workers
before wrote. So the first worker gives each group a name of its own, and everything is kept under that.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta

from torch import distributed as dist

from dnnlib.util import UserError
from torch_utils.torchrun import LAUNCHED


@dataclass(frozen=True)
class Members:
    """A group: its name, the number of this worker in it, and the machine of each."""

    name: str
    rank: int
    hosts: tuple[str, ...]
    timeout: float  # seconds

    @property
    def count(self) -> int:
        return len(self.hosts)

    def new_store(self) -> dist.Store:
        """A connection of its own to what the group shares: a call that waits does not hold up other connections."""
        return group_store(_connect(self.timeout), self.name)

    def describe(self, rank: int) -> str:
        return f'worker {rank} on {self.hosts[rank]}' if len(set(self.hosts)) > 1 else f'worker {rank}'


def group_store(store: dist.Store, name: str) -> dist.Store:
    """The part of a store that belongs to a group."""
    return dist.PrefixStore(f'group/{name}', store)


def meet(timeout: float) -> Members:
    """Wait for all workers that the environment describes. Raises UserError if they are not there within `timeout` seconds."""
    rank, count = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    store = _connect(timeout)
    me = json.dumps([uuid.uuid4().hex, socket.gethostname()])
    store.set(f'hello/{rank}', me)
    end = time.monotonic() + timeout
    if rank == 0:
        name = os.environ.get(LAUNCHED) or json.loads(me)[0]
        # A greeting may be from before a restart: what is answered to it, nobody reads. Workers confirm the name that they read.
        answered = None
        while not (answered and store.add(f'confirmed/{name}', 0) == count - 1):
            missing = [r for r in range(count) if not store.check([f'hello/{r}'])]
            greetings = None if missing else [store.get(f'hello/{r}').decode() for r in range(count)]
            if greetings and greetings != answered:
                answered = greetings
                store.set('welcome', json.dumps([name, answered]))
            _pause(end, f'{len(missing) or "some"} of {count} workers did not come')
        # All have confirmed, so that all greetings are those of this group.
        store.set(f'complete/{name}', json.dumps(answered))
    else:
        while not (store.check(['welcome']) and me in json.loads(store.get('welcome'))[1]):
            _pause(end, 'the first worker did not answer')
        name = json.loads(store.get('welcome'))[0]
        store.add(f'confirmed/{name}', 1)
        while not store.check([f'complete/{name}']):
            _pause(end, 'others did not come')
        answered = json.loads(store.get(f'complete/{name}'))
    return Members(name, rank, tuple(json.loads(greeting)[1] for greeting in answered), timeout)


def remember(key: str, value: str) -> None:
    """Write something down for later groups of the same torchrun."""
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        _connect(60).set(f'{os.environ["TORCHELASTIC_RUN_ID"]}/{key}', value)


def recall(key: str) -> str | None:
    """What an earlier group of the same torchrun has written down."""
    if 'TORCHELASTIC_RUN_ID' not in os.environ:
        return None
    store, key = _connect(60), f'{os.environ["TORCHELASTIC_RUN_ID"]}/{key}'
    return store.get(key).decode() if store.check([key]) else None


def _connect(timeout: float) -> dist.Store:
    try:
        return next(dist.rendezvous('env://', timeout=timedelta(seconds=timeout)))[0]
    except (RuntimeError, ValueError) as err:
        where = f'{os.environ.get("MASTER_ADDR")}:{os.environ.get("MASTER_PORT")}'
        raise UserError(f'the first worker is not to be reached at {where} ({str(err).splitlines()[0]}); '
                        'check the network, and the address given to torchrun') from err


def _pause(end: float, trouble: str) -> None:
    if time.monotonic() > end:
        raise UserError(f'the workers did not find each other in time: {trouble}; check the network, and what their hosts say')
    time.sleep(0.05)
